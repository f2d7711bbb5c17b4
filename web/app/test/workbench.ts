/* What the tests share: a page that keeps count of everything it asks for and complains of, and notes to code. */
import { test as base, expect, type Page } from "@playwright/test";
import { readFileSync } from "node:fs";

export { expect };

/** Synthetic, as all notes here. The marker is a word no other page or file has. */
export const MARKER = "Zyxwvlung";
export const HEART_FAILURE = readFileSync(new URL("../../../examples/notes/1-heart-failure.txt", import.meta.url), "utf8")
  .replace("Unit No:   ___", `Unit No:   ${MARKER}`);

/** The file of 200 synthetic stays that run.sh has made, half of them as JSON lines with what was billed. */
export const BATCH_FILE = process.env.CASEMIX_BATCH ?? "";
export const batchLines = () =>
  readFileSync(BATCH_FILE, "utf8").trim().split("\n").map((line) => JSON.parse(line) as { id: string; text: string; billed?: number });

export interface Watch {
  requests: string[]; // every address asked for
  complaints: string[]; // errors of the console and uncaught ones
}

interface Answer {
  predictions: { drg: number }[];
  section: { start: number; end: number };
  evidence_by_drg?: { drg: number; spans: { start: number; end: number; score: number }[] }[];
}

/** Made-up evidence: every few words of what was read, other ones for each DRG, one span in ten speaking against it. */
function madeUpEvidence(text: string, section: Answer["section"], drg: number) {
  const read = Buffer.from(text).subarray(section.start, section.end).toString();
  return [...read.matchAll(/[A-Za-z][\w -]{5,40}/g)].flatMap((found, index) => {
    if ((index * 7 + drg) % 5 > 0) return [];
    const start = section.start + Buffer.byteLength(read.slice(0, found.index));
    return [{ start, end: start + Buffer.byteLength(found[0]), score: (((index + 1) * 13 + drg) % 10) / 10 - 0.05 }];
  });
}

/** A model that does not tell its evidence is helped out, so that what the page does with evidence is tried all the
 * same: the rest of its answers stays the server's own. */
export async function standInForEvidence(page: Page): Promise<void> {
  let made = false;
  await page.route("**/v1/models", async (route) => {
    const response = await route.fetch();
    const list = (await response.json()) as { data: { evidence: boolean; codes_notes: boolean }[] };
    made = !list.data.find((model) => model.codes_notes)?.evidence;
    for (const model of list.data) model.evidence = true;
    await route.fulfill({ response, json: list });
  });
  await page.route("**/v1/drg", async (route) => {
    if (!made) return route.continue();
    const { evidence, evidence_drgs: wanted, ...asked } = route.request().postDataJSON() as { text: string; evidence?: boolean; evidence_drgs?: number[] };
    const response = await route.fetch({ postData: JSON.stringify(asked) });
    if (!response.ok()) return route.fulfill({ response });
    const answer = (await response.json().catch(() => null)) as Answer | null;
    if (!answer) return route.abort(); // the page has taken its request back meanwhile
    if (evidence) {
      answer.evidence_by_drg = (wanted ?? [answer.predictions[0]!.drg]).map((drg) => ({ drg, spans: madeUpEvidence(asked.text, answer.section, drg) }));
    }
    return route.fulfill({ response, json: answer });
  });
}

export const test = base.extend<{ watch: Watch; shift: () => Promise<number>; evidence: void }>({
  evidence: [
    async ({ page }, use) => {
      await standInForEvidence(page);
      await use();
      await page.unrouteAll({ behavior: "ignoreErrors" });
    },
    { auto: true },
  ],
  /** On for every test: no request may leave the server's origin, nothing may be complained of. */
  watch: [
    async ({ page, baseURL }, use) => {
      const watch: Watch = { requests: [], complaints: [] };
      page.on("request", (request) => watch.requests.push(request.url()));
      page.on("console", (message) => ["error", "warning"].includes(message.type()) && watch.complaints.push(message.text()));
      page.on("pageerror", (error) => watch.complaints.push(String(error)));
      await use(watch);
      expect(watch.complaints).toEqual([]);
      const elsewhere = watch.requests.filter((address) => !address.startsWith(baseURL!) && !/^(data|blob):/.test(address));
      expect(elsewhere).toEqual([]);
    },
    { auto: true },
  ],
  /** The sum of all layout shifts so far, those right after an input as well. */
  shift: async ({ page }, use) => {
    await page.addInitScript(() => {
      const seen = { sum: 0 };
      Object.assign(window, { layoutShift: seen });
      new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) seen.sum += (entry as unknown as { value: number }).value;
      }).observe({ type: "layout-shift", buffered: true });
    });
    await use(() => page.evaluate(() => (window as unknown as { layoutShift: { sum: number } }).layoutShift.sum));
  },
});

export async function open(page: Page, view = ""): Promise<void> {
  await page.goto(`/${view && `#${view}`}`);
  await expect(page.getByRole("navigation")).toBeVisible();
  await expect(page.getByText(/MS-DRG v\d+$/)).toBeVisible();
}

/** Pastes as a person does: the text into the clipboard's event, on whatever has the focus. */
export async function paste(page: Page, text: string): Promise<void> {
  await page.evaluate((pasted) => {
    const data = new DataTransfer();
    data.setData("text/plain", pasted);
    (document.activeElement ?? document.body).dispatchEvent(
      new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
  }, text);
}

export async function code(page: Page, text = HEART_FAILURE): Promise<void> {
  await open(page);
  await paste(page, text);
  await expect(page.getByRole("radio").first()).toBeVisible();
}

/** Chooses a DRG whatever the model thinks of it, by way of the catalog. */
export async function choose(page: Page, drg: string): Promise<void> {
  await decision(page).getByRole("button", { name: /Another DRG/ }).click();
  await page.getByRole("combobox").fill(drg);
  await page.getByRole("option", { name: drg }).click();
  await expect(page.getByRole("dialog")).toBeHidden();
}

/** Uploads the 200 notes and waits until all are coded. */
export async function codeBatch(page: Page): Promise<void> {
  await open(page, "batch");
  await page.locator("#batch-file").setInputFiles(BATCH_FILE);
  await batchEnd(page);
}

export const batchEnd = (page: Page) => expect(page.getByRole("button", { name: "Export CSV" })).toBeVisible({ timeout: 100_000 });

export const ranking = (page: Page) => page.getByRole("region", { name: "DRGs by probability" });
export const ladder = (page: Page) => page.getByRole("region", { name: "Severity" });
export const comparison = (page: Page) => page.getByRole("region", { name: "Against the bill" });
export const decision = (page: Page) => page.getByRole("region", { name: "Review", exact: true });
export const foot = (page: Page) => page.getByRole("contentinfo").getByRole("status");

/** Dollars of a cell's text as a number. */
export const dollars = (text: string | null) => Number((text ?? "").replace("−", "-").replace(/[$,+]/g, ""));
