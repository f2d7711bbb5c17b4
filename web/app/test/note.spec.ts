/* One note: pasted, coded, read with its evidence, compared with the bill. */
import { choose, code, comparison, dollars, expect, foot, HEART_FAILURE, ladder, MARKER, open, paste, ranking, test } from "./workbench";

test("a pasted note comes back as ranked DRGs with probability, weight, stay and payment", async ({ page, shift }) => {
  await open(page);
  await page.getByLabel("Discharge summary").focus();
  await paste(page, HEART_FAILURE);
  const rows = ranking(page).locator("tbody tr");
  await expect(rows.first().getByRole("radio")).toBeChecked();
  await expect(rows).toHaveCount(5);
  const shares = (await ranking(page).locator("tbody .share .figure").allTextContents()).map((text) => parseFloat(text));
  expect(shares).toEqual([...shares].sort((a, b) => b - a));
  expect(shares[0]).toBeGreaterThan(1);
  const cells = await rows.first().locator("td.figure").allTextContents();
  expect(dollars(cells[2]!)).toBe(Math.round(Number(cells[0]) * 7000));
  await expect(foot(page)).toContainText(/^DRG \d{3}, .+, [<>]?\d+ %$/);
  await page.waitForTimeout(300);
  expect(await shift()).toBeLessThan(0.01);
});

test("the payment follows the base rate, which is remembered", async ({ page }) => {
  await code(page);
  await page.getByLabel("Base rate").fill("10,000");
  const cells = ranking(page).locator("tbody tr").first().locator("td.figure");
  const weight = Number(await cells.first().textContent());
  await expect(cells.last()).toHaveText(`$${Math.round(weight * 10000).toLocaleString("en-US")}`);
  await page.getByLabel("Base rate").fill("a lot");
  await expect(page.getByLabel("Base rate")).toHaveAttribute("aria-invalid", "true");
  await page.reload();
  await expect(page.getByLabel("Base rate")).toHaveValue("10,000");
});

test("pointing at a DRG or focusing it marks its evidence in the note, and leaving it goes back", async ({ page }) => {
  await code(page);
  const heading = page.locator(".quotes h3");
  const radios = ranking(page).getByRole("radio");
  const codes = await ranking(page).locator("td.code").allTextContents();
  await expect(heading).toHaveText(`Evidence for ${codes[0]}`);
  const text = page.getByRole("region", { name: "The note", exact: true });
  await expect(text).toHaveText(HEART_FAILURE.trim(), { useInnerText: true });
  await expect(text.locator("mark").first()).toBeVisible();
  await ranking(page).locator("tbody tr").nth(1).hover();
  await expect(heading).toHaveText(new RegExp(`(Evidence|Nothing in the note speaks) for ${codes[1]}`));
  await page.getByRole("banner").hover();
  await expect(heading).toHaveText(`Evidence for ${codes[0]}`);
  await radios.nth(2).focus();
  await expect(heading).toContainText(codes[2]!);
  await radios.nth(2).blur();
  await page.locator("button.quote").first().click();
  await expect(text.locator("mark:focus")).toBeVisible();
});

test("marks stand where the server says, behind characters of more than one byte too", async ({ page }) => {
  const answer = page.waitForResponse((response) => response.url().endsWith("/v1/drg"));
  await code(page, HEART_FAILURE.replace("78yo", "é𝄞 漢字 78yo"));
  const record = (await (await answer).json()) as { evidence_by_drg: { spans: { start: number; end: number; score: number }[] }[] };
  const sent = new TextEncoder().encode(HEART_FAILURE.replace("78yo", "é𝄞 漢字 78yo"));
  const spans = record.evidence_by_drg[0]!.spans.filter((span) => span.score > 0);
  const wanted = spans.map(({ start, end }) => new TextDecoder().decode(sent.slice(start, end)));
  const marked = (await page.locator("mark").allTextContents()).join("");
  expect(spans.length).toBeGreaterThan(0);
  for (const piece of wanted) expect(marked).toContain(piece);
});

