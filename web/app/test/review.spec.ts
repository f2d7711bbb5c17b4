/* The decision on an answer, its trace in the reviews, the export, the dashboard. */
import { readFileSync } from "node:fs";
import { code, decision, expect, foot, ladder, open, test } from "./workbench";

test("an answer is accepted, and what was decided stands beside it", async ({ page }) => {
  await code(page);
  await decision(page).getByRole("button", { name: /^Accept/ }).click();
  await expect(foot(page)).toContainText(/^Accepted \d{3}: saved as review \d+/);
  await expect(decision(page)).toContainText(/accepted \d{3}/);
});

test("a DRG is changed with the catalog's help, with a comment", async ({ page }) => {
  await code(page);
  await decision(page).getByRole("button", { name: /Another DRG/ }).click();
  const dialog = page.getByRole("dialog", { name: "Choose another DRG" });
  await dialog.getByRole("combobox").fill("pneum mcc");
  const options = dialog.getByRole("option");
  await expect(options.filter({ hasText: "193" })).toBeVisible();
  await options.filter({ hasText: "193" }).click();
  await expect(dialog).toBeHidden();
  await expect(ladder(page)).toContainText("193");
  await decision(page).getByLabel("Comment", { exact: true }).fill("pneumonia was the reason for admission");
  await decision(page).getByRole("button", { name: "Change to 193" }).click();
  await expect(foot(page)).toContainText("Changed to 193: saved as review");
  await expect(decision(page)).toContainText("pneumonia was the reason for admission");
  await expect(decision(page).getByLabel("Comment", { exact: true })).toHaveValue("");
});

test("a comment alone is no decision", async ({ page }) => {
  await code(page);
  await decision(page).getByLabel("Comment", { exact: true }).fill("ask the attending about <b>EF</b>");
  await decision(page).getByRole("button", { name: "Comment only" }).click();
  await expect(foot(page)).toContainText("Comment: saved as review");
  await expect(decision(page)).toContainText("ask the attending about <b>EF</b>");
});

test("reviews are listed newest first and exported as CSV", async ({ page }) => {
  await code(page);
  await decision(page).getByRole("button", { name: /^Accept/ }).click();
  await expect(foot(page)).toContainText("saved as review");
  const kept = /review (\d+)/.exec((await foot(page).textContent())!)![1]!;
  await page.getByRole("link", { name: "Reviews" }).click();
  const rows = page.getByRole("region", { name: "List of reviews" }).locator("tbody tr");
  await expect(rows.first()).toContainText(kept);
  await expect(rows.first()).toContainText("accepted");
  const download = page.waitForEvent("download");
  await page.getByRole("button", { name: "Export CSV" }).click();
  const file = await download;
  expect(file.suggestedFilename()).toBe("casemix-reviews.csv");
  expect(readFileSync(await file.path(), "utf8")).toContain("reviewer");
});

test("the dashboard counts what was reviewed, by MDC and by week", async ({ page }) => {
  await code(page);
  await decision(page).getByRole("button", { name: /^Accept/ }).click();
  await expect(foot(page)).toContainText("saved as review");
  await open(page, "dashboard");
  await page.reload();
  const tiles = page.getByRole("group", { name: "As a whole" });
  await expect(tiles).toContainText(/95 %: .* to /);
  await expect(page.getByRole("region", { name: "Agreement by MDC" })).toContainText("05");
  await expect(page.getByRole("table", { name: "Agreement by week" }).getByRole("row").last()).toContainText("reviewed");
  await expect(page.getByRole("table", { name: "Notes by confidence, week by week" })).toBeVisible();
});

test("a review that the server refuses is not shown as kept", async ({ page, watch }) => {
  await code(page);
  await page.route("**/v1/reviews", (route) =>
    route.request().method() === "POST"
      ? route.fulfill({ status: 503, json: { error: { message: "the server is stopping", type: "server_error", code: "stopping", hint: "" } }, headers: { "Retry-After": "7" } })
      : route.continue());
  await decision(page).getByRole("button", { name: /^Accept/ }).click();
  await expect(foot(page)).toHaveText("The server is stopping. Try again in 7 s.");
  await expect(decision(page)).not.toContainText("accepted");
  watch.complaints.length = 0; // the browser's own word on the 503
});
