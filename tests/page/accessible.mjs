// Axe finds nothing in any view, in dark, in light, on a phone and at 200 %; nothing scrolls sideways there; and nothing moves for those
// who want no motion.

import { expect, open, run, same, step, until, violations } from "./browser.mjs";

// Names that Kubernetes lets be as long.
const NAMESPACE = "the-settlements-and-payments-of-the-whole-of-the-north-region-1";
const NAME = `zz-${"a-name-that-a-generator-made.".repeat(3)}end`;

expect(/status of 404/);
run(async () => {
  await step("create", NAMESPACE, NAME, 3);
  for (const [name, options] of [
    ["light", {}],
    ["dark", { dark: true }],
    ["phone", { width: 360, height: 740 }],
    ["dark phone", { width: 320, height: 640, dark: true }],
    ["200 %", { width: 640, height: 400, view: { deviceScaleFactor: 2, reducedMotion: "reduce" } }],
  ]) {
    const page = await open(options);
    const clean = async (view) => {
      // What is under way settles first: half a fade has no contrast of its own.
      await page.waitForTimeout(150);
      same(await violations(page), [], `${name}, ${view}: what axe finds`);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      same(wide <= 0, true, `${name}, ${view}: it fits its width (${wide})`);
      const sideways = await page.$$eval("dialog, dialog .content, .details, .view .scroll, #chosen", (all) => all.filter((one) => one.scrollWidth > one.clientWidth).map((one) => `${one.tagName}.${one.className}`));
      same(sideways, [], `${name}, ${view}: what scrolls sideways`);
      if (!options.view?.reducedMotion) return;
      const moving = await page.$$eval("*", (all) => all.filter((one) => getComputedStyle(one).transitionDuration !== "0s" || one.getAnimations().length).map((one) => one.outerHTML.slice(0, 80)));
      same(moving, [], `${name}, ${view}: what moves`);
    };
    await until("rows", async () => (await page.locator("#grid .body .row").count()) >= 4);
    await clean("the table");
    await page.locator(".row .choose input").nth(1).click();
    await clean("a selection");
    await page.getByRole("button", { name: "Select none" }).click();
    await page.locator("#search").fill("generator");
    await page.locator("#grid .body .row[aria-rowindex='2']", { hasText: NAME }).click();
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