test("the ladder shows the severities of the chosen base, and what the note gives each", async ({ page }) => {
  await code(page);
  await choose(page, "292");
  const rungs = ladder(page).locator("tbody tr:not(.empty)");
  await expect(rungs).toHaveCount(3);
  await expect(ladder(page).locator(".severity")).toHaveText(["MCC", "CC", "no CC/MCC"]);
  const weights = (await rungs.locator("td.figure:nth-last-child(3)").allTextContents()).map(Number);
  expect(weights).toEqual([...weights].sort((a, b) => b - a));
  const shares = (await rungs.locator(".share .figure").allTextContents()).map((text) => parseFloat(text.replace(/[<>]/, ""))).filter((share) => !Number.isNaN(share));
  expect(shares.reduce((sum, share) => sum + share)).toBeCloseTo(100, 0);
  await rungs.first().getByRole("button").click();
  await expect(rungs.first()).toHaveClass(/chosen/);
  await expect(comparison(page)).toContainText("291");
});

test("the billed DRG is compared with the chosen one, in weight, days and money", async ({ page }) => {
  await code(page);
  await choose(page, "292");
  await page.getByLabel("Billed DRG").fill("291");
  await page.getByLabel("Billed DRG").press("Enter");
  await expect(comparison(page)).toContainText("▼ billed above the note");
  await page.getByLabel("Billed DRG").fill("293");
  await page.getByLabel("Billed DRG").press("Enter");
  await expect(comparison(page)).toContainText("293 Heart failure and shock without CC/MCC");
  await expect(comparison(page)).toContainText("▲ billed below the note");
  const rows = comparison(page).locator("tbody tr");
  const money = await rows.locator("td:last-child").allTextContents();
  expect(dollars(money[0]!) - dollars(money[1]!)).toBeCloseTo(dollars(money[2]!), -1);
  await page.getByLabel("Billed DRG").fill("999x");
  await expect(page.getByLabel("Billed DRG")).toHaveValue("999");
  await page.getByLabel("Billed DRG").fill("12a");
  await page.getByLabel("Billed DRG").press("Enter");
  await expect(comparison(page)).toContainText("A DRG is a number from 1 to 999.");
});

test("the example is coded at the press of a button, and the next press takes another", async ({ page }) => {
  await open(page);
  await page.getByRole("button", { name: "Try an example" }).click();
  await expect(page.getByRole("heading", { name: "example 1-heart-failure" })).toBeVisible();
  await expect(ranking(page).getByRole("radio").first()).toBeChecked();
  await page.getByRole("button", { name: "New note" }).click();
  await page.getByRole("button", { name: "Try an example" }).click();
  await expect(page.getByRole("heading", { name: "example 2-knee-replacement" })).toBeVisible();
});

test("a file is coded when it is opened, and when it is dropped", async ({ page }) => {
  await open(page);
  await page.locator("#note-file").setInputFiles({ name: "stay.txt", mimeType: "text/plain", buffer: Buffer.from(HEART_FAILURE) });
  await expect(page.getByRole("heading", { name: "stay.txt" })).toBeVisible();
  await page.evaluate((text) => {
    const data = new DataTransfer();
    data.items.add(new File([text], "dropped.txt", { type: "text/plain" }));
    document.querySelector(".note-pane")!.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
  }, HEART_FAILURE);
  await expect(page.getByRole("heading", { name: "dropped.txt" })).toBeVisible();
  await expect(ranking(page).getByRole("radio").first()).toBeVisible();
});

test("no word of a note is stored, put in the address, or left after the note is cleared", async ({ page, watch }) => {
  await code(page);
  const kept = await page.evaluate(async () => JSON.stringify([
    { ...localStorage }, { ...sessionStorage }, document.cookie, location.href, document.title, history.state, await caches.keys(),
    (await indexedDB.databases()).length,
  ]));
  expect(kept).not.toContain(MARKER);
  expect(watch.requests.join(" ")).not.toContain(MARKER);
  await page.getByRole("button", { name: "New note" }).click();
  expect(await page.content()).not.toContain(MARKER);
});

test("an empty note is refused with a word on what to do", async ({ page }) => {
  await open(page);
  await page.getByRole("button", { name: "Code the note" }).click();
  await expect(page.getByRole("alert").filter({ hasText: "There is no note yet" })).toBeVisible();
});

test("a server that goes away is said in one line", async ({ page, watch }) => {
  await open(page);
  await page.route("**/v1/drg", (route) => route.abort());
  await paste(page, HEART_FAILURE);
  await expect(page.getByRole("alert").filter({ hasText: "The server does not answer." })).toBeVisible();
  await expect(page.getByLabel("Discharge summary")).toHaveValue(HEART_FAILURE);
  watch.complaints.length = 0; // the browser's own word on the request
});
