/* A server with keys: the page asks for one, keeps it in memory alone, and obeys its role. */
import { expect, test } from "@playwright/test";
import { readFileSync } from "node:fs";
import { decision, foot, HEART_FAILURE, paste, ranking } from "./workbench";

const url = process.env.CASEMIX_KEYS_URL ?? "";
const keyOf = (name: string) => readFileSync(`${process.env.CASEMIX_KEYS}/key-${name}`, "utf8").trim().split(/\s+/).at(-1)!;

test("a wrong key is refused, a right one lets in, and a reload asks again", async ({ page }) => {
  await page.goto(url);
  const dialog = page.getByRole("dialog", { name: "This server wants a key" });
  await dialog.getByLabel("API key").fill("wrong");
  await dialog.getByRole("button", { name: "Sign in" }).click();
  await expect(dialog.getByRole("status")).toContainText(/key/i);
  const key = keyOf("one");
  await dialog.getByLabel("API key").fill(key);
  await dialog.getByLabel("API key").press("Enter");
  await expect(dialog).toBeHidden();
  await expect(page.getByRole("button", { name: "rater-one" })).toBeVisible();
  const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, location.href]));
  expect(kept).not.toContain(key);
  await page.reload();
  await expect(dialog).toBeVisible();
});

test("a key of role code codes notes and is not offered to review", async ({ page }) => {
  await page.goto(url);
  await page.getByLabel("API key").fill(keyOf("coder"));
  await page.getByLabel("API key").press("Enter");
  await expect(page.getByText(/MS-DRG v\d+$/)).toBeVisible();
  await paste(page, HEART_FAILURE);
  await expect(ranking(page).getByRole("radio").first()).toBeChecked();
  await expect(decision(page)).toContainText("Key coder may code but not review.");
  await expect(decision(page).getByRole("button", { name: /^Accept/ })).toBeDisabled();
  await page.getByRole("link", { name: "Reviews" }).click();
  await expect(page.getByText("may code notes, but not see reviews")).toBeVisible();
});

test("a review carries the name of its key", async ({ page }) => {
  await page.goto(url);
  await page.getByLabel("API key").fill(keyOf("two"));
  await page.getByLabel("API key").press("Enter");
  await expect(page.getByText(/MS-DRG v\d+$/)).toBeVisible();
  await paste(page, HEART_FAILURE);
  await decision(page).getByRole("button", { name: /^Accept/ }).click();
  await expect(foot(page)).toContainText("saved as review");
  await expect(decision(page)).toContainText(/^.*rater-two accepted \d{3}/);
});
