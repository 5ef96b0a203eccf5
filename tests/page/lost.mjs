// The server takes the certificate no longer after it was away: no words come of it, only connections that fail.

import { check, expect, open, row, run, same, step, until, violations } from "./browser.mjs";

expect(/Failed to load resource/, /ERR_/);
run(async () => {
  const page = await open();
  const trouble = () => page.locator("#trouble").innerText();
  const state = () => page.locator("#connection").getAttribute("data-state");
  await page.evaluate(() => {
    const real = window.fetch;
    window.asked = [];
    window.fetch = (...asked) => (window.asked.push([performance.now(), asked[0]]), real(...asked));
  });
  await step("kill");
  await until("out of reach", async () => (await state()) === "lost");
  const words = await trouble();
  for (const told of ["can't be reached", "no longer takes your certificate", "yours is valid until", "may be old", "restart it"]) check(words.includes(told), "it says", told, words);
  check((await page.locator("#connection").innerText()).includes("Out of reach, since"), "since when");
  same((await row(page, "web/shop")).desired, 3, "what was known stays there");
  same(await violations(page), [], "what axe finds");

  // It is left in peace: the stream alone tries, ever more rarely.
  await page.evaluate(() => (window.asked.length = 0));
  await page.waitForTimeout(12_000);
  const asked = await page.evaluate(() => window.asked);
  check(asked.length <= 3 && asked.every(([, path]) => path.includes("/deployments?")), "few attempts:", asked);

  // Nor is a read tried again whose first attempt somebody made.
  const tries = await page.evaluate(async () => {
    const { read } = await import("/page/api.js");
    const before = window.asked.length;
    await read("/whoami").catch(() => {});
    return window.asked.slice(before).filter(([, path]) => path.endsWith("/whoami")).length;
  });
  same(tries, 1, "attempts of a read while the server is out of reach");

  const retry = page.getByRole("button", { name: "Try now" });
  await step("start and deny");
  await retry.focus();
  await page.keyboard.press("Enter");
  await until("an attempt", async () => (await page.evaluate(() => window.asked.length)) > asked.length);
  await until("it is out of reach still", async () => (await state()) === "lost" && (await trouble()) === words);
  await step("kill");
  await step("start");
  await retry.focus();
  await page.keyboard.press("Enter");
  await until("it comes back", async () => (await state()) === "live");
  check(await page.locator("#trouble").isHidden(), "nothing is wrong any more");
  check(await page.evaluate(() => document.activeElement !== document.body), "the focus is somewhere");
});
