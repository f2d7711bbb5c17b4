/* Cuts a note into the pieces that are drawn: what the model read and what it did not, plain and marked in one of four
 * strengths as evidence of a DRG. Spans may overlap; the strongest wins. */
import type { EvidenceSpan, Span } from "../server/contract";
import { unitOffsets } from "./byte_offsets";

export type Strength = 0 | 1 | 2 | 3 | 4;

export interface Segment {
  text: string;
  start: number; // UTF-16 offset
  strength: Strength;
  read: boolean;
}

/** Strength of a score against the largest of its list, in quarters; evidence against (score ≤ 0) has none. */
export function strengthOf(score: number, largest: number): Strength {
  if (!(score > 0) || !(largest > 0)) return 0;
  return Math.max(1, Math.ceil((4 * Math.min(score, largest)) / largest)) as Strength;
}

interface Placed {
  start: number;
  end: number;
  strength: Strength;
}

function placed(text: string, spans: readonly EvidenceSpan[]): Placed[] {
  const units = unitOffsets(text, spans.flatMap((span) => [span.start, span.end]));
  const largest = Math.max(0, ...spans.map((span) => span.score));
  return spans
    .map((span, i) => ({ start: units[2 * i]!, end: units[2 * i + 1]!, strength: strengthOf(span.score, largest) }))
    .filter((span) => span.end > span.start && span.strength > 0);
}

/** The whole of `text` in pieces, in order. Without `section` all of it counts as read. */
export function noteSegments(text: string, evidence: readonly EvidenceSpan[], section: Span | null): Segment[] {
  const marks = placed(text, evidence);
  const [readFrom, readTo] = section ? unitOffsets(text, [section.start, section.end]) : [0, text.length];
  const cuts = new Set([0, text.length, readFrom!, readTo!]);
  for (const mark of marks) cuts.add(mark.start).add(mark.end);
  const sorted = [...cuts].sort((a, b) => a - b);
  const segments: Segment[] = [];
  for (let i = 0; i + 1 < sorted.length; i++) {
    const start = sorted[i]!;
    const strength = marks.reduce<Strength>((best, mark) =>
      mark.start <= start && start < mark.end && mark.strength > best ? mark.strength : best, 0);
    const read = readFrom! <= start && start < readTo!;
    const piece = text.slice(start, sorted[i + 1]!);
    const last = segments.at(-1);
    if (last && last.strength === strength && last.read === read) last.text += piece;
    else segments.push({ text: piece, start, strength, read });
  }
  return segments;
}
