/* What the page works out itself, without a browser. */
import { expect, test } from "@playwright/test";
import { csvLine, readCsv } from "../src/batch/csv";
import { formatOf, readTexts } from "../src/batch/notes_file";
import { chosenStays, EVERY_STAY, sorted, stayOf } from "../src/batch/worklist";
import { caseMix } from "../src/figures/case_mix";
import { percent, signed, title, weight } from "../src/figures/format";
import { bootstrap, quantile, wilson } from "../src/figures/intervals";
import { unitOffsets } from "../src/note/byte_offsets";
import { noteSegments, strengthOf } from "../src/note/segments";
import { EventReader } from "../src/server/events";

test("byte offsets become UTF-16 offsets for characters of one to four bytes", () => {
  const text = "aé漢𝄞z";
  expect(unitOffsets(text, [0, 1, 3, 6, 10, 11])).toEqual([0, 1, 2, 3, 5, 6]);
  expect(unitOffsets(text, [11, 0, 6])).toEqual([6, 0, 3]); // any order
  expect(unitOffsets(text, [2, 5, 8])).toEqual([1, 2, 3]); // within a character: its beginning
  expect(unitOffsets(text, [99])).toEqual([6]);
});

test("segments give the whole note back, mark by the strongest span, and know what was read", () => {
  const text = "one two three four";
  const segments = noteSegments(text, [
    { start: 4, end: 7, score: 1 }, { start: 4, end: 13, score: 0.2 }, { start: 14, end: 18, score: -1 }, { start: 90, end: 95, score: 1 },
  ], { start: 4, end: 18 });
  expect(segments.map((segment) => segment.text).join("")).toBe(text);
  expect(segments.map(({ text: piece, strength, read }) => [piece, strength, read])).toEqual([
    ["one ", 0, false], ["two", 4, true], [" three", 1, true], [" four", 0, true],
  ]);
  expect(noteSegments("", [], null)).toEqual([]);
  expect([strengthOf(0.24, 1), strengthOf(0.26, 1), strengthOf(1, 1), strengthOf(0, 1), strengthOf(1, 0)]).toEqual([1, 2, 4, 0, 0]);
});

test("CSV is read with quotes, line feeds within them, and any line end", () => {
  expect(readCsv('\ufeffid,text\r\n1,"a, ""b""\nc"\n\n2,\r\n')).toEqual([["id", "text"], ["1", 'a, "b"\nc'], ["2", ""]]);
  expect(() => readCsv('id,text\n1,"open')).toThrow("record 2: a quote is opened and never closed");
  expect(readCsv("")).toEqual([]);
});

test("a CSV line is quoted where it must be, and never a formula", () => {
  expect(csvLine(["a", 'b"c', "d,e", null, -1.5, "=1+1"])).toBe('a,"b""c","d,e",,-1.5,\'=1+1\r\n');
});

test("texts of a file come in its order, from CSV and JSON lines", () => {
  expect(readTexts("id,text\n1,first\n2,second\n", "csv")).toEqual(["first", "second"]);
  expect(readTexts('{"text":"first"}\n\n{"text":"second","billed":1}\n', "jsonl")).toEqual(["first", "second"]);
  expect(() => readTexts("id,note\n1,x\n", "csv")).toThrow("no column named text");
  expect(["a.csv", "a.CSV.gz", "a.jsonl", "a.ndjson.gz", "a.txt", "a.gz"].map(formatOf)).toEqual(["csv", "csv", "jsonl", "jsonl", null, null]);
});

test("Wilson's interval agrees with published values", () => {
  // Newcombe 1998, table I, method 3.
  const close = (hits: number, count: number, low: number, high: number) => {
    expect(wilson(hits, count).low).toBeCloseTo(low, 4);
    expect(wilson(hits, count).high).toBeCloseTo(high, 4);
  };
  close(81, 263, 0.2553, 0.3662);
  close(15, 148, 0.0624, 0.1605);
  close(0, 20, 0, 0.1611);
  close(1, 29, 0.0061, 0.1718);
  expect(wilson(0, 0)).toEqual({ low: 0, high: 1 });
});

