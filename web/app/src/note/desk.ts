/* What lies on the desk: one note, the server's answer to it, the DRG that is looked at, the DRG billed, the reviews.
 * All of it is in this page's memory only; a new note clears it. */
import { batch, computed, signal } from "@preact/signals";
import { announce } from "../announce";
import { title as shownTitle, code as shownCode, percent } from "../figures/format";
import * as server from "../server/client";
import { noteDecision } from "../review/decided";
import { connected, faultText, model } from "../server/connection";
import type { DrgEntry, DrgRecord, DrgRequest, EvidenceSpan, Rating, Review } from "../server/contract";

/** DRGs asked for: enough that the other severities of a likely base are among them. */
const RANKED = 50;
/** DRGs of which the server gives evidence in one request. */
const EVIDENCE_AT_ONCE = 10;

export interface Note {
  text: string;
  id: string;
  billed: number | null;
}

const EMPTY: Note = { text: "", id: "", billed: null };

export const note = signal<Note>(EMPTY);
export const phase = signal<"editing" | "coding" | "coded">("editing");
export const fault = signal<string | null>(null);
export const record = signal<DrgRecord | null>(null);
export const reasoning = signal("");
export const chosenDrg = signal<number | null>(null); // picked with a click or a key: ladder, comparison and review are of it
export const lookedAtDrg = signal<number | null>(null); // under the pointer or the focus, for as long as it is there
export const evidence = signal<ReadonlyMap<number, EvidenceSpan[]>>(new Map());
export const entries = signal<ReadonlyMap<number, DrgEntry>>(new Map()); // catalog entries by code, of the record's grouper
export const reviews = signal<Review[]>([]);
export const ratings = signal<Rating[]>([]);

const onDesk = (answer: DrgRecord) => record.value?.prediction === answer.prediction;

/** The DRG whose evidence is shown. */
export const shownDrg = computed(() => lookedAtDrg.value ?? chosenDrg.value);

let coding: AbortController | null = null;
let fetching = new AbortController();

/** Lays a note on the desk, to be edited or coded; what was there is forgotten. */
export function layDown(next: Note): void {
  coding?.abort();
  fetching.abort();
  fetching = new AbortController();
  batch(() => {
    note.value = next;
    phase.value = "editing";
    fault.value = null;
    record.value = null;
    reasoning.value = "";
    chosenDrg.value = null;
    lookedAtDrg.value = null;
    evidence.value = new Map();
    entries.value = new Map();
    reviews.value = [];
    ratings.value = [];
  });
}

export const clearDesk = () => layDown(EMPTY);

/** Back to the editor with the text as it is. */
export const editNote = () => layDown(note.value);

function rankedAtMost(): number {
  const labels = model.value?.labels ?? 0;
  return labels > 0 ? Math.min(RANKED, labels) : RANKED;
}

function wantedOf(current: Note): DrgRequest {
  const used = model.value;
  return {
    text: current.text,
    k: rankedAtMost(),
    ...(current.id === "" ? {} : { id: current.id }),
    ...(current.billed === null ? {} : { billed: current.billed }),
    ...(used ? { model: used.id, evidence: used.evidence } : {}),
  };
}

/** Sends the note to be coded. */
export async function codeNote(): Promise<void> {
  const current = note.value;
  if (current.text.trim() === "") {
    fault.value = "There is no note yet: paste one, drop a file, or try the example.";
    return;
  }
  layDown(current);
  phase.value = "coding";
  const mine = (coding = new AbortController());
  try {
    await connected();
    if (mine.signal.aborted) return;
    const wanted = wantedOf(current);
    const answer = model.value?.task === "generate"
      ? await server.codeNoteStreamed(wanted, (delta) => void (reasoning.value += delta), mine.signal)
      : await server.codeNote(wanted, mine.signal);
    if (!mine.signal.aborted) showRecord(answer);
  } catch (error) {
    if (mine.signal.aborted) return;
    batch(() => {
      phase.value = "editing";
      fault.value = faultText(error);
    });
  }
}

function showRecord(answer: DrgRecord): void {
  const best = answer.predictions[0];
  batch(() => {
    record.value = answer;
    reasoning.value = answer.reasoning ?? reasoning.value;
    evidence.value = evidenceOf(answer);
    chosenDrg.value = best?.drg ?? null;
    phase.value = "coded";
  });
  if (best) announce(`DRG ${shownCode(best.drg)}, ${shownTitle(best.title)}, ${percent(best.p, 0)}`);
  void loadAround(answer);
}

function evidenceOf(answer: DrgRecord): Map<number, EvidenceSpan[]> {
  const found = new Map((answer.evidence_by_drg ?? []).map(({ drg, spans }) => [drg, spans]));
  const best = answer.predictions[0];
  if (best && answer.evidence && !found.has(best.drg)) found.set(best.drg, answer.evidence);
  return found;
}

/** What the panels beside the ranking need: catalog entries, the evidence of the next DRGs, earlier reviews. */
async function loadAround(answer: DrgRecord): Promise<void> {
  const ranked = answer.predictions.slice(0, 5).map((prediction) => prediction.drg);
  await Promise.all([
    ...[...ranked, ...(note.value.billed === null ? [] : [note.value.billed])].map(loadEntry),
    loadJudgements(answer),
  ]);
  const best = ranked[0];
  const ladder = best === undefined ? [] : (entries.value.get(best)?.ladder ?? []).map((rung) => rung.drg);
  await loadEvidence([...ranked, ...ladder, ...(note.value.billed === null ? [] : [note.value.billed])]);
}

