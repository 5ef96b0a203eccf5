// Somebody who may list and get, and neither watch nor scale: nothing is offered that the server would refuse.

import { announced, check, expect, open, row, run, same, step, until, violations } from "./browser.mjs";

expect(/status of 403/);
run(async () => {
  const page = await open();
  await until("the rows", async () => (await row(page, "web/shop"))?.desired === 3);
  await until("that it is read again and again", async () => (await page.locator("#connection").innerText()).includes("every 5 s"));
  await step("kubectl scales", "web", "shop", 4);
  await until("the new count", async () => (await row(page, "web/shop")).desired === 4);
  await until("that nothing may be set, beside the name", async () => (await page.locator("#who").innerText()).includes("may only look"));
  const why = 'alice lacks the permission "scale"';
  const dialogs = () => page.locator("dialog[open]").count();
  // It can be reached and read, and does nothing but say why.
  const refuses = async (button, what) => {
    same(await button.getAttribute("aria-disabled"), "true", `${what} is offered`);
    const told = await button.evaluate((one) => document.getElementById(one.getAttribute("aria-describedby"))?.textContent ?? one.title);
    check(told.startsWith(why), what, "says why:", told);
    await page.evaluate(() => (window.announced.length = 0));
    await button.focus();
    check(await button.evaluate((one) => one === document.activeElement), what, "can be reached");
    await page.keyboard.press("Enter");
    await announced(page, why);
    same(await dialogs(), 0, `dialogs after ${what}`);
  };
  const clean = async (view) => same(await violations(page), [], `${view}: what axe finds`);

  await page.locator("#grid .row", { hasText: "shop" }).click();
  await page.locator(".details #why-not", { hasText: why }).waitFor();
  await refuses(page.getByRole("button", { name: "Change count…" }), "a change");
  await clean("the details");
  await page.keyboard.press("Escape");
  await page.locator("#grid").focus();
  await page.keyboard.press("c");
  await page.waitForTimeout(300);
  same(await dialogs(), 0, "dialogs after c");
  await page.keyboard.press("Space");
  await page.locator("#chosen-why", { hasText: why }).waitFor();
  await refuses(page.getByRole("button", { name: "Set count…" }), "a batch");
  await clean("a selection");
  await page.keyboard.press("b");
  await page.keyboard.press("u");
  await page.waitForTimeout(300);
  same(await dialogs(), 0, "dialogs after b and u");
  await refuses(page.getByRole("button", { name: "Undo…" }), "an undo");
  same(await step("count", "web", "shop"), 4, "the count");
});
