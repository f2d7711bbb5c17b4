/* The texts of an uploaded file, read by the page itself so that a stay of the worklist can be opened: the server keeps
 * no note for it. Same formats as the server's: CSV with a column `text`, JSON lines with "text", plain or gzip. */
import { readCsv } from "./csv";

export type NotesFormat = "csv" | "jsonl";

export const CONTENT_TYPES: Record<NotesFormat, string> = { csv: "text/csv", jsonl: "application/x-ndjson" };

/** What a file is by its name; null where the name does not say. */
export function formatOf(name: string): NotesFormat | null {
  const plain = name.toLowerCase().replace(/\.gz$/, "");
  if (plain.endsWith(".csv")) return "csv";
  return /\.(jsonl|ndjson)$/.test(plain) ? "jsonl" : null;
}

/** The texts in the order of the file; throws with one line that says what is wrong with it. */
export function readTexts(source: string, format: NotesFormat): string[] {
  if (format === "csv") {
    const [head, ...rows] = readCsv(source);
    const column = head?.indexOf("text") ?? -1;
    if (column < 0) throw new Error("the CSV has no column named text");
    return rows.map((row) => row[column] ?? "");
  }
  return source
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => {
      const { text } = JSON.parse(line) as { text?: unknown };
      return typeof text === "string" ? text : "";
    });
}

export async function textsOf(file: File, format: NotesFormat): Promise<string[]> {
  const packed = file.name.toLowerCase().endsWith(".gz");
  const stream = packed ? file.stream().pipeThrough(new DecompressionStream("gzip")) : file.stream();
  return readTexts(await new Response(stream).text(), format);
}
