/* The reviewer's decision on the answer: accept it, change it to the DRG that is chosen (from the ranking, the ladder or
 * the catalog), or leave a comment; and what was decided before. */
import { signal } from "@preact/signals";
import { useState } from "preact/hooks";
import { announce } from "../announce";
import { code } from "../figures/format";
import { CatalogSearch } from "../parts/catalog_search";
import { Dialog } from "../parts/dialog";
import { mayReview, session } from "../server/connection";
import type { Drg, Review } from "../server/contract";
import { choose, chosenDrg, record, review, reviews } from "./desk";

const comment = signal("");
const searching = signal(false);
export const commentField = { current: null as HTMLInputElement | null };

async function decide(decision: "accept" | "change" | "comment", drg?: number): Promise<void> {
  if (await review(decision, comment.value, drg)) comment.value = "";
}

/** Accepts the first DRG; where another is chosen, changes to that one: what the main button says. */
export function decideAsChosen(): void {
  const first = record.value?.predictions[0]?.drg;
  const chosen = chosenDrg.value;
  if (!mayReview.value || first === undefined || chosen === null) return;
  void (chosen === first ? decide("accept") : decide("change", chosen));
}

export function openSearch(): void {
  if (record.value && mayReview.value) searching.value = true;
}

const DONE: Record<string, (review: Review) => string> = {
  accept: (done) => `accepted ${code(done.drg)}`,
  change: (done) => `changed ${code(done.predicted)} to ${code(done.drg)}`,
  comment: () => "commented",
};

function SearchDialog() {
  const answer = record.value;
  if (!searching.value || !answer) return null;
  const pick = (drg: Drg) => {
    searching.value = false;
    choose(drg.drg);
    announce(`${code(drg.drg)} chosen; "a" saves the decision`);
  };
  return (
    <Dialog title="Choose another DRG" name="change" onClose={() => (searching.value = false)}>
      <CatalogSearch grouper={answer.grouper} start="" onPick={pick} />
    </Dialog>
  );
}

export function Decision() {
  const [busy, setBusy] = useState(false);
  const answer = record.value;
  const first = answer?.predictions[0]?.drg;
  const chosen = chosenDrg.value;
  const able = answer !== null && mayReview.value && !busy;
  const during = (work: Promise<void>) => {
    setBusy(true);
    void work.finally(() => setBusy(false));
  };
  const last = reviews.value[0];
  return (
    <section class="panel decision" aria-labelledby="decision-title">
      <div class="panel-head">
        <h2 id="decision-title">Review</h2>
        <span class="soft grow one-line">
          {session.value && !mayReview.value
            ? `Key ${session.value.name} may code but not review.`
            : last ? `${last.reviewer} ${DONE[last.decision]?.(last) ?? last.decision}${last.comment ? `: ${last.comment}` : ""}` : ""}
        </span>
      </div>
      <div class="row actions">
        <button type="button" class="main decide" disabled={!able || chosen === null}
          onClick={() => chosen !== null && during(chosen === first ? decide("accept") : decide("change", chosen))}>
          {chosen === null || chosen === first ? "Accept" : "Change to"} {chosen === null ? "" : code(chosen)} <kbd>a</kbd>
        </button>
        <button type="button" disabled={!able} onClick={openSearch}>Another DRG… <kbd>c</kbd></button>
        <input ref={(field) => void (commentField.current = field)} id="comment" class="grow" type="text" maxLength={1000} aria-label="Comment"
          placeholder="Comment (m)" value={comment.value} disabled={!able} autocomplete="off"
          onInput={(event) => (comment.value = event.currentTarget.value)}
          onKeyDown={(event) => event.key === "Enter" && comment.value.trim() !== "" && during(decide("comment"))} />
        <button type="button" disabled={!able || comment.value.trim() === ""} onClick={() => during(decide("comment"))}>Comment only</button>
      </div>
      <SearchDialog />
    </section>
  );
}
