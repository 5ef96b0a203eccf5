// A server that sets nothing says so before anybody tries: beside the name, and on each button.

import { announced, check, open, row, run, same, step, until, violations } from "./browser.mjs";

run(async () => {
  const page = await open();
  await until("the rows", async () => (await row(page, "web/shop"))?.desired === 3);
  await until("that it is read-only, beside the name", async () => (await page.locator("#who").innerText()).includes("read-only server"));
  const why = "This server is read-only";
  const refuses = async (button, what) => {
    same(await button.getAttribute("aria-disabled"), "true", `${what} is offered`);
    check((await button.getAttribute("title")).startsWith(why), what, "says why");
  };
  await page.locator("#grid .row", { hasText: "shop" }).click();
  await page.locator(".details #why-not", { hasText: why }).waitFor();
  await refuses(page.getByRole("button", { name: "Change count…" }), "a change");
  await page.keyboard.press("c");
  await announced(page, why);
  await page.keyboard.press("Escape");
  await page.keyboard.press("Space");
  await page.locator("#chosen-why", { hasText: why }).waitFor();
  await refuses(page.getByRole("button", { name: "Set count…" }), "a batch");
  await refuses(page.getByRole("button", { name: "Undo…" }), "an undo");
  same(await violations(page), [], "what axe finds");
  await page.keyboard.press("b");
  await page.keyboard.press("u");
  await page.waitForTimeout(300);
  same(await page.locator("dialog[open]").count(), 0, "dialogs");
  same(await step("count", "web", "shop"), 3, "the count");
});
