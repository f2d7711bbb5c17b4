/* Which view is shown: the part of the address behind #, and nothing else of it. */
import { signal } from "@preact/signals";

export const VIEWS = { note: "Note", batch: "Batch", reviews: "Reviews", dashboard: "Dashboard" } as const;
export type View = keyof typeof VIEWS;

function viewOf(hash: string): View {
  const name = hash.replace(/^#/, "");
  return name in VIEWS ? (name as View) : "note";
}

export const view = signal<View>(viewOf(location.hash));

addEventListener("hashchange", () => (view.value = viewOf(location.hash)));

export function go(to: View): void {
  location.hash = to;
  view.value = to;
}
