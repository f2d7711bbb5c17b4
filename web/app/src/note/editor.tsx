/* The empty desk: a field to paste a note into, a file to open or drop, the example. A note that is pasted (anywhere on
 * the page) or dropped is coded at once; one that is typed or changed waits for the button. */
import { useLayoutEffect, useRef } from "preact/hooks";
import { session } from "../server/connection";
import { clearDesk, codeNote, fault, layDown, note, phase } from "./desk";
import { nextExample } from "./examples";

export function openFile(file: File): void {
  const limit = session.value?.note_limit ?? 4 << 20;
  if (file.size > limit) {
    fault.value = `${file.name} has ${file.size} bytes; a note has at most ${limit}. A file of many notes belongs in the batch view.`;
    return;
  }
  void file.text().then((text) => {
    layDown({ text, id: file.name, billed: null });
    void codeNote();
  });
}

export function tryExample(): void {
  layDown({ ...nextExample(), billed: null });
  void codeNote();
}

/** Takes a note pasted into the empty field, or anywhere on the page where no field has the focus. */
function onPaste(event: ClipboardEvent): void {
  const target = event.target;
  if (target instanceof HTMLInputElement || (target instanceof HTMLTextAreaElement && target.value.trim() !== "")) return;
  const text = event.clipboardData?.getData("text/plain") ?? "";
  if (text.trim() === "" || document.querySelector("dialog[open]")) return;
  event.preventDefault();
  layDown({ text, id: "", billed: null });
  void codeNote();
}

export function usePaste(): void {
  useLayoutEffect(() => {
    document.addEventListener("paste", onPaste);
    return () => document.removeEventListener("paste", onPaste);
  }, []);
}

export function Editor() {
  const file = useRef<HTMLInputElement>(null);
  const field = useRef<HTMLTextAreaElement>(null);
  const busy = phase.value === "coding";
  useLayoutEffect(() => {
    if (phase.value === "editing" && note.value.text !== "") field.current?.focus();
  }, []);
  return (
    <div class="pane-body editor">
      <textarea ref={field} aria-label="Discharge summary" spellcheck={false} autocomplete="off"
        placeholder="Paste a discharge summary here, or drop a text file." value={note.value.text} readOnly={busy}
        onInput={(event) => (note.value = { ...note.value, text: event.currentTarget.value })} />
      <div class="row actions">
        <button type="button" class="main" disabled={busy} onClick={() => void codeNote()}>
          {busy ? "Coding…" : "Code the note"} <kbd>Ctrl+Enter</kbd>
        </button>
        <button type="button" disabled={busy} onClick={() => file.current?.click()}>Open a file… <kbd>o</kbd></button>
        <button type="button" disabled={busy} onClick={tryExample}>Try an example <kbd>x</kbd></button>
        {note.value.text !== "" && <button type="button" class="quiet" onClick={clearDesk}>Clear</button>}
        <input ref={file} class="file" id="note-file" type="file" accept=".txt,text/plain" tabIndex={-1} aria-label="Note file"
          onChange={(event) => {
            const chosen = event.currentTarget.files?.[0];
            event.currentTarget.value = "";
            if (chosen) openFile(chosen);
          }} />
      </div>
      <p class="fault" role="alert">{fault.value}</p>
    </div>
  );
}
