/* What a browser lets this page do, and what it refuses. */
import { expect, open, test } from "./workbench";

test("the content security policy allows nothing inline and nothing from elsewhere, and nothing breaks under it", async ({ page, request }) => {
  const policy = (await request.get("/")).headers()["content-security-policy"] ?? "";
  const rules = new Map(policy.split(";").map((rule) => rule.trim().split(/\s+/)).map(([name, ...values]) => [name!, values]));
  expect(rules.get("default-src")).toEqual(["'none'"]);
  expect(policy).not.toContain("unsafe");
  for (const name of ["script-src", "style-src", "connect-src"]) expect(rules.get(name)).toEqual(["'self'"]);
  expect(rules.get("frame-ancestors")).toEqual(["'none'"]);
  expect(rules.get("base-uri")).toEqual(["'none'"]);
  expect(rules.get("form-action")?.length).toBe(1);
  await open(page);
  const ran = await page.evaluate(() => {
    const script = document.createElement("script");
    script.textContent = "window.inlined = true";
    document.head.append(script);
    return "inlined" in window;
  });
  expect(ran).toBe(false);
});

test.afterEach(({ watch }) => void (watch.complaints = watch.complaints.filter((text) => !/inline script|Content Security Policy/.test(text))));

test("the page has no script, style or handler within its HTML", async ({ request }) => {
  const html = await (await request.get("/")).text();
  expect(html).not.toMatch(/<style|\sstyle=|\son\w+=|javascript:/i);
  expect([...html.matchAll(/<script([^>]*)>([\s\S]*?)<\/script>/g)].every(([, attributes, body]) => attributes!.includes("src=") && body === "")).toBe(true);
  expect(html).not.toMatch(/https?:\/\//);
});
