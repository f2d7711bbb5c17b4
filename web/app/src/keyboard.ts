/* Keyboard shortcuts. A view lists what it can do; the same list drives the handler and the help sheet. Single keys are
 * left alone in fields, which Escape leaves, and can be switched off as a whole (WCAG 2.1.4). */
import { signal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";
import { singleKeys } from "./settings";

export interface Shortcut {
  keys: string; // "j", "?", "Ctrl+Enter", "g n" (one after the other), or several: "j or ArrowDown"
  does: string; // for the help sheet
  run: () => void;
  hidden?: boolean; // works, but is not worth a line of the help sheet
}

export interface ShortcutGroup {
  name: string;
  shortcuts: Shortcut[];
}

/** The groups in force, in the order in which the help sheet shows them. */
export const groups = signal<ShortcutGroup[]>([]);

let prefix = "";

function isField(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target instanceof HTMLInputElement) return !["radio", "checkbox", "button", "submit", "range"].includes(target.type);
  return target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement || target.isContentEditable;
}

function keyName(event: KeyboardEvent): string | null {
  if (event.altKey || event.isComposing) return null;
  if (event.ctrlKey || event.metaKey) return event.key === "Enter" ? "Ctrl+Enter" : null;
  return event.key;
}

function onKeyDown(event: KeyboardEvent): void {
  const key = keyName(event);
  if (key === null || event.defaultPrevented || key === "Shift") return;
  if (key === "Escape" && isField(event.target)) {
    (event.target as HTMLElement).blur();
    return;
  }
  const single = key !== "Ctrl+Enter";
  if (single && (isField(event.target) || !singleKeys.value)) return;
  if (document.querySelector("dialog[open]")) return;
  const pressed = prefix === "" ? key : `${prefix} ${key}`;
  prefix = "";
  for (const group of groups.value) {
    for (const shortcut of group.shortcuts) {
      const ways = shortcut.keys.split(" or ");
      if (ways.includes(pressed)) {
        event.preventDefault();
        shortcut.run();
        return;
      }
      if (ways.some((way) => way.startsWith(pressed + " "))) {
        event.preventDefault();
        prefix = pressed;
        return;
      }
    }
  }
}

export function startKeyboard(): void {
  document.addEventListener("keydown", onKeyDown);
}

/** Puts a group of shortcuts in force while the calling component is shown: before the browser paints it, so that a key
 *  pressed at the sight of a view never goes nowhere. */
export function useShortcuts(name: string, shortcuts: Shortcut[]): void {
  const latest = useRef(shortcuts);
  latest.current = shortcuts;
  useLayoutEffect(() => {
    const group: ShortcutGroup = {
      name,
      shortcuts: latest.current.map((shortcut, index) => ({ ...shortcut, run: () => latest.current[index]?.run() })),
    };
    groups.value = [...groups.value, group];
    return () => {
      groups.value = groups.value.filter((other) => other !== group);
    };
  }, [name]);
}
