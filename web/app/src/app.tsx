/* The page as a whole: the bar on top, one of four views, the dialogs, the line that says what just happened. */
import { useState } from "preact/hooks";
import { announcement } from "./announce";
import { BatchView } from "./batch/view";
import { DashboardView } from "./dashboard/view";
import { job } from "./batch/job";
import { useShortcuts } from "./keyboard";
import { NoteView, takeFile } from "./note/view";
import { Help, helpOpen } from "./parts/help";
import { KeyDialog } from "./parts/key_dialog";
import { ReviewsView } from "./review/view";
import { go, view, VIEWS, type View } from "./route";
import { keyWanted } from "./server/client";
import { connect, connectionFault, model, modelId, models, session } from "./server/connection";
import { baseRate, readBaseRate, toggleTheme } from "./settings";

function BaseRate() {
  const [text, setText] = useState<string | null>(null);
  const wrong = text !== null && readBaseRate(text) === null;
  const take = () => {
    const value = text === null ? null : readBaseRate(text);
    if (value !== null) baseRate.value = value;
    setText(null);
  };
  return (
    <label class="base-rate" title="Dollars that a relative weight of 1 pays: expected payment = base rate × weight">Base rate $
      <input id="base-rate" type="text" inputMode="decimal" autocomplete="off" aria-invalid={wrong}
        value={text ?? baseRate.value.toLocaleString("en-US", { maximumFractionDigits: 2 })}
        onInput={(event) => {
          setText(event.currentTarget.value);
          const value = readBaseRate(event.currentTarget.value);
          if (value !== null) baseRate.value = value;
        }}
        onBlur={take} onKeyDown={(event) => event.key === "Enter" && take()} />
    </label>
  );
}

/** Only where there is a choice; which model it is always stands at the foot. */
function ModelChoice() {
  const able = models.value.filter((candidate) => candidate.codes_notes);
  if (able.length < 2) return null;
  return (
    <select class="model" aria-label="Model" value={model.value?.id} onChange={(event) => (modelId.value = event.currentTarget.value)}>
      {able.map((candidate) => <option key={candidate.id} value={candidate.id}>{candidate.id}</option>)}
    </select>
  );
}

function modelName(): string {
  const used = model.value;
  if (used) return `${used.id} · MS-DRG ${used.grouper}`;
  return models.value.length > 0 ? "No model of this server codes notes" : "";
}

function TopBar() {
  const running = job.value?.status === "running";
  return (
    <header class="top">
      <span class="brand">casemix</span>
      <nav aria-label="Views">
        {(Object.keys(VIEWS) as View[]).map((name) => (
          <a key={name} href={`#${name}`} aria-current={view.value === name ? "page" : undefined}>
            {VIEWS[name]}{name === "batch" && running && <span class="running" title="a batch is being coded"> ●</span>}
          </a>
        ))}
      </nav>
      <span class="grow" />
      <ModelChoice />
      <BaseRate />
      {session.value?.keys_required && (
        <button type="button" class="quiet who" onClick={() => (keyWanted.value = true)}>{session.value.name || "Sign in"}</button>
      )}
      <button type="button" class="quiet" onClick={toggleTheme} title="Light or dark (t)">Theme</button>
      <button type="button" class="quiet" onClick={() => (helpOpen.value = true)}>Keys <kbd>?</kbd></button>
    </header>
  );
}

function Foot() {
  const said = announcement.value;
  const fault = connectionFault.value;
  return (
    <footer class="foot">
      <span class={`grow one-line ${fault || said?.kind === "fault" ? "fault" : ""}`} role="status">{fault ?? said?.text ?? ""}</span>
      {fault && <button type="button" class="quiet" onClick={() => void connect()}>Try again</button>}
      <span class="soft" title={model.value ? `SHA-256 of the weights: ${model.value.model_sha256}` : ""}>{modelName()}</span>
      <span class="soft">Not for billing without review</span>
    </footer>
  );
}

export function App() {
  useShortcuts("Everywhere", [
    { keys: "g n", does: "note", run: () => go("note") },
    { keys: "g b", does: "batch", run: () => go("batch") },
    { keys: "g r", does: "reviews", run: () => go("reviews") },
    { keys: "g d", does: "dashboard", run: () => go("dashboard") },
    { keys: "$", does: "base rate", run: () => document.getElementById("base-rate")?.focus() },
    { keys: "t", does: "light or dark", run: toggleTheme },
    { keys: "Escape", does: "leave a field, close a dialog", run: () => undefined },
    { keys: "?", does: "this sheet", run: () => (helpOpen.value = true) },
  ]);
  const onDrop = (event: DragEvent) => {
    event.preventDefault();
    const file = event.dataTransfer?.files[0];
    if (file) takeFile(file);
  };
  return (
    <div class="page" onDragOver={(event) => event.preventDefault()} onDrop={onDrop}>
      <TopBar />
      <main>
        {view.value === "note" && <NoteView />}
        {view.value === "batch" && <BatchView />}
        {view.value === "reviews" && <ReviewsView />}
        {view.value === "dashboard" && <DashboardView />}
      </main>
      <Foot />
      <Help />
      <KeyDialog />
    </div>
  );
}
