/* The synthetic notes of examples/notes, to try the page with; each press of the button takes the next. */
const files = import.meta.glob<string>("../../../../examples/notes/*.txt", { query: "?raw", import: "default", eager: true });
const examples = Object.entries(files).sort(([a], [b]) => (a < b ? -1 : 1));
let next = 0;

export function nextExample(): { id: string; text: string } {
  const [path, text] = examples[next++ % examples.length]!;
  return { id: `example ${path.split("/").at(-1)!.replace(/\.txt$/, "")}`, text };
}
