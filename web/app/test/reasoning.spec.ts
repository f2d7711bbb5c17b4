/* A reasoning that is written while one looks on, its rating, and the summary of ratings. The model is a stand-in
 * (writer.ts); the page and all else are real. */
import { expect, test as base } from "@playwright/test";
import { readFileSync } from "node:fs";
import { HEART_FAILURE, paste, ranking } from "./workbench";
import { AGREEMENT, REASONING, startWriter, type Writer } from "./writer";

const test = base.extend<{ writer: Writer }>({
  writer: async ({ baseURL }, use) => {
    const writer = await startWriter(baseURL!);
    await use(writer);
    await writer.close();
  },
});
test("a reasoning is shown piece by piece while it is written, then rated for helpfulness and accuracy", async ({ page, writer }) => {
  await page.goto(writer.url);
  await expect(page.getByText(/MS-DRG v\d+$/)).toBeVisible();
  await paste(page, HEART_FAILURE);
  const reasoning = page.getByRole("region", { name: "Reasoning" }).locator(".reasoning-text");
  await expect(page.getByText("being written…")).toBeVisible();
  for (const [index] of REASONING.entries()) {
    writer.next();
    await expect(reasoning).toHaveText(REASONING.slice(0, index + 1).join("").trim());
  }
  await expect(ranking(page).getByRole("radio")).toHaveCount(0); // no answer yet
  writer.next();
  await expect(ranking(page).getByRole("radio").first()).toBeChecked();
  const rate = page.getByRole("button", { name: "Rate" });
  await expect(rate).toBeDisabled();
  await page.getByRole("group", { name: "Helpfulness" }).getByRole("radio", { name: "4" }).check();
  await page.getByRole("group", { name: "Accuracy" }).getByRole("radio", { name: "4" }).focus();
  await page.keyboard.press("ArrowRight");
  await page.getByLabel("Comment on the reasoning").fill("misses the hypokalemia");
  await rate.click();
  await expect(page.getByText("rated by one: helpfulness 4, accuracy 5")).toBeVisible();
  expect(writer.rated).toMatchObject([{ helpfulness: 4, accuracy: 5, comment: "misses the hypokalemia" }]);
  await page.screenshot({ path: test.info().outputPath("reasoning.png") });
});

test("ratings are summed up with weighted kappa, and both are exported", async ({ page, writer }) => {
  await page.goto(`${writer.url}/#reviews`);
  const ratings = page.getByRole("region", { name: "Ratings of reasonings" });
  await expect(ratings).toContainText("8 ratings of 4 answers by 2 raters");
  await expect(ratings.getByRole("heading", { name: "Helpfulness" })).toContainText("3.88 ± 0.83");
  const rows = ratings.getByRole("table", { name: "Agreement between raters" }).getByRole("row");
  await expect(rows.nth(1)).toContainText(/one and two\s*4\s*0\.71\s*0\.50\s*50 %/);
  await expect(rows.nth(2)).toContainText(/–\s*–\s*100 %/); // not defined where all gave the same
  const download = page.waitForEvent("download");
  await ratings.getByRole("button", { name: "Export summary" }).click();
  const lines = readFileSync(await (await download).path(), "utf8").trim().split("\r\n");
  expect(lines).toHaveLength(5);
  expect(lines[1]).toBe("helpfulness,,,4,3.875,0.83,0,0,3,3,2,,,");
  expect(lines[2]).toBe("helpfulness,one,two,4,,,,,,,,0.5,0.71,0.5");
  expect(AGREEMENT.pairs.accuracy[0]!.kappa_linear).toBeNull();
  expect(lines[4]).toBe("accuracy,one,two,4,,,,,,,,,,1");
});

test("a new note while one is being written ends the writing and takes its place", async ({ page, writer }) => {
  await page.goto(writer.url);
  await expect(page.getByText(/MS-DRG v\d+$/)).toBeVisible();
  await paste(page, HEART_FAILURE);
  writer.next();
  const reasoning = page.getByRole("region", { name: "Reasoning" }).locator(".reasoning-text");
  await expect(reasoning).toHaveText(REASONING[0]!.trim());
  await page.keyboard.press("n");
  await expect(reasoning).toHaveText("");
  await expect(page.getByLabel("Discharge summary")).toBeEditable();
  await expect(page.getByLabel("Discharge summary")).toHaveValue("");
});
