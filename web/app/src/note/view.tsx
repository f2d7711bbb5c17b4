/* The note view: the note on one side, what it amounts to on the other. */
import { useRef, useState } from "preact/hooks";
import { startBatch, worklist } from "../batch/job";
import { formatOf } from "../batch/notes_file";
import { openedStay, walk } from "../batch/walk";
import { count } from "../figures/format";
import { useShortcuts } from "../keyboard";
import { go } from "../route";
import { model } from "../server/connection";
import { Comparison } from "./comparison";
import { commentField, Decision, decideAsChosen, openSearch } from "./decision";
import { clearDesk, codeNote, editNote, note, phase, record } from "./desk";
import { Editor, openFile, tryExample, usePaste } from "./editor";
import { Ladder } from "./ladder";
import { chooseRank, Ranking, stepRanking } from "./ranking";
import { Reader, stepEvidence } from "./reader";
import { Reasoning } from "./reasoning";

/** Takes a file wherever it is dropped: many notes go to the batch view, one note is coded. */
export function takeFile(file: File): void {
  if (formatOf(file.name)) {
    go("batch");
    void startBatch(file);
  } else {
    go("note");
    openFile(file);
  }
}

function StayBar() {
  const stay = openedStay.value;
  const list = worklist.value;
  const at = stay ? list.findIndex((other) => other.index === stay.index) : -1;
  return (
    <div class="panel-head">
      <h2 id="note-title">{stay ? `Stay ${stay.id}` : note.value.id && phase.value !== "editing" ? note.value.id : "Note"}</h2>
      <span class="grow" />
      {stay && (
        <>
          <span class="soft figure">{at < 0 ? "" : `${count(at + 1)} of ${count(list.length)}`}</span>
          <button type="button" class="quiet" onClick={() => walk(-1)}>Previous <kbd>[</kbd></button>
          <button type="button" class="quiet" onClick={() => walk(1)}>Next <kbd>]</kbd></button>
        </>
      )}
    </div>
  );
}

function NoteShortcuts({ openNoteFile }: { openNoteFile: () => void }) {
  useShortcuts("Note", [
    { keys: "Ctrl+Enter", does: "code the note", run: () => phase.value !== "coding" && void codeNote() },
    { keys: "o", does: "open a file", run: openNoteFile },
    { keys: "x", does: "try an example", run: tryExample },
    { keys: "e", does: "edit the note", run: () => phase.value === "coded" && editNote() },
    { keys: "n", does: "new note", run: clearDesk },
    { keys: "j or ArrowDown", does: "next DRG", run: () => stepRanking(1) },
    { keys: "k or ArrowUp", does: "DRG before", run: () => stepRanking(-1) },
    ...[1, 2, 3, 4, 5, 6, 7, 8, 9].map((rank) => ({
      keys: String(rank), does: "first DRG; 2 to 9 the others", run: () => chooseRank(rank), hidden: rank > 1,
    })),
    { keys: "v", does: "next evidence in the note", run: () => stepEvidence(1) },
    { keys: "V", does: "evidence before", run: () => stepEvidence(-1) },
    { keys: "b", does: "billed DRG", run: () => document.getElementById("billed")?.focus() },
  ]);
  useShortcuts("Review", [
    { keys: "a", does: "accept, or change to the chosen DRG", run: decideAsChosen },
    { keys: "c", does: "choose another DRG from the catalog", run: openSearch },
    { keys: "m", does: "comment", run: () => commentField.current?.focus() },
    { keys: "]", does: "next stay of the worklist", run: () => walk(1) },
    { keys: "[", does: "stay before", run: () => walk(-1) },
  ]);
  return null;
}

export function NoteView() {
  const pane = useRef<HTMLElement>(null);
  const [dragged, setDragged] = useState(false);
  usePaste();
  const openNoteFile = () => {
    if (phase.value === "coded") clearDesk();
    queueMicrotask(() => document.getElementById("note-file")?.click());
  };
  return (
    <div class="view note">
      <h1 class="spoken">Note</h1>
      <NoteShortcuts openNoteFile={openNoteFile} />
      <section class={`panel note-pane${dragged ? " dragged" : ""}`} ref={pane} aria-labelledby="note-title"
        onDragEnter={() => setDragged(true)} onDragLeave={(event) => !pane.current?.contains(event.relatedTarget as Node | null) && setDragged(false)}
        onDrop={() => setDragged(false)}>
        <StayBar />
        {phase.value === "coded" && record.value ? <Reader /> : <Editor />}
      </section>
      <div class="side scroll" tabIndex={0} role="region" aria-label="What the note amounts to">
        <Ranking />
        {model.value?.task === "generate" && <Reasoning />}
        <Ladder />
        <Comparison />
        <Decision />
      </div>
    </div>
  );
}
