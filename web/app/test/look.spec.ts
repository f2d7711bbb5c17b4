/* How the page looks and reads: axe on every view in both themes at both widths, no scrolling sideways, no shift, and
 * pictures for a person to look at (test results folder). */
import type { Page } from "@playwright/test";
import { readFileSync } from "node:fs";
import { BATCH_FILE, batchEnd, code, decision, expect, foot, open, test } from "./workbench";

const axe = readFileSync(new URL("../node_modules/axe-core/axe.min.js", import.meta.url), "utf8");

interface Finding {
  id: string;
  impact: string;
  nodes: { target: string[]; failureSummary: string }[];
}

/** Runs axe with all its WCAG rules and good practices; minor findings count as well. */
async function faults(page: Page): Promise<string[]> {
  const found = await page.evaluate(async () => {
    const { axe: checker } = window as unknown as { axe: { run: (root: Document) => Promise<{ violations: Finding[] }> } };
    return (await checker.run(document)).violations;
  });
  return found.flatMap((fault) => fault.nodes.map((node) => `${fault.impact} ${fault.id}: ${node.target.join(" ")}: ${node.failureSummary}`));
}

const sideways = (page: Page) =>
  page.evaluate(() => [document.documentElement, ...document.querySelectorAll(".view, .panel, .scroll, dialog, .top, .foot")]
    .filter((element) => element.scrollWidth > element.clientWidth + 1)
    .map((element) => `${element.tagName}.${element.className}: ${element.scrollWidth} in ${element.clientWidth}`));

for (const scheme of ["light", "dark"] as const) {
  for (const size of [{ width: 1280, height: 800 }, { width: 800, height: 900 }]) {
    test.describe(`${scheme}, ${size.width} px`, () => {
      test.use({ colorScheme: scheme, viewport: size });

      test("every view is free of faults and fits", async ({ page, shift }, info) => {
        await page.addInitScript({ content: axe });
        const look = async (name: string) => {
          await page.mouse.move(0, 0);
          await page.screenshot({ path: info.outputPath(`${name}.png`) });
          expect(await faults(page), name).toEqual([]);
          expect(await sideways(page), name).toEqual([]);
        };
        await open(page);
        await look("empty");
        await code(page);
        await page.getByLabel("Billed DRG").fill("291");
        await page.getByLabel("Billed DRG").press("Enter");
        await expect(page.getByText("291 Heart failure")).toBeVisible();
        await decision(page).getByRole("button", { name: /^Accept/ }).click();
        await expect(foot(page)).toContainText("saved as review");
        await look("note");
        await decision(page).getByRole("button", { name: /Another DRG/ }).click();
        await page.getByRole("combobox").fill("renal");
        await expect(page.getByRole("option").first()).toBeVisible();
        await look("catalog");
        await page.keyboard.press("Escape");
        await page.getByRole("button", { name: "Keys" }).click();
        await expect(page.getByRole("dialog", { name: "Keyboard" })).toBeVisible();
        await look("help");
        await page.keyboard.press("Escape");
        await page.getByRole("link", { name: "Batch" }).click();
        await expect(page.getByText("No batch is open")).toBeVisible();
        await look("batch-empty");
        await page.locator("#batch-file").setInputFiles(BATCH_FILE);
        await batchEnd(page);
        await look("batch");
        await page.getByRole("link", { name: "Reviews" }).click();
        await expect(page.getByRole("region", { name: "List of reviews" }).getByRole("row").nth(1)).toBeVisible();
        await look("reviews");
        await page.getByRole("link", { name: "Dashboard" }).click();
        await expect(page.getByRole("region", { name: "Agreement by MDC" })).toBeVisible();
        await look("dashboard");
        void shift;
      });

      test("nothing moves while an answer comes in", async ({ page, shift }) => {
        await open(page);
        await page.getByRole("button", { name: "Try an example" }).click();
        await expect(page.locator("mark").first()).toBeVisible();
        await page.waitForTimeout(500);
        expect(await shift()).toBeLessThan(0.01);
      });
    });
  }
}

test("the theme follows the system until one is chosen, which is remembered", async ({ page }) => {
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  await page.emulateMedia({ colorScheme: "light" });
  await open(page);
  const light = await ground();
  await page.emulateMedia({ colorScheme: "dark" });
  const dark = await ground();
  expect(dark).not.toBe(light);
  await page.getByRole("button", { name: "Theme" }).click();
  expect(await ground()).toBe(light);
  await page.reload();
  expect(await ground()).toBe(light);
  await page.keyboard.press("t");
  expect(await ground()).toBe(dark);
});
