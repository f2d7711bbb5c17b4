/* Many notes: uploaded, watched, sorted, opened one by one, reviewed, exported. */
import { readFileSync } from "node:fs";
import { BATCH_FILE, batchEnd, batchLines, codeBatch, decision, dollars, expect, foot, open, ranking, test } from "./workbench";

const number = (text: string) => Number(text.replace("−", "-").replace("+", ""));

test("a batch of 200 notes shows progress, a worklist by priority, and the case-mix index with its interval", async ({ page }) => {
  await open(page, "batch");
  await page.locator("#batch-file").setInputFiles(BATCH_FILE);
  const bar = page.getByRole("progressbar");
  await expect(bar).toBeVisible();
  const seen = new Set<number>(); // states of the bar, until the end
  const end = page.getByText("200 of 200", { exact: true });
  while (!(await page.getByRole("button", { name: "Export CSV" }).isVisible())) {
    seen.add(await bar.evaluate((element) => (element as HTMLProgressElement).position));
    await page.waitForTimeout(50);
  }
  await expect(end).toBeVisible();
  expect(seen.size).toBeGreaterThan(2);

  const priorities = (await page.locator(".worklist tbody td:nth-child(8)").allTextContents()).map(Number);
  expect(priorities.length).toBe(100);
  expect(priorities[0]).toBeGreaterThan(0);
  expect(priorities).toEqual([...priorities].sort((a, b) => b - a));
  await expect(page.locator(".worklist tr.above").first()).toContainText("▲");
  await expect(page.locator(".worklist tr.below").first()).toContainText("▼");

  const tiles = page.getByRole("group", { name: "Case mix of the stays shown" }).locator(".tile");
  const [predicted, billed, difference] = (await tiles.locator("b").allTextContents()).slice(0, 3).map(number);
  expect(predicted! - billed!).toBeCloseTo(difference!, 3);
  await expect(tiles.nth(2)).toContainText(/95 %: .* to /);

  // What the page works out from the records is what the server worked out.
  const [job] = ((await (await page.request.get("/v1/drg/batch")).json()) as { jobs: { summary: { cmi_predicted: { value: number } } }[] }).jobs;
  expect(predicted).toBeCloseTo(job!.summary.cmi_predicted.value, 3);
});

test("the worklist is filtered, sorted by any column, and walked page by page", async ({ page }) => {
  await codeBatch(page);
  await page.getByRole("button", { name: "Next page" }).click();
  await expect(page.getByText("2 of 2")).toBeVisible();
  await page.getByLabel("Direction").selectOption("above");
  const rows = page.locator(".worklist tbody tr");
  await expect(rows.first()).toContainText("▲");
  expect(await rows.count()).toBe(await page.locator(".worklist tr.above").count());
  await page.getByRole("button", { name: "Confidence" }).click();
  const shares = (await rows.locator(".share .figure").allTextContents()).map((text) => parseFloat(text.replace(">", "")));
  expect(shares).toEqual([...shares].sort((a, b) => b - a));
  await page.getByRole("button", { name: "Clear" }).click();
  await page.getByLabel("Id", { exact: true }).fill(batchLines()[17]!.id);
  await expect(rows).toHaveCount(1);
});

test("a stay of the worklist opens beside its note, is reviewed, and the next one follows", async ({ page }) => {
  await codeBatch(page);
  const first = page.locator(".worklist button.link").first();
  const id = (await first.textContent())!;
  await first.click();
  await expect(page.getByRole("heading", { name: `Stay ${id}` })).toBeVisible();
  const line = batchLines().find((stay) => stay.id === id)!;
  await expect(page.getByRole("region", { name: "The note", exact: true })).toHaveText(line.text.trim(), { useInnerText: true });
  await expect(page.getByLabel("Billed DRG")).toHaveValue(String(line.billed).padStart(3, "0"));
  await expect(ranking(page).locator("tbody tr")).toHaveCount(5);
  await decision(page).getByRole("button", { name: /^Accept/ }).click();
  await expect(foot(page)).toContainText(/^Accepted \d{3}: saved as review/);
  await page.getByRole("button", { name: "Next" }).click();
  await expect(page.getByRole("heading", { name: /^Stay/ })).not.toHaveText(`Stay ${id}`);
  await page.getByRole("link", { name: "Batch" }).click();
  await expect(page.locator(".worklist tbody tr").filter({ hasText: id })).toContainText("✓ accepted");
  await page.getByLabel("not reviewed").check();
  await expect(page.locator(".worklist tbody tr").filter({ hasText: id })).toHaveCount(0);
});

test("the result is exported, and a batch can be stopped and removed", async ({ page }) => {
  await codeBatch(page);
  const download = page.waitForEvent("download");
  await page.getByRole("button", { name: "Export CSV" }).click();
  const lines = readFileSync(await (await download).path(), "utf8").trim().split("\n");
  expect(lines[0]).toContain("id,rank,drg");
  expect(lines.length).toBeGreaterThan(200);
  await page.getByRole("button", { name: "Remove" }).click();
  await expect(page.getByText("No batch is open")).toBeVisible();
  await page.locator("#batch-file").setInputFiles(BATCH_FILE);
  await page.getByRole("button", { name: "Stop" }).click();
  await expect(foot(page)).toContainText("Stopped after");
});

test("a batch goes on after the page was reloaded", async ({ page }) => {
  await open(page, "batch");
  await page.locator("#batch-file").setInputFiles(BATCH_FILE);
  await expect(page.locator(".progress-count")).toBeVisible();
  await page.reload();
  await page.getByRole("button", { name: "Go on" }).first().click();
  await batchEnd(page);
  await expect(page.getByText("200 of 200", { exact: true })).toBeVisible();
});

test("a file that is no batch is refused with what it should be", async ({ page }) => {
  await open(page, "batch");
  await page.locator("#batch-file").setInputFiles({ name: "notes.gz", mimeType: "application/gzip", buffer: Buffer.from("x") });
  await expect(page.getByRole("alert").filter({ hasText: "neither .csv nor .jsonl" })).toBeVisible();
});

test("the payment differences follow the base rate", async ({ page }) => {
  await codeBatch(page);
  await page.getByLabel("Base rate").fill("5000");
  const row = page.locator(".worklist tbody tr").first();
  const difference = number((await row.locator(".delta .figure").textContent())!);
  expect(dollars(await row.locator(".money").textContent())).toBeCloseTo(difference * 5000, -1);
});