test("the bootstrap's interval is the same each time, and as wide as theory says", () => {
  const values = Array.from({ length: 400 }, (_, index) => index % 20);
  const mean = (drawn: Int32Array) => drawn.reduce((sum, index) => sum + values[index]!, 0) / drawn.length;
  const interval = bootstrap(values.length, mean)!;
  expect(bootstrap(values.length, mean)).toEqual(interval);
  const error = Math.sqrt(399 / 12 / 400); // of the mean of 400 draws from 0 … 19
  expect(interval.high - interval.low).toBeGreaterThan(2 * 1.96 * error * 0.9);
  expect(interval.high - interval.low).toBeLessThan(2 * 1.96 * error * 1.1);
  expect(bootstrap(1, mean)).toBeNull();
  expect(quantile([1, 2, 3, 4], 0.5)).toBe(2.5);
});

test("the case-mix index is over the stays that were billed, and its difference is paired", () => {
  const mix = caseMix([{ predicted: 1, billed: 1.5 }, { predicted: 2, billed: 1.7 }, { predicted: 9, billed: null }]);
  expect(mix.compared).toBe(2);
  expect(mix.predicted!.value).toBeCloseTo(1.5);
  expect(mix.billed!.value).toBeCloseTo(1.6);
  expect(mix.difference!.value).toBeCloseTo(-0.1);
  const unbilled = caseMix([{ predicted: 1, billed: null }, { predicted: 3, billed: null }]);
  expect(unbilled.predicted!.value).toBe(2);
  expect(unbilled.billed).toBeNull();
  expect(caseMix([]).predicted).toBeNull();
});

const line = (id: string, drg: number, p: number, billed?: number, difference = 0) => ({
  id, prediction: Number(id), model: "m", grouper: "v43" as const, note_sha256: "", section: { start: 0, end: 1 }, tokens: 1, truncated: false,
  predictions: [{ drg, title: "T", p, weight: 1, gmlos: 1, mdc: "05", severity: "CC" }],
  ...(billed === undefined ? {} : { billed, weight_difference: difference, priority: Math.abs(difference) * p }),
});

test("the worklist puts the largest difference times confidence first, both directions alike, failures last", () => {
  const stays = [line("1", 1, 0.9, 2, 0.1), line("2", 1, 0.9, 2, -2), { id: "", row: 3, error: "empty" }, line("4", 1, 0.5, 2, 3), line("5", 1, 1)].map(stayOf);
  expect(stays.map((stay) => stay.direction)).toEqual(["above", "below", "failed", "above", "unbilled"]);
  const ids = (list: typeof stays) => list.map((stay) => stay.id);
  expect(ids(sorted(stays, { column: "priority", falling: true }))).toEqual(["2", "4", "1", "5", "row 3"]);
  expect(ids(sorted(stays, { column: "id", falling: false }))).toEqual(["1", "2", "4", "5", "row 3"]);
  const none = () => false;
  expect(ids(chosenStays(stays, { ...EVERY_STAY, direction: "below" }, none))).toEqual(["2"]);
  expect(ids(chosenStays(stays, { ...EVERY_STAY, open: true }, (prediction) => prediction === 2))).toEqual(["1", "4", "5"]);
});

test("server-sent events are read from pieces cut anywhere", () => {
  const stream = ': alive\n\nevent: progress\r\ndata: {"done":1}\r\n\r\ndata: {"a":\ndata: 2}\n\n';
  for (let cut = 1; cut < stream.length; cut++) {
    const reader = new EventReader();
    const events = [...reader.take(stream.slice(0, cut)), ...reader.take(stream.slice(cut))];
    expect(events).toEqual([{ name: "progress", data: { done: 1 } }, { name: "message", data: { a: 2 } }]);
  }
});

test("figures are written alike everywhere", () => {
  expect([percent(0.9634), percent(0), percent(1), percent(0.00004), percent(0.99999)]).toEqual(["96.3 %", "0.0 %", "100.0 %", "<0.1 %", ">99.9 %"]);
  expect([signed(0.5, weight), signed(-0.5, weight), signed(0.00001, weight)]).toEqual(["+0.5000", "−0.5000", "0.0000"]);
  expect(title("SEPTICEMIA OR SEVERE SEPSIS WITHOUT MV >96 HOURS WITH MCC")).toBe("Septicemia or severe sepsis without MV >96 hours with MCC");
  expect(title("SEIZURES WITHOUT CC/MCC")).toBe("Seizures without CC/MCC");
});
