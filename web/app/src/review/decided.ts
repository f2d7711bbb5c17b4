/* Which predictions have a decision, as far as this page knows: those it loaded, and those it made. */
import { signal } from "@preact/signals";
import { announce } from "../announce";
import * as server from "../server/client";
import { faultText } from "../server/connection";
import type { Review } from "../server/contract";

export const decided = signal<ReadonlyMap<number, Review>>(new Map());

export function noteDecision(review: Review): void {
  if (review.decision !== "comment") decided.value = new Map(decided.value).set(review.prediction, review);
}

/** Loads the newest reviews; the last decision of a prediction counts. */
export async function loadDecided(): Promise<void> {
  try {
    const { reviews } = await server.reviews({ limit: 1000 });
    const found = new Map(decided.value);
    for (const review of reviews.reverse()) if (review.decision !== "comment") found.set(review.prediction, review);
    decided.value = found;
  } catch (error) {
    announce(faultText(error), "fault");
  }
}
