/* The one line at the foot of the page that says what just happened; a screen reader speaks it. */
import { signal } from "@preact/signals";

export interface Announcement {
  text: string;
  kind: "done" | "fault";
}

export const announcement = signal<Announcement | null>(null);

export function announce(text: string, kind: Announcement["kind"] = "done"): void {
  announcement.value = { text, kind };
}
