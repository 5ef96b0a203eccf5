// Axe finds nothing in any view, in dark, in light and on a phone; and a phone scrolls in one direction only.

import { open, run, same, until, violations } from "./browser.mjs";

run(async () => {
  for (const [name, options] of [
    ["light", {}],
    ["dark", { dark: true }],
    ["phone", { width: 360, height: 740 }],
    ["dark phone", { width: 320, height: 640, dark: true }],
  ]) {
    const page = await open(options);
    const clean = async (view) => {
      // What is under way settles first: half a fade has no contrast of its own.
      await page.waitForTimeout(150);
      same(await violations(page), [], `${name}, ${view}: what axe finds`);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      same(wide <= 0, true, `${name}, ${view}: it fits its width (${wide})`);
    };
    await until("rows", async () => (await page.locator("#grid .body .row").count()) >= 4);
    await clean("the table");
    await page.locator(".row .choose input").nth(1).click();
    await clean("a selection");
    await page.getByRole("button", { name: "Select none" }).click();
    await page.locator("#grid .body .row", { hasText: "shop" }).click();
    await page.locator(".details .primary").waitFor();
    await clean("the details");
    await page.getByRole("button", { name: "Change count…" }).click();
    await page.getByLabel("New count").fill("0");
    await clean("the change");
    await page.getByRole("button", { name: "Check" }).click();
    await page.getByRole("button", { name: "Set to 0" }).waitFor();
    await clean("the confirmation");
    await page.keyboard.press("Escape");
    await page.getByRole("button", { name: "Close the details" }).click();
    for (const view of ["Leases", "History"]) {
      await page.getByRole("button", { name: view, exact: true }).click();
      await clean(view);
    }
    await page.keyboard.press("?");
    await clean("the keys");
    await page.context().close();
  }
});
