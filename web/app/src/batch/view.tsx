/* The batch view: a file in, progress, the case-mix index predicted against billed, and the worklist. */
import { useMemo, useRef } from "preact/hooks";
import { caseMix, type Mean } from "../figures/case_mix";
import { count, dollars, percent, signed, weight } from "../figures/format";
import { useShortcuts } from "../keyboard";
import { download } from "../server/client";
import { baseRate } from "../settings";
import { cancelJob, fault, fileName, job, removeJob, startBatch, stays, uploading, worklist } from "./job";
import { EarlierJobs } from "./earlier_jobs";
import { focusFilter, Worklist } from "./worklist_table";

const input = { current: null as HTMLInputElement | null };

export const chooseFile = () => input.current?.click();

function Upload() {
  const file = useRef<HTMLInputElement>(null);
  return (
    <div class="upload">
      <button type="button" class={job.value ? "" : "main"} disabled={uploading.value} onClick={() => file.current?.click()}>
        {uploading.value ? "Uploading…" : "Open a file…"} <kbd>o</kbd>
      </button>
      <input class="file" id="batch-file" type="file" accept=".csv,.jsonl,.ndjson,.gz" tabIndex={-1} aria-label="File of notes"
        ref={(field) => {
          file.current = field;
          input.current = field;
        }}
        onChange={(event) => {
          const chosen = event.currentTarget.files?.[0];
          event.currentTarget.value = "";
          if (chosen) void startBatch(chosen);
        }} />
      <span class="hint">CSV with a column <code>text</code>, or JSON lines; also <code>id</code> and <code>billed</code>. May be gzip; may be dropped here.</span>
    </div>
  );
}

function timeLeft(seconds: number): string {
  if (!Number.isFinite(seconds)) return "";
  return seconds < 90 ? `${Math.ceil(seconds)} s left` : `${Math.ceil(seconds / 60)} min left`;
}

function Progress() {
  const known = job.value;
  if (!known) return <p class="fault" role="alert">{fault.value}</p>;
  const running = known.status === "running";
  const finished = known.done + known.failed;
  // Notes are read well ahead of being coded: once the file is through, their number is the whole.
  const whole = known.bytes_read >= known.bytes ? known.notes : Math.max(known.notes, Math.round((known.notes * known.bytes) / Math.max(1, known.bytes_read)));
  const left = running && known.notes_per_second > 0 ? timeLeft((whole - finished) / known.notes_per_second) : "";
  return (
    <div class="progress">
      <span class="grow one-line"><b>{fileName.value}</b></span>
      <progress max={Math.max(1, whole)} value={running ? finished : Math.max(1, whole)} aria-label="Notes coded" />
      <span class="figure progress-count">{count(finished)} of {count(running ? whole : finished)}</span>
      <span class="figure soft progress-rate">
        {running ? `${known.notes_per_second.toFixed(1)} a second${left && `, ${left}`}` : `${known.status}${known.failed > 0 ? `, ${known.failed} failed` : ""}`}
      </span>
      {running
        ? <button type="button" onClick={() => void cancelJob()}>Stop</button>
        : <>
            <button type="button" onClick={() => void download(`/v1/drg/batch/${known.job}/result?format=csv`, "casemix-batch.csv")}>Export CSV</button>
            <button type="button" class="quiet" onClick={() => void removeJob()}>Remove</button>
          </>}
      <p class="fault" role="alert">{fault.value}</p>
    </div>
  );
}

function Tile({ name, value, note: below, kind = "" }: { name: string; value: string; note: string; kind?: string }) {
  return (
    <div class={`tile ${kind}`}>
      <span class="tile-name">{name}</span>
      <b>{value}</b>
      <span class="tile-note">{below}</span>
    </div>
  );
}

const between = (mean: Mean | null, write: (value: number) => string) =>
  mean?.interval ? `95 %: ${write(mean.interval.low)} to ${write(mean.interval.high)}` : "";

/** Of the stays that the worklist shows, so that a filter's share in the index can be read off. */
function Figures() {
  const shown = worklist.value;
  const figures = useMemo(
    () => caseMix(shown.filter((stay) => stay.record?.predictions[0]).map((stay) => {
      const predicted = stay.record!.predictions[0]!.weight;
      return { predicted, billed: stay.record!.billed === undefined ? null : predicted - stay.difference };
    })),
    [shown],
  );
  const compared = shown.filter((stay) => stay.record?.billed !== undefined);
  const none = compared.length === 0;
  const agreed = compared.filter((stay) => stay.record!.billed === stay.record!.predictions[0]?.drg).length;
  const below = compared.filter((stay) => stay.direction === "above");
  const above = compared.filter((stay) => stay.direction === "below");
  const sum = (list: typeof shown) => list.reduce((total, stay) => total + stay.difference, 0) * baseRate.value;
  const figure = (mean: Mean | null) => (mean ? weight(mean.value) : "–");
  const difference = figures.difference;
  return (
    <div class="tiles" aria-label="Case mix of the stays shown" role="group">
      <Tile name="Case-mix index, predicted" value={figure(figures.predicted)} note={between(figures.predicted, weight)} />
      <Tile name="Case-mix index, billed" value={figure(figures.billed)} note={between(figures.billed, weight)} />
      <Tile name="Predicted − billed" value={difference ? signed(difference.value, weight) : "–"}
        note={between(difference, (value) => signed(value, weight))} />
      <Tile name="▲ Billed below the note" value={none ? "–" : count(below.length)} note={below.length > 0 ? signed(sum(below), dollars) : ""} kind={none ? "" : "above"} />
      <Tile name="▼ Billed above the note" value={none ? "–" : count(above.length)} note={above.length > 0 ? signed(sum(above), dollars) : ""} kind={none ? "" : "below"} />
      <Tile name="Same DRG" value={none ? "–" : percent(agreed / compared.length)}
        note={none ? "" : `${count(agreed)} of ${count(compared.length)}`} />
    </div>
  );
}

export function BatchView() {
  useShortcuts("Batch", [
    { keys: "o", does: "open a file of notes", run: chooseFile },
    { keys: "/", does: "filter the worklist by id", run: focusFilter },
  ]);
  return (
    <div class="view batch">
      <h1 class="spoken">Batch</h1>
      <div class="strip">
        <Upload />
        <Progress />
      </div>
      <Figures />
      {stays.value.length === 0 && !job.value ? <EarlierJobs /> : <Worklist />}
    </div>
  );
}
