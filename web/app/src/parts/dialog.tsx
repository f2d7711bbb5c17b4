/* A modal dialog on the browser's own <dialog>: it keeps the focus, closes on Escape, and gives the focus back. */
import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";

export function Dialog({ title, name, onClose, children }: {
  title: string;
  name: string; // class of the dialog
  onClose: () => void;
  children: ComponentChildren;
}) {
  const dialog = useRef<HTMLDialogElement>(null);
  useLayoutEffect(() => {
    const before = document.activeElement;
    dialog.current!.showModal();
    return () => {
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, []);
  return (
    <dialog ref={dialog} class={`dialog ${name}`} aria-labelledby={`${name}-title`} onClose={onClose}
      onClick={(event) => event.target === dialog.current && dialog.current?.close()}>
      <div class="dialog-body">
        <header>
          <h2 id={`${name}-title`}>{title}</h2>
          <button type="button" class="quiet" onClick={() => dialog.current?.close()}>Close <kbd>Esc</kbd></button>
        </header>
        {children}
      </div>
    </dialog>
  );
}
