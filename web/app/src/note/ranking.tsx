/* The ranked DRGs. Each row is a radio button: arrows, digits and clicks choose; pointing or focusing shows the
 * evidence. Rows are there before the answer is, so that nothing moves when it comes. */
import { useState } from "preact/hooks";
import { code, dollars, title, weight } from "../figures/format";
import type { Prediction } from "../server/contract";
import { baseRate } from "../settings";
import { choose, chosenDrg, lookAt, note, record } from "./desk";
import { Columns, FigureCells, ShareCell } from "./columns";

const FEW = 5;
const MANY = 15;

/** Chooses the DRG so many places further down the ranking. */
export function stepRanking(step: 1 | -1): void {
  const ranked = record.value?.predictions ?? [];
  const at = ranked.findIndex((prediction) => prediction.drg === chosenDrg.value);
  const next = ranked[Math.max(0, Math.min(ranked.length - 1, at + step))];
  if (!next) return;
  choose(next.drg);
  const radio = document.getElementById(`ranked-${next.drg}`);
  radio?.focus({ preventScroll: true });
  radio?.closest("tr")?.scrollIntoView({ block: "nearest" });
}

/** Chooses the DRG of a rank, 1 being the first. */
export function chooseRank(rank: number): void {
  const prediction = record.value?.predictions[rank - 1];
  if (prediction) choose(prediction.drg);
}

/** What the note is worth on average: weight and payment, weighted with the probabilities. */
function expected(predictions: readonly Prediction[]): string {
  const mass = predictions.reduce((sum, { p }) => sum + p, 0);
  const mean = predictions.reduce((sum, { p, weight: each }) => sum + p * each, 0) / mass;
  return `on average ${weight(mean)}, ${dollars(mean * baseRate.value)}`;
}

export function Ranking() {
  const [many, setMany] = useState(false);
  const answer = record.value;
  const at = answer?.predictions.findIndex((prediction) => prediction.drg === chosenDrg.value) ?? -1;
  const shown = answer ? answer.predictions.slice(0, Math.max(many ? MANY : FEW, at + 1)) : [];
  return (
    <section class="panel ranking" aria-labelledby="ranking-title">
      <div class="panel-head">
        <h2 id="ranking-title">DRGs by probability</h2>
        <span class="soft grow one-line" title="Over the DRGs ranked, each by its probability">{answer ? expected(answer.predictions) : ""}</span>
        <button type="button" class="quiet" disabled={!answer} aria-expanded={many} onClick={() => setMany(!many)}>
          {many ? `Show ${FEW}` : `Show ${MANY}`}
        </button>
      </div>
      <table aria-labelledby="ranking-title" class="drgs" onPointerLeave={() => lookAt(null)}>
        <Columns />
        <thead>
          <tr>
            <th scope="col"><span class="spoken">Chosen</span></th><th scope="col">DRG</th><th scope="col">Title</th>
            <th scope="col">Probability</th><th scope="col" class="figure">Weight</th><th scope="col" class="figure">GMLOS</th>
            <th scope="col" class="figure">Payment</th>
          </tr>
        </thead>
        <tbody>
          {shown.map((prediction, index) => (
            <tr key={prediction.drg} class={prediction.drg === chosenDrg.value ? "chosen" : undefined}
              onPointerEnter={() => lookAt(prediction.drg)} onClick={() => choose(prediction.drg)}>
              <td>
                <input type="radio" name="ranked" id={`ranked-${prediction.drg}`} checked={prediction.drg === chosenDrg.value}
                  aria-label={`${code(prediction.drg)} ${title(prediction.title)}`} onChange={() => choose(prediction.drg)}
                  onFocus={() => lookAt(prediction.drg)} onBlur={() => lookAt(null)} />
              </td>
              <td class="code">{code(prediction.drg)}</td>
              <td class="title" title={prediction.title}>
                <div class="named">
                  <span class="clamp">{title(prediction.title)}</span>
                  {prediction.drg === note.value.billed && <span class="tag">billed</span>}
                </div>
              </td>
              <ShareCell p={prediction.p} kind={index === 0 ? "one" : "soft"} />
              <FigureCells drg={prediction} />
            </tr>
          ))}
          {!answer && Array.from({ length: FEW }, (_, index) => (
            <tr key={index} class="empty"><td /><td class="code">–</td><td /><ShareCell p={null} /><td /><td /><td /></tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
