/* What the page remembers on this computer: theme, base rate, whether single keys are shortcuts. Nothing else
 * is ever stored: no note, no answer, no key. */
import { effect, signal, type Signal } from "@preact/signals";

export type Theme = "system" | "light" | "dark";

const PREFIX = "casemix.";

function remembered<T>(name: string, initial: T, read: (text: string) => T | null): Signal<T> {
  let start = initial;
  try {
    const text = localStorage.getItem(PREFIX + name);
    if (text !== null) start = read(text) ?? initial;
  } catch {
    /* storage is switched off: the setting lives as long as the page */
  }
  const setting = signal(start);
  let first = true;
  effect(() => {
    const value = String(setting.value);
    if (first) {
      first = false;
      return;
    }
    try {
      localStorage.setItem(PREFIX + name, value);
    } catch {
      /* as above */
    }
  });
  return setting;
}

export const DEFAULT_BASE_RATE = 7000;

/** Dollars per unit of relative weight, between 1 and a million; null for anything else. */
export function readBaseRate(text: string): number | null {
  const value = Number(text.replace(/[$,\s]/g, ""));
  return text.trim() !== "" && value >= 1 && value <= 1e6 ? value : null;
}

export const theme = remembered<Theme>("theme", "system", (text) =>
  text === "light" || text === "dark" || text === "system" ? text : null);
export const baseRate = remembered("base-rate", DEFAULT_BASE_RATE, readBaseRate);
export const singleKeys = remembered("single-keys", true, (text) => text === "true");

/** Light to dark and back, from whatever is shown now. */
export function toggleTheme(): void {
  const dark = theme.value === "dark" || (theme.value === "system" && matchMedia("(prefers-color-scheme: dark)").matches);
  theme.value = dark ? "light" : "dark";
}

effect(() => {
  if (theme.value === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme.value;
});
