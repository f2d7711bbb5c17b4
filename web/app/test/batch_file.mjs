/* Writes 200 synthetic stays as JSON lines with what was "billed": the stay's own DRG, or, for two stays of five, the one
 * before or after it in the catalog, so that a worklist has both directions. Arguments: the folder that `casemix synth`
 * wrote, the file to write. */
import { readFileSync, writeFileSync } from "node:fs";

const [, , cohort, file] = process.argv;
const catalog = readFileSync(new URL("../../../data/ms-drg-v43.tsv", import.meta.url), "utf8").split("\n")
  .filter((line) => /^\d/.test(line)).map((line) => Number(line.split("\t")[0]));
const stays = ["train", "dev", "test"]
  .flatMap((part) => readFileSync(`${cohort}/${part}.jsonl`, "utf8").trim().split("\n").map((line) => JSON.parse(line)))
  .slice(0, 200);
const moved = (drg, step) => catalog[Math.max(0, Math.min(catalog.length - 1, catalog.indexOf(drg) + step))];
writeFileSync(file, stays.map(({ hadm_id, text, drg }, index) =>
  JSON.stringify({ id: String(hadm_id), text, billed: [drg, moved(drg, -1), drg, moved(drg, 1), drg][index % 5] }) + "\n").join(""));