/** The catalog's entry of a DRG, once for each note. False where the catalog has no such DRG. */
export async function loadEntry(drg: number): Promise<boolean> {
  const answer = record.value;
  if (!answer || entries.value.has(drg)) return true;
  try {
    const entry = await server.catalogEntry(drg, answer.grouper);
    if (onDesk(answer)) entries.value = new Map(entries.value).set(drg, entry);
    return true;
  } catch (error) {
    if (error instanceof server.ServerFault && error.status === 404) return false;
    announce(faultText(error), "fault");
    return false;
  }
}

/** Evidence of these DRGs, where the model can tell it and it is not there yet; with it the ranking in full, where the
 * answer came from a batch that ranked fewer. */
export async function loadEvidence(drgs: readonly number[]): Promise<void> {
  const answer = record.value;
  const text = note.value.text;
  if (!answer || text === "" || !model.value?.evidence) return;
  const missing = [...new Set(drgs)].filter((drg) => !evidence.value.has(drg)).slice(0, EVIDENCE_AT_ONCE);
  if (missing.length === 0) return;
  const wanted: DrgRequest = { text, model: answer.model, k: rankedAtMost(), evidence: true, evidence_drgs: missing };
  try {
    const more = await server.codeNote(wanted, fetching.signal);
    if (!onDesk(answer)) return;
    batch(() => {
      evidence.value = new Map([...evidence.value, ...evidenceOf(more)]);
      const now = record.value!;
      if (more.predictions.length > now.predictions.length) record.value = { ...now, predictions: more.predictions };
    });
  } catch (error) {
    if (!(error instanceof DOMException)) announce(faultText(error), "fault");
  }
}

async function loadJudgements(answer: DrgRecord): Promise<void> {
  try {
    const found = await server.reviews({ prediction: answer.prediction });
    if (onDesk(answer)) reviews.value = found.reviews;
    if (answer.reasoning === undefined) return;
    const rated = await server.ratings({ prediction: answer.prediction });
    if (onDesk(answer)) ratings.value = rated.ratings;
  } catch (error) {
    announce(faultText(error), "fault");
  }
}

/** The DRG to go by from now on; one that is not ranked may be chosen as well. */
export function choose(drg: number): void {
  chosenDrg.value = drg;
  void loadEntry(drg).then(() =>
    loadEvidence([drg, ...(entries.value.get(drg)?.ladder ?? []).map((rung) => rung.drg)]));
}

let lookTimer: ReturnType<typeof setTimeout> | undefined;

/** Shows a DRG's evidence for as long as the pointer or the focus is on it; null: away from it. */
export function lookAt(drg: number | null): void {
  clearTimeout(lookTimer);
  lookedAtDrg.value = drg;
  if (drg !== null && !evidence.value.has(drg)) lookTimer = setTimeout(() => void loadEvidence([drg]), 120);
}

/** Takes what was typed as the billed DRG; what is wrong with it, or null. */
export async function setBilled(text: string): Promise<string | null> {
  const typed = text.trim();
  if (typed === "") {
    note.value = { ...note.value, billed: null };
    return null;
  }
  if (!/^\d{1,3}$/.test(typed) || Number(typed) === 0) return "A DRG is a number from 1 to 999.";
  const drg = Number(typed);
  if (record.value && !(await loadEntry(drg))) return `${record.value.grouper} has no DRG ${shownCode(drg)}.`;
  note.value = { ...note.value, billed: drg };
  void loadEvidence([drg]);
  return null;
}

/** A reviewer's decision; true once the server has it on disk. */
export async function review(decision: "accept" | "change" | "comment", comment: string, drg?: number): Promise<boolean> {
  const answer = record.value;
  if (!answer) return false;
  try {
    const kept = await server.sendReview({
      prediction: answer.prediction, decision,
      ...(comment.trim() === "" ? {} : { comment: comment.trim() }),
      ...(drg === undefined ? {} : { drg }),
    });
    noteDecision(kept);
    if (onDesk(answer)) reviews.value = [kept, ...reviews.value];
    const what = decision === "comment" ? "Comment" : decision === "accept" ? `Accepted ${shownCode(kept.drg)}` : `Changed to ${shownCode(kept.drg)}`;
    announce(`${what}: saved as review ${kept.review}`);
    return true;
  } catch (error) {
    announce(faultText(error), "fault");
    return false;
  }
}

/** A rating of the reasoning, 1 to 5 each; true once the server has it on disk. */
export async function rate(helpfulness: number, accuracy: number, comment: string): Promise<boolean> {
  const answer = record.value;
  if (!answer) return false;
  try {
    const kept = await server.sendRating({
      prediction: answer.prediction, helpfulness, accuracy,
      ...(comment.trim() === "" ? {} : { comment: comment.trim() }),
    });
    if (onDesk(answer)) ratings.value = [kept, ...ratings.value];
    announce(`Rated: helpfulness ${helpfulness}, accuracy ${accuracy}; saved as rating ${kept.rating}`);
    return true;
  } catch (error) {
    announce(faultText(error), "fault");
    return false;
  }
}

/** Lays a note on the desk that was coded before, with that answer; its evidence and the rest of the ranking are fetched
 * anew where the text is at hand (not so: `text` is empty). */
export async function layDownCoded(next: Note, answer: DrgRecord): Promise<void> {
  layDown(next);
  batch(() => {
    record.value = answer;
    reasoning.value = answer.reasoning ?? "";
    evidence.value = evidenceOf(answer);
    chosenDrg.value = answer.predictions[0]?.drg ?? null;
    phase.value = "coded";
  });
  await loadAround(answer);
}
