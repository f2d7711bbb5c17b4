/* Ratings of reasonings as a whole: mean and distribution of either question, weighted kappa of every two raters, and
 * the export of both the ratings and this summary. */
import { useEffect, useState } from "preact/hooks";
import { csvLine } from "../batch/csv";
import { count, NOTHING, percent } from "../figures/format";
import { Bar } from "../parts/bar";
import { agreement, download, saveFile } from "../server/client";
import { faultText, session } from "../server/connection";
import type { Agreement } from "../server/contract";

const QUESTIONS = [["helpfulness", "Helpfulness"], ["accuracy", "Accuracy"]] as const;
type Question = (typeof QUESTIONS)[number][0];

const figure = (value: number | null, digits = 2) => (value === null ? NOTHING : value.toFixed(digits));

/** The summary as CSV: one line a question, then one a question and pair of raters. */
export function summaryCsv(summary: Agreement): string {
  const lines = [["question", "first_rater", "second_rater", "answers", "mean", "deviation", "count_1", "count_2", "count_3",
    "count_4", "count_5", "kappa_linear", "kappa_quadratic", "exact"].join(",") + "\r\n"];
  for (const [question] of QUESTIONS) {
    const { mean, deviation, counts } = summary[question];
    lines.push(csvLine([question, null, null, summary.answers, mean, deviation, ...counts, null, null, null]));
    for (const pair of summary.pairs[question]) {
      lines.push(csvLine([question, pair.raters[0]!, pair.raters[1]!, pair.shared, null, null, null, null, null, null, null,
        pair.kappa_linear, pair.kappa_quadratic, pair.exact]));
    }
  }
  return lines.join("");
}

function Distribution({ name, question, summary }: { name: string; question: Question; summary: Agreement }) {
  const { mean, deviation, counts } = summary[question];
  const most = Math.max(1, ...counts);
  return (
    <div class="distribution">
      <h3>{name} <b>{figure(mean)}</b> <span class="soft">{deviation === null ? "" : `± ${figure(deviation)}`}</span></h3>
      <table aria-label={`${name}: how often each value was given`}>
        <tbody>
          {counts.map((times, index) => (
            <tr key={index}>
              <th scope="row" class="figure">{index + 1}</th>
              <td class="wide-bar"><Bar share={times / most} /></td>
              <td class="figure">{count(times)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Kappa({ summary }: { summary: Agreement }) {
  const rows = QUESTIONS.flatMap(([question, name]) => summary.pairs[question].map((pair) => ({ name, pair })));
  if (rows.length === 0) return <p class="soft">Agreement needs two raters who rated the same answers.</p>;
  return (
    <table aria-label="Agreement between raters">
      <thead>
        <tr>
          <th scope="col">Question</th><th scope="col">Raters</th><th scope="col" class="figure">Shared</th>
          <th scope="col" class="figure">κ quadratic</th><th scope="col" class="figure">κ linear</th><th scope="col" class="figure">Equal</th>
        </tr>
      </thead>
      <tbody>
        {rows.map(({ name, pair }) => (
          <tr key={`${name} ${pair.raters.join(" ")}`}>
            <td>{name}</td><td>{pair.raters.join(" and ")}</td><td class="figure">{count(pair.shared)}</td>
            <td class="figure">{figure(pair.kappa_quadratic)}</td><td class="figure">{figure(pair.kappa_linear)}</td>
            <td class="figure">{percent(pair.exact, 0)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

export function Ratings() {
  const [summary, setSummary] = useState<Agreement | null>(null);
  const [fault, setFault] = useState<string | null>(null);
  useEffect(() => {
    agreement().then(setSummary, (error: unknown) => setFault(faultText(error)));
  }, [session.value]);
  const none = !summary?.ratings;
  return (
    <section class="panel ratings" aria-labelledby="ratings-title">
      <div class="panel-head">
        <h2 id="ratings-title">Ratings of reasonings</h2>
        <span class="soft grow one-line">
          {summary ? `${count(summary.ratings)} ratings of ${count(summary.answers)} answers by ${count(summary.raters.length)} raters` : ""}
        </span>
        <button type="button" disabled={none} onClick={() => void download("/v1/ratings?format=csv", "casemix-ratings.csv")}>Export ratings</button>
        <button type="button" disabled={none} onClick={() =>
          summary && saveFile(new Blob([summaryCsv(summary)], { type: "text/csv" }), "casemix-rating-summary.csv")}>Export summary</button>
      </div>
      {fault && <p class="fault" role="alert">{fault}</p>}
      {summary && !none && (
        <div class="rating-figures">
          {QUESTIONS.map(([question, name]) => <Distribution key={question} name={name} question={question} summary={summary} />)}
          <div class="kappas"><Kappa summary={summary} /></div>
        </div>
      )}
      {summary && none && <p class="soft nothing">No reasoning has been rated yet. A generative model writes one; it is rated beside the note.</p>}
    </section>
  );
}
