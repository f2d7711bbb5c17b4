/* The DRG that was billed beside the one chosen: what the note gives either, and the difference in weight and money. */
import { useEffect, useState } from "preact/hooks";
import { code, days, dollars, signed, title, weight } from "../figures/format";
import { baseRate } from "../settings";
import { chosenDrg, entries, lookAt, note, record, setBilled } from "./desk";
import { Columns, FigureCells, ShareCell } from "./columns";

function Row({ name, drg }: { name: string; drg: number | null }) {
  const entry = drg === null ? undefined : entries.value.get(drg);
  if (!entry) return <tr class="empty"><td colSpan={2} class="soft">{name}</td><td /><td /><td /><td /><td /></tr>;
  const p = record.value?.predictions.find((prediction) => prediction.drg === drg)?.p ?? null;
  return (
    <tr onPointerEnter={() => lookAt(drg)}>
      <td colSpan={2} class="soft">{name}</td>
      <td class="title" title={entry.title}><span class="one-line"><b>{code(entry.drg)}</b> {title(entry.title)}</span></td>
      <ShareCell p={p} kind="soft" />
      <FigureCells drg={entry} />
    </tr>
  );
}

/** What the difference means to a coder, in words. */
function verdict(more: number): string {
  if (more === 0) return "Same weight as billed.";
  return more > 0 ? "▲ billed below the note" : "▼ billed above the note";
}

function Difference() {
  const chosen = entries.value.get(chosenDrg.value ?? 0);
  const billed = entries.value.get(note.value.billed ?? 0);
  if (!chosen || !billed) {
    return <tr class="empty"><td colSpan={2} class="soft">Difference</td><td class="soft">{chosen ? "Enter the billed DRG to compare." : ""}</td><td /><td /><td /><td /></tr>;
  }
  const more = chosen.weight - billed.weight;
  const p = (drg: number) => record.value?.predictions.find((prediction) => prediction.drg === drg)?.p ?? 0;
  const points = p(chosen.drg) - p(billed.drg);
  return (
    <tr class={`difference ${more > 0 ? "above" : more < 0 ? "below" : ""}`}>
      <td colSpan={2} class="soft">Difference</td>
      <td class="title direction">{chosen.drg === billed.drg ? "The DRG that was billed." : verdict(more)}</td>
      <td class="figure">{signed(points, (value) => `${(100 * value).toFixed(1)} pp`)}</td>
      <td class="figure">{signed(more, weight)}</td>
      <td class="figure">{signed(chosen.gmlos - billed.gmlos, days)}</td>
      <td class="figure">{signed(more * baseRate.value, dollars)}</td>
    </tr>
  );
}

export function Comparison() {
  const billed = note.value.billed;
  const [text, setText] = useState("");
  const [fault, setFault] = useState<string | null>(null);
  useEffect(() => {
    setText(billed === null ? "" : code(billed));
    setFault(null);
  }, [billed, record.value]);
  const take = () => void setBilled(text).then(setFault);
  return (
    <section class="panel comparison" aria-labelledby="comparison-title">
      <div class="panel-head">
        <h2 id="comparison-title">Against the bill</h2>
        <span class="fault" role="alert">{fault}</span>
        <label for="billed">Billed DRG <kbd>b</kbd></label>
        <input id="billed" class="code-field" type="text" inputMode="numeric" autocomplete="off" maxLength={3} value={text}
          aria-invalid={fault !== null} onInput={(event) => setText(event.currentTarget.value)} onChange={take}
          onKeyDown={(event) => event.key === "Enter" && take()} />
      </div>
      <table aria-labelledby="comparison-title" class="drgs" onPointerLeave={() => lookAt(null)}>
        <Columns />
        <thead class="spoken">
          <tr>
            <th scope="col" colSpan={2}>Which</th><th scope="col">DRG</th><th scope="col">Probability</th>
            <th scope="col">Weight</th><th scope="col">GMLOS</th><th scope="col">Payment</th>
          </tr>
        </thead>
        <tbody>
          <Row name="Chosen" drg={chosenDrg.value} />
          <Row name="Billed" drg={billed} />
          <Difference />
        </tbody>
      </table>
    </section>
  );
}
