/* The note as the model saw it: what it read in full ink, the evidence of the DRG that is looked at marked in four
 * strengths, and the strongest of it quoted below, where a key or a click leads to each place. */
import { useLayoutEffect, useMemo, useRef } from "preact/hooks";
import { code } from "../figures/format";
import { model } from "../server/connection";
import { clearDesk, editNote, evidence, note, record, shownDrg } from "./desk";
import { noteSegments, type Segment } from "./segments";

const QUOTED = 8;

function quotes(segments: Segment[]): Segment[] {
  return segments
    .filter((segment) => segment.strength > 0 && segment.text.trim() !== "")
    .sort((a, b) => b.strength - a.strength || a.start - b.start)
    .slice(0, QUOTED)
    .sort((a, b) => a.start - b.start);
}

function whatIsShown(drg: number | null): string {
  if (drg === null) return "";
  if (!model.value?.evidence) return "This model does not tell its evidence.";
  const spans = evidence.value.get(drg);
  if (!spans) return `Finding the evidence for ${code(drg)}…`;
  return spans.some((span) => span.score > 0) ? `Evidence for ${code(drg)}` : `Nothing in the note speaks for ${code(drg)}.`;
}

export const noteText = { current: null as HTMLDivElement | null };

/** Leads to a place of the note and gives it the focus. */
function show(start: number): void {
  const mark = noteText.current?.querySelector<HTMLElement>(`[data-start="${start}"]`);
  mark?.scrollIntoView({ block: "center" });
  mark?.focus({ preventScroll: true });
}

/** The next piece of evidence after the one with the focus, or the one before. */
export function stepEvidence(step: 1 | -1): void {
  const marks = [...(noteText.current?.querySelectorAll<HTMLElement>("mark") ?? [])];
  if (marks.length === 0) return;
  const at = marks.indexOf(document.activeElement as HTMLElement);
  const next = at < 0 ? (step > 0 ? 0 : marks.length - 1) : (at + step + marks.length) % marks.length;
  show(Number(marks[next]!.dataset.start));
}

export function Reader() {
  const answer = record.value!;
  const drg = shownDrg.value;
  const spans = drg === null ? [] : (evidence.value.get(drg) ?? []);
  const text = note.value.text;
  const segments = useMemo(() => noteSegments(text, spans, answer.section), [text, spans, answer]);
  const pane = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    // What was read comes into view; the head of the note stays where all of it was.
    noteText.current?.querySelector(":scope > :not(.unread)")?.scrollIntoView({ block: "start" });
  }, [answer.prediction]);
  return (
    <div class={`pane-body reader${model.value?.evidence ? "" : " mute"}`} ref={pane}>
      <div class="note-text" role="region" aria-label="The note" tabIndex={0} ref={(node) => void (noteText.current = node)}>
        {segments.map((segment) =>
          segment.strength > 0 ? (
            <mark key={segment.start} class={`s${segment.strength}${segment.read ? "" : " unread"}`} data-start={segment.start} tabIndex={-1}>
              {segment.text}
            </mark>
          ) : (
            <span key={segment.start} class={segment.read ? undefined : "unread"}>{segment.text}</span>
          ))}
      </div>
      <div class="quotes">
        <h3>{whatIsShown(drg)}</h3>
        <ul>
          {quotes(segments).map((quote) => (
            <li key={quote.start}>
              <button type="button" class={`quote s${quote.strength}`} onClick={() => show(quote.start)}>
                {quote.text.trim().replace(/\s+/g, " ")}
              </button>
            </li>
          ))}
        </ul>
      </div>
      <div class="row actions">
        <button type="button" onClick={editNote}>Edit <kbd>e</kbd></button>
        <button type="button" onClick={clearDesk}>New note <kbd>n</kbd></button>
        <span class="hint grow">
          {answer.tokens} tokens of {answer.section.end - answer.section.start < new TextEncoder().encode(text).length ? "the hospital course" : "the note"} read
          {answer.truncated ? "; it was longer than the model reads" : ""}
        </span>
      </div>
    </div>
  );
}
