/* The batch under way or done: its file, its progress, its stays; and the order in which the worklist is walked. */
import { batch, computed, signal } from "@preact/signals";
import { announce } from "../announce";
import { decided, loadDecided } from "../review/decided";
import * as server from "../server/client";
import { connected, faultText, mayReview, model, session } from "../server/connection";
import type { BatchJob, Drg, DrgRecord } from "../server/contract";
import { CONTENT_TYPES, formatOf, textsOf } from "./notes_file";
import { chosenStays, EVERY_STAY, sorted, stayOf, type Choice, type Sorting, type Stay } from "./worklist";

const RANKED = 5;

export const fileName = signal("");
export const job = signal<BatchJob | null>(null);
export const stays = signal<Stay[]>([]);
export const fault = signal<string | null>(null);
export const uploading = signal(false);
export const choice = signal<Choice>(EVERY_STAY);
export const sorting = signal<Sorting>({ column: "priority", falling: true });
export const catalog = signal<ReadonlyMap<number, Drg>>(new Map()); // of the model's grouper

/** What the worklist shows, in its order. */
export const worklist = computed(() =>
  sorted(chosenStays(stays.value, choice.value, (prediction) => decided.value.has(prediction)), sorting.value));

let texts: Promise<string[]> | null = null;
let following: AbortController | null = null;

function forget(): void {
  following?.abort();
  texts = null;
  batch(() => {
    job.value = null;
    stays.value = [];
    fault.value = null;
    fileName.value = "";
    choice.value = EVERY_STAY;
  });
}

async function loadCatalog(grouper: string): Promise<void> {
  const { drgs } = await server.catalogSearch("", grouper, 1000, new AbortController().signal);
  catalog.value = new Map(drgs.map((drg) => [drg.drg, drg]));
}

/** Uploads a file and follows the job to its end; a batch before it is forgotten here and on the server. */
export async function startBatch(file: File): Promise<void> {
  const format = formatOf(file.name);
  const limit = session.value?.batch_limit ?? Infinity;
  if (!format) {
    fault.value = `${file.name} is neither .csv nor .jsonl (each may be .gz).`;
    return;
  }
  if (file.size > limit) {
    fault.value = `${file.name} has ${file.size} bytes, this server takes ${limit}.`;
    return;
  }
  await removeJob();
  fileName.value = file.name;
  uploading.value = true;
  try {
    await connected();
    const used = model.value;
    texts = textsOf(file, format);
    texts.catch(() => undefined);
    const started = await server.startBatch(file, { contentType: CONTENT_TYPES[format], k: RANKED, ...(used ? { model: used.id } : {}) });
    await follow(started, used?.grouper ?? "");
  } catch (error) {
    fault.value = faultText(error);
  } finally {
    uploading.value = false;
  }
}

/** Goes on with a job that the server still has, after a reload. Its texts are not at hand then. */
export async function resumeJob(known: BatchJob): Promise<void> {
  forget();
  fileName.value = "an earlier upload";
  try {
    await connected();
    await follow(known, model.value?.grouper ?? "");
  } catch (error) {
    fault.value = faultText(error);
  }
}

async function follow(started: BatchJob, grouper: string): Promise<void> {
  const mine = (following = new AbortController());
  job.value = started;
  uploading.value = false;
  if (mayReview.value) void loadDecided();
  await loadCatalog(grouper);
  await takeRecords(started.job, mine.signal);
  for await (const event of server.batchEvents(started.job, mine.signal)) {
    if (mine.signal.aborted) return;
    job.value = event.data as BatchJob;
    await takeRecords(started.job, mine.signal);
    if (event.name === "end") break;
  }
  const ended = job.value;
  if (ended?.status === "failed") fault.value = ended.error ?? "The batch failed.";
  else if (ended) announce(`${ended.done} notes coded${ended.failed > 0 ? `, ${ended.failed} could not be` : ""}`);
}

async function takeRecords(name: string, signal: AbortSignal): Promise<void> {
  const from = stays.value.length;
  const lines = await server.batchResult(name, from);
  if (signal.aborted || lines.length === 0) return;
  stays.value = [...stays.value, ...lines.map((line, index) => stayOf(line, from + index))];
}

/** Ends the job, running or done, and forgets it. */
export async function removeJob(): Promise<void> {
  const known = job.value;
  forget();
  if (!known) return;
  try {
    await server.deleteBatch(known.job);
  } catch (error) {
    if (!(error instanceof server.ServerFault && error.status === 404)) announce(faultText(error), "fault");
  }
}

/** Stops a running job; what is coded stays in the worklist. */
export async function cancelJob(): Promise<void> {
  if (job.value?.status !== "running") return;
  following?.abort();
  try {
    await server.deleteBatch(job.value.job);
    job.value = { ...job.value, status: "cancelled" };
    announce(`Stopped after ${stays.value.length} notes`);
  } catch (error) {
    announce(faultText(error), "fault");
  }
}

/** The text of a stay: from the file, else from the server if it keeps notes, else null. */
export async function textOf(stay: Stay & { record: DrgRecord }): Promise<string | null> {
  try {
    const known = (await texts)?.[stay.index];
    if (known !== undefined) return known;
    return session.value?.stores_notes ? (await server.storedNote(stay.record.note_sha256)).text : null;
  } catch (error) {
    announce(faultText(error), "fault");
    return null;
  }
}
