/* The severities of the chosen base, the gravest on top: what each weighs and pays, what a step means against the DRG
 * chosen, and how far the note supports it (the model's probability of the step among those of this base). */
import { code, dollars, signed, title } from "../figures/format";
import { Severity } from "../parts/severity";
import type { Drg, DrgEntry, Prediction } from "../server/contract";
import { baseRate } from "../settings";
import { choose, chosenDrg, entries, lookAt, note, record } from "./desk";
import { Columns, FigureCells, ShareCell } from "./columns";

const RUNGS = 3;

interface Rung {
  drg: Drg;
  p: number | null; // null: beyond the DRGs that the server ranked
}

function rungsOf(entry: DrgEntry, predictions: readonly Prediction[]): Rung[] {
  const found = new Map(predictions.map((prediction) => [prediction.drg, prediction.p]));
  return entry.ladder.map((drg) => ({ drg, p: found.get(drg.drg) ?? null })).reverse();
}

/** "Heart failure and shock with MCC" without what the severity adds. */
function baseTitle(entry: DrgEntry): string {
  return title(entry.title.replace(/,? WITH(OUT)? (CC\/MCC|MCC|CC)( OR .*)?$/, ""));
}

export function Ladder() {
  const drg = chosenDrg.value;
  const entry = drg === null ? undefined : entries.value.get(drg);
  const rungs = entry && record.value ? rungsOf(entry, record.value.predictions) : [];
  const mass = rungs.reduce((sum, rung) => sum + (rung.p ?? 0), 0);
  return (
    <section class="panel ladder" aria-labelledby="ladder-title">
      <div class="panel-head">
        <h2 id="ladder-title">Severity</h2>
        <span class="base" title={entry?.title}>{entry ? baseTitle(entry) : ""}</span>
      </div>
      <table aria-labelledby="ladder-title" class="drgs" onPointerLeave={() => lookAt(null)}>
        <Columns />
        <thead>
          <tr>
            <th scope="col" colSpan={2}>DRG</th><th scope="col">Step, and what it adds</th><th scope="col">Note supports</th>
            <th scope="col" class="figure">Weight</th><th scope="col" class="figure">GMLOS</th><th scope="col" class="figure">Payment</th>
          </tr>
        </thead>
        <tbody>
          {rungs.map(({ drg: step, p }) => {
            const more = entry ? (step.weight - entry.weight) * baseRate.value : 0;
            const chosen = step.drg === drg;
            return (
              <tr key={step.drg} class={chosen ? "chosen" : undefined} onPointerEnter={() => lookAt(step.drg)}>
                <td colSpan={2}>
                  <button type="button" class="rung" aria-pressed={chosen} onClick={() => choose(step.drg)}
                    onFocus={() => lookAt(step.drg)} onBlur={() => lookAt(null)}>{code(step.drg)}</button>
                </td>
                <td class="title">
                  <span class="step"><Severity severity={step.severity} /></span>
                  <span class="figure soft">{chosen ? "chosen" : signed(more, dollars)}</span>
                  {step.drg === note.value.billed && <span class="tag">billed</span>}
                </td>
                <ShareCell p={p === null || mass === 0 ? null : p / mass} kind="two" />
                <FigureCells drg={step} />
              </tr>
            );
          })}
          {Array.from({ length: RUNGS - rungs.length }, (_, index) => (
            <tr key={`none ${index}`} class="empty"><td colSpan={2} /><td class="title soft">{entry && index === 0 ? "The base has no other severity." : ""}</td><td /><td /><td /><td /></tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
