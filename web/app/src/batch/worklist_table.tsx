/* The worklist as a table in pages: filters above, headers that sort, rows that open the stay beside its note. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { code, count, dollars, percent, signed, title, weight } from "../figures/format";
import { Bar, DifferenceBar } from "../parts/bar";
import { Severity } from "../parts/severity";
import { decided } from "../review/decided";
import { baseRate } from "../settings";
import { catalog, choice, sorting, stays, worklist } from "./job";
import { openStay } from "./walk";
import { EVERY_STAY, type Direction, type SortColumn, type Stay } from "./worklist";

const PAGE = 100;

const DIRECTIONS: Record<Direction, { sign: string; name: string }> = {
  above: { sign: "▲", name: "billed below the note" },
  below: { sign: "▼", name: "billed above the note" },
  same: { sign: "=", name: "same weight" },
  unbilled: { sign: "", name: "nothing billed" },
  failed: { sign: "!", name: "not coded" },
};

const filterField = { current: null as HTMLInputElement | null };
export const focusFilter = () => filterField.current?.focus();

function Filters() {
  const now = choice.value;
  const directions = useMemo(() => {
    const found = new Map<Direction, number>();
    for (const stay of stays.value) found.set(stay.direction, (found.get(stay.direction) ?? 0) + 1);
    return found;
  }, [stays.value]);
  const mdcs = useMemo(() => {
    const found = new Map<string, string>();
    for (const stay of stays.value) {
      const first = stay.record?.predictions[0];
      if (first) found.set(first.mdc, catalog.value.get(first.drg)?.mdc_name ?? "");
    }
    return [...found].sort(([a], [b]) => (a < b ? -1 : 1));
  }, [stays.value, catalog.value]);
  return (
    <div class="filters row">
      <label>Direction
        <select value={now.direction} onChange={(event) => (choice.value = { ...now, direction: event.currentTarget.value as Direction | "all" })}>
          <option value="all">all</option>
          {(Object.keys(DIRECTIONS) as Direction[]).filter((direction) => directions.has(direction)).map((direction) => (
            <option key={direction} value={direction}>{DIRECTIONS[direction].sign} {DIRECTIONS[direction].name} ({directions.get(direction)})</option>
          ))}
        </select>
      </label>
      <label>MDC
        <select value={now.mdc} onChange={(event) => (choice.value = { ...now, mdc: event.currentTarget.value })}>
          <option value="">all</option>
          {mdcs.map(([mdc, name]) => <option key={mdc} value={mdc}>{mdc}{name && ` ${name}`}</option>)}
        </select>
      </label>
      <label>Id
        <input ref={(field) => void (filterField.current = field)} type="search" value={now.words} autocomplete="off"
          onInput={(event) => (choice.value = { ...now, words: event.currentTarget.value })} />
      </label>
      <label class="switch">
        <input type="checkbox" checked={now.open} onChange={(event) => (choice.value = { ...now, open: event.currentTarget.checked })} />
        not reviewed
      </label>
      <button type="button" class="quiet" disabled={now === EVERY_STAY} onClick={() => (choice.value = EVERY_STAY)}>Clear</button>
      <span class="grow" />
      <span class="soft figure" role="status">{count(worklist.value.length)} of {count(stays.value.length)} stays</span>
    </div>
  );
}

function Head({ column, children, figure = false }: { column: SortColumn; children: string; figure?: boolean }) {
  const now = sorting.value;
  const here = now.column === column;
  return (
    <th scope="col" class={figure ? "figure" : undefined} aria-sort={here ? (now.falling ? "descending" : "ascending") : "none"}>
      <button type="button" class="sort" onClick={() => (sorting.value = { column, falling: here ? !now.falling : column !== "id" })}>
        {children}<span class="sort-sign" aria-hidden="true">{here ? (now.falling ? " ↓" : " ↑") : ""}</span>
      </button>
    </th>
  );
}

function DrgCell({ drg }: { drg: number | undefined }) {
  if (drg === undefined) return <td class="soft">–</td>;
  const entry = catalog.value.get(drg);
  return (
    <td class="title" title={entry?.title}>
      <span class="one-line"><b>{code(drg)}</b> {entry && <><Severity severity={entry.severity} /> {title(entry.title)}</>}</span>
    </td>
  );
}

function Row({ stay, largest, place }: { stay: Stay; largest: number; place: number }) {
  const { record } = stay;
  const review = record ? decided.value.get(record.prediction) : undefined;
  const { sign, name } = DIRECTIONS[stay.direction];
  return (
    <tr class={stay.direction} onClick={() => record && openStay(stay)}>
      <td><button type="button" class="link" disabled={!record} data-place={place} onClick={(event) => {
        event.stopPropagation();
        openStay(stay);
      }}>{stay.id || `note ${stay.index + 1}`}</button></td>
      {record ? (
        <>
          <DrgCell drg={record.billed} />
          <DrgCell drg={record.predictions[0]?.drg} />
          <td class="direction" title={name}><span aria-hidden="true">{sign}</span><span class="spoken">{name}</span></td>
          <td class="delta"><DifferenceBar share={stay.difference / largest} /><span class="figure">{signed(stay.difference, weight)}</span></td>
          <td class="figure money">{signed(stay.difference * baseRate.value, dollars)}</td>
          <td class="share"><Bar share={stay.confidence} /><span class="figure">{percent(stay.confidence, 0)}</span></td>
          <td class="figure">{stay.priority.toFixed(3)}</td>
          <td class="state">{review ? (review.decision === "accept" ? "✓ accepted" : `→ ${code(review.drg)}`) : ""}</td>
        </>
      ) : <td colSpan={8} class="fault">{stay.fault}</td>}
    </tr>
  );
}

export function Worklist() {
  const [page, setPage] = useState(0);
  const table = useRef<HTMLTableElement>(null);
  const shown = worklist.value;
  const largest = useMemo(() => Math.max(0.5, ...stays.value.map((stay) => Math.abs(stay.difference))), [stays.value]);
  const pages = Math.max(1, Math.ceil(shown.length / PAGE));
  const at = Math.min(page, pages - 1);
  useEffect(() => setPage(0), [choice.value, sorting.value]);

  const onKeyDown = (event: KeyboardEvent) => {
    const step = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 }[event.key];
    if (step === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    const buttons = [...(table.current?.querySelectorAll<HTMLButtonElement>("tbody button.link:enabled") ?? [])];
    const now = buttons.indexOf(document.activeElement as HTMLButtonElement);
    if (now < 0 && !(event.target instanceof HTMLElement && event.target.classList.contains("scroll"))) return;
    event.preventDefault();
    buttons[Math.max(0, Math.min(buttons.length - 1, now + step))]?.focus();
  };

  return (
    <div class="panel worklist">
      <Filters />
      <div class="scroll" tabIndex={0} role="region" aria-label="Worklist" onKeyDown={onKeyDown}>
        <table ref={table}>
          <colgroup>
            <col class="w-id" /><col class="w-drg" /><col class="w-drg" /><col class="w-sign" /><col class="w-delta" />
            <col class="w-money" /><col class="w-share" /><col class="w-priority" /><col class="w-state" />
          </colgroup>
          <thead>
            <tr>
              <Head column="id">Stay</Head><Head column="billed">Billed</Head><Head column="predicted">From the note</Head>
              <th scope="col"><span class="spoken">Direction</span></th><Head column="difference" figure>Δ weight</Head>
              <th scope="col" class="figure money">Δ payment</th><Head column="confidence">Confidence</Head>
              <Head column="priority" figure>Priority</Head><th scope="col">Review</th>
            </tr>
          </thead>
          <tbody>
            {shown.slice(at * PAGE, (at + 1) * PAGE).map((stay, index) => (
              <Row key={stay.index} stay={stay} largest={largest} place={at * PAGE + index} />
            ))}
          </tbody>
        </table>
      </div>
      <div class="row pages">
        <span class="soft legend one-line">▲ the note weighs more than the bill · ▼ the note weighs less · priority = |weight difference| × confidence</span>
        <span class="grow" />
        <button type="button" class="quiet" disabled={at === 0} onClick={() => setPage(at - 1)}>Previous page</button>
        <span class="figure">{at + 1} of {pages}</span>
        <button type="button" class="quiet" disabled={at + 1 >= pages} onClick={() => setPage(at + 1)}>Next page</button>
      </div>
    </div>
  );
}
