// Axe finds nothing in any view, in dark, in light, on a phone and at 200 %; nothing scrolls sideways there; and nothing moves for those
// who want no motion.

import { check, expect, open, run, same, step, until, violations } from "./browser.mjs";

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

  // 1280 × 1024 at 400 %: the page scrolls, and some rows can be seen, with nothing over them.
  for (const height of [256, 400]) {
    const page = await open({ width: 320, height });
    const grid = page.locator("#grid");
    await until("rows", async () => (await page.locator("#grid .body .row").count()) >= 4);
    check((await grid.boundingBox()).height >= 180, `at ${height}: the table's height is ${(await grid.boundingBox()).height}`);
    const last = page.locator("#grid .body .row[aria-rowindex='5']");
    await last.locator(".choose input").click();
    await page.locator("#chosen", { hasText: "1 selected" }).waitFor();
    await grid.evaluate((one) => one.scrollIntoView({ block: "end" }));
    const seen = await last.evaluate((one) => {
      const { left, top, width, height } = one.getBoundingClientRect();
      return one.contains(document.elementFromPoint(left + width / 2, top + height / 2));
    });
    check(seen, `at ${height}: the row that was selected can be seen`);
    await page.getByRole("button", { name: "Set count…" }).click();
    await page.locator("dialog[open]").waitFor();
    await page.keyboard.press("Escape");
    same(await violations(page), [], `at ${height}: what axe finds`);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    check(wide <= 0, `at ${height}: it fits its width`);
    for (const id of ["Leases", "History"]) {
      await page.getByRole("button", { name: id, exact: true }).click();
      check((await page.locator("section.view:not([hidden]) .scroll").boundingBox()).height >= 180, `at ${height}: ${id}`);
    }
    await page.context().close();
  }
});
