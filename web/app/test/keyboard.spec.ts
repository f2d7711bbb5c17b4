/* Everything that a day of coding needs, without a pointer. */
import { BATCH_FILE, batchEnd, comparison, decision, expect, foot, HEART_FAILURE, ladder, open, paste, ranking, test } from "./workbench";

test("a note is pasted, its DRGs are walked, compared, changed and commented with keys alone", async ({ page }) => {
  await open(page);
  await paste(page, HEART_FAILURE);
  const radios = ranking(page).getByRole("radio");
  await expect(radios.first()).toBeChecked();
  await page.keyboard.press("j");
  await expect(radios.nth(1)).toBeChecked();
  await page.keyboard.press("k");
  await expect(radios.first()).toBeChecked();
  await page.keyboard.press("3");
  await expect(radios.nth(2)).toBeChecked();
  await page.keyboard.press("1");
  await page.keyboard.press("v");
  await expect(page.locator("mark:focus")).toHaveCount(1);
  await page.keyboard.press("b");
  await page.keyboard.type("291");
  await page.keyboard.press("Enter");
  await expect(comparison(page)).toContainText("291 Heart failure and shock with MCC");
  await page.keyboard.press("Escape");
  await page.keyboard.press("c");
  await page.keyboard.type("renal failure");
  await expect(page.getByRole("option").first()).toContainText(/renal failure/i);
  await page.keyboard.press("ArrowDown");
  const picked = (await page.locator('[role="option"][aria-selected="true"] b').textContent())!;
  await page.keyboard.press("Enter");
  await expect(ladder(page)).toContainText(picked);
  await page.keyboard.press("m");
  await page.keyboard.type("by keys");
  await page.keyboard.press("Escape");
  await page.keyboard.press("a");
  await expect(foot(page)).toContainText(`Changed to ${picked}: saved as review`);
  await expect(decision(page)).toContainText("by keys");
  await page.keyboard.press("e");
  await expect(page.getByLabel("Discharge summary")).toBeFocused();
  await page.keyboard.press("Control+Enter");
  await expect(radios.first()).toBeChecked();
  await page.keyboard.press("n");
  await expect(page.getByLabel("Discharge summary")).toHaveValue("");
});

test("views, worklist and stays are reached with keys alone", async ({ page }) => {
  // Choosers are caught from the start: a listener that comes just before the key is in force only after it, one time in
  // three, and the browser's own dialog opens where nobody sees it.
  page.on("filechooser", () => undefined);
  await open(page);
  await page.keyboard.press("g");
  await page.keyboard.press("b");
  await expect(page.getByRole("link", { name: "Batch" })).toHaveAttribute("aria-current", "page");
  const chooser = page.waitForEvent("filechooser");
  await page.keyboard.press("o");
  await (await chooser).setFiles(BATCH_FILE);
  await batchEnd(page);
  await page.getByRole("region", { name: "Worklist" }).focus();
  await page.keyboard.press("j");
  await page.keyboard.press("j");
  const id = (await page.locator(".worklist button.link").nth(1).textContent())!;
  await expect(page.locator(".worklist button.link").nth(1)).toBeFocused();
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { name: `Stay ${id}` })).toBeVisible();
  await page.keyboard.press("[");
  await expect(page.getByText("1 of 200")).toBeVisible();
  await page.keyboard.press("[");
  await expect(foot(page)).toHaveText("That is the first stay of the worklist");
  for (const [key, name] of [["r", "Reviews"], ["d", "Dashboard"], ["n", "Note"]]) {
    await page.keyboard.press("g");
    await page.keyboard.press(key!);
    await expect(page.getByRole("link", { name: name! })).toHaveAttribute("aria-current", "page");
  }
});

test("the help sheet lists what the keyboard obeys, and single keys can be switched off", async ({ page }) => {
  await open(page);
  await page.keyboard.press("?");
  const sheet = page.getByRole("dialog", { name: "Keyboard" });
  await expect(sheet).toContainText("accept, or change to the chosen DRG");
  await sheet.getByRole("checkbox").uncheck();
  await page.keyboard.press("Escape");
  await expect(sheet).toBeHidden();
  await page.keyboard.press("x");
  await page.keyboard.press("?");
  await expect(sheet).toBeHidden();
  await expect(page.getByLabel("Discharge summary")).toHaveValue("");
  await page.getByRole("button", { name: "Keys" }).click();
  await sheet.getByRole("checkbox").check();
});

test("Tab reaches every control of the note view in reading order, and the focus is always seen", async ({ page }) => {
  await open(page);
  await paste(page, HEART_FAILURE);
  await expect(ranking(page).getByRole("radio").first()).toBeVisible();
  await page.evaluate(() => (document.activeElement as HTMLElement | null)?.blur());
  const reached: string[] = [];
  for (let i = 0; i < 60; i++) {
    await page.keyboard.press("Tab");
    const here = await page.evaluate(() => {
      const element = document.activeElement as HTMLElement;
      if (element === document.body) return null;
      const style = getComputedStyle(element);
      return { name: element.id || element.textContent!.trim().slice(0, 20) || element.getAttribute("aria-label")!, seen: style.outlineStyle !== "none" };
    });
    if (here === null) break;
    expect(here.seen, `${here.name} shows its focus`).toBe(true);
    reached.push(here.name);
  }
  const order = ["Note", "base-rate", "Edit e", "Show 15", "billed", "Accept", "comment"];
  const at = order.map((name) => reached.findIndex((each) => each.startsWith(name)));
  expect(at).toEqual([...at].sort((a, b) => a - b));
  expect(Math.min(...at)).toBeGreaterThanOrEqual(0);
});
