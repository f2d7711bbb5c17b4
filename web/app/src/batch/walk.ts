/* Walking the worklist note by note: the stay that lies on the desk, and the next and the one before. */
import { computed, signal } from "@preact/signals";
import { announce } from "../announce";
import { layDownCoded, record } from "../note/desk";
import { go } from "../route";
import { textOf, worklist } from "./job";
import type { Stay } from "./worklist";

/** The stay last opened and its place in the worklist then; it counts only while its answer is on the desk. */
const opened = signal<{ stay: Stay; place: number } | null>(null);

export const openedStay = computed(() => {
  const stay = opened.value?.stay;
  return stay?.record && record.value?.prediction === stay.record.prediction ? stay : null;
});

export function openStay(stay: Stay): void {
  const answer = stay.record;
  if (!answer) return;
  const mine = (opened.value = { stay, place: worklist.value.indexOf(stay) });
  void textOf({ ...stay, record: answer }).then((text) => {
    if (opened.value !== mine) return;
    void layDownCoded({ text: text ?? "", id: stay.id, billed: answer.billed ?? null }, answer);
    go("note");
  });
}

/** To the next stay of the worklist or the one before. One that a filter has taken out since it was opened (a stay just
 * reviewed, say) leaves its place to the one behind it. */
export function walk(step: 1 | -1): void {
  if (!openedStay.value) return;
  const list = worklist.value;
  const at = list.findIndex((stay) => stay.index === openedStay.value!.index);
  const place = at >= 0 ? at + step : opened.value!.place + (step > 0 ? 0 : -1);
  const next = list[place];
  if (next?.record) openStay(next);
  else announce(step > 0 ? "That was the last stay of the worklist" : "That is the first stay of the worklist");
}
