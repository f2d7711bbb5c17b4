/* The columns that ranking, ladder and comparison share, so that their figures stand below one another. */
import { Bar } from "../parts/bar";
import { days, dollars, percent, weight } from "../figures/format";
import { baseRate } from "../settings";

export function Columns() {
  return (
    <colgroup>
      <col class="c-mark" /><col class="c-code" /><col class="c-title" /><col class="c-share" />
      <col class="c-weight" /><col class="c-days" /><col class="c-money" />
    </colgroup>
  );
}

export function ShareCell({ p, kind = "one" }: { p: number | null; kind?: "one" | "two" | "soft" }) {
  return (
    <td class="share">
      <Bar share={p ?? 0} kind={kind} />
      <span class="figure">{p === null ? "–" : percent(p)}</span>
    </td>
  );
}

export function FigureCells({ drg }: { drg: { weight: number; gmlos: number } }) {
  return (
    <>
      <td class="figure">{weight(drg.weight)}</td>
      <td class="figure">{days(drg.gmlos)}</td>
      <td class="figure">{dollars(drg.weight * baseRate.value)}</td>
    </>
  );
}
