/* The worklist: stays with what was billed and what the note gives, and the order in which they deserve a look. */
import type { DrgRecord } from "../server/contract";
import type { BatchLine } from "../server/client";

/** Which way the bill and the note part: "above" the note's DRG weighs more than the billed one, "below" it weighs less. */
export type Direction = "above" | "below" | "same" | "unbilled" | "failed";

export interface Stay {
  index: number; // place in the upload
  id: string;
  record: DrgRecord | null; // null: could not be coded
  fault: string;
  direction: Direction;
  difference: number; // weight of the note's DRG less that of the billed one; 0 where nothing was billed
  confidence: number; // p of the first DRG
  priority: number; // |difference| × confidence where the two DRGs are not the same
}

function faultOf(error: unknown): string {
  if (typeof error === "string") return error;
  if (typeof error === "object" && error !== null && "message" in error) return String(error.message);
  return "could not be coded";
}

export function stayOf(line: BatchLine, index: number): Stay {
  const nothing = { difference: 0, confidence: 0, priority: 0 };
  if (!("predictions" in line)) {
    return { index, id: line.id || `row ${line.row}`, record: null, fault: faultOf(line.error), direction: "failed", ...nothing };
  }
  const confidence = line.predictions[0]?.p ?? 0;
  const difference = line.weight_difference ?? 0;
  const direction: Direction = line.billed === undefined ? "unbilled" : difference > 0 ? "above" : difference < 0 ? "below" : "same";
  return { index, id: line.id, record: line, fault: "", direction, difference, confidence, priority: line.priority ?? 0 };
}

export type SortColumn = "priority" | "id" | "billed" | "predicted" | "difference" | "confidence";

export interface Sorting {
  column: SortColumn;
  falling: boolean;
}

const KEYS: Record<SortColumn, (stay: Stay) => number | string> = {
  priority: (stay) => stay.priority,
  id: (stay) => stay.id,
  billed: (stay) => stay.record?.billed ?? 0,
  predicted: (stay) => stay.record?.predictions[0]?.drg ?? 0,
  difference: (stay) => stay.difference,
  confidence: (stay) => stay.confidence,
};

const collator = new Intl.Collator("en", { numeric: true });

/** A sorted copy; equal ones stay in the order of the upload, those that could not be coded come last. */
export function sorted(stays: readonly Stay[], { column, falling }: Sorting): Stay[] {
  const key = KEYS[column];
  const compare = (a: Stay, b: Stay) => {
    const [x, y] = [key(a), key(b)];
    const order = typeof x === "string" || typeof y === "string" ? collator.compare(String(x), String(y)) : x - y;
    return falling ? -order : order;
  };
  return [...stays].sort((a, b) => Number(a.record === null) - Number(b.record === null) || compare(a, b) || a.index - b.index);
}

export interface Choice {
  direction: Direction | "all";
  mdc: string; // "" for all
  words: string; // part of an id
  open: boolean; // only those without a decision
}

export const EVERY_STAY: Choice = { direction: "all", mdc: "", words: "", open: false };

export function chosenStays(stays: readonly Stay[], choice: Choice, decided: (prediction: number) => boolean): Stay[] {
  const words = choice.words.trim().toLowerCase();
  return stays.filter((stay) =>
    (choice.direction === "all" || stay.direction === choice.direction) &&
    (choice.mdc === "" || stay.record?.predictions[0]?.mdc === choice.mdc) &&
    (words === "" || stay.id.toLowerCase().includes(words)) &&
    (!choice.open || (stay.record !== null && !decided(stay.record.prediction))));
}
