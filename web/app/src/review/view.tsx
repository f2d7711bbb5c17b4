/* What was reviewed, newest first, with its export; and the ratings of reasonings: means, distribution, agreement
 * between raters, with theirs. */
import { useEffect, useState } from "preact/hooks";
import { code, count, percent, when } from "../figures/format";
import { useShortcuts } from "../keyboard";
import { download, reviews } from "../server/client";
import { faultText, mayReview, session } from "../server/connection";
import type { Review } from "../server/contract";
import { Ratings } from "./ratings";

const PAGE = 50;

const DECISIONS: Record<string, string> = { accept: "accepted", change: "changed", comment: "comment" };

function Row({ review }: { review: Review }) {
  return (
    <tr class={review.decision}>
      <td class="figure soft">{review.review}</td>
      <td class="soft">{when(review.time)}</td>
      <td>{review.reviewer}</td>
      <td class="one-line" title={`SHA-256 of the note: ${review.note_sha256}`}>{review.note_id || `prediction ${review.prediction}`}</td>
      <td class="code">{code(review.predicted)}</td>
      <td class="figure">{percent(review.p, 0)}</td>
      <td class="code">{review.billed === null ? "–" : code(review.billed)}</td>
      <td>{DECISIONS[review.decision] ?? review.decision}</td>
      <td class="code">{review.decision === "comment" ? "" : code(review.drg)}</td>
      <td class="comment">{review.comment}</td>
    </tr>
  );
}

function Reviews() {
  const [page, setPage] = useState(0);
  const [reviewer, setReviewer] = useState("");
  const [shown, setShown] = useState<{ total: number; reviews: Review[] } | null>(null);
  const [fault, setFault] = useState<string | null>(null);
  useEffect(() => {
    let current = true;
    reviews({ limit: PAGE, offset: page * PAGE, reviewer }).then(
      (found) => current && (setShown(found), setFault(null)),
      (error: unknown) => current && setFault(faultText(error)));
    return () => void (current = false);
  }, [page, reviewer, session.value]);
  const pages = Math.max(1, Math.ceil((shown?.total ?? 0) / PAGE));
  return (
    <section class="panel reviews-list" aria-labelledby="reviews-title">
      <div class="panel-head">
        <h2 id="reviews-title">Reviews</h2>
        <span class="soft grow">{shown ? count(shown.total) : ""}</span>
        <label>Reviewer <input type="search" value={reviewer} autocomplete="off" onChange={(event) => {
          setReviewer(event.currentTarget.value.trim());
          setPage(0);
        }} /></label>
        <button type="button" disabled={!shown?.total} onClick={() => void download("/v1/reviews?format=csv", "casemix-reviews.csv")}>Export CSV</button>
      </div>
      {fault && <p class="fault" role="alert">{fault}</p>}
      <div class="scroll" tabIndex={0} role="region" aria-label="List of reviews">
        <table>
          <colgroup>
            <col class="r-number" /><col class="r-time" /><col class="r-name" /><col class="r-id" /><col class="r-code" />
            <col class="r-share" /><col class="r-code" /><col class="r-decision" /><col class="r-code" /><col />
          </colgroup>
          <thead>
            <tr>
              <th scope="col" class="figure">No.</th><th scope="col">When</th><th scope="col">Reviewer</th><th scope="col">Note</th>
              <th scope="col">Model</th><th scope="col" class="figure">p</th><th scope="col">Billed</th><th scope="col">Decision</th>
              <th scope="col">Stands</th><th scope="col">Comment</th>
            </tr>
          </thead>
          <tbody>{shown?.reviews.map((review) => <Row key={review.review} review={review} />)}</tbody>
        </table>
        {shown?.total === 0 && <p class="soft nothing">{reviewer ? `${reviewer} has reviewed nothing.` : "Nothing has been reviewed yet."}</p>}
      </div>
      <div class="row pages">
        <span class="grow" />
        <button type="button" class="quiet" disabled={page === 0} onClick={() => setPage(page - 1)}>Previous page</button>
        <span class="figure">{page + 1} of {pages}</span>
        <button type="button" class="quiet" disabled={page + 1 >= pages} onClick={() => setPage(page + 1)}>Next page</button>
      </div>
    </section>
  );
}

export function ReviewsView() {
  useShortcuts("Reviews", []);
  return (
    <div class="view reviews">
      <h1 class="spoken">Reviews</h1>
      {session.value && !mayReview.value
        ? <p class="panel soft">The key {session.value.name} may code notes, but not see reviews.</p>
        : <><Reviews /><Ratings /></>}
    </div>
  );
}
