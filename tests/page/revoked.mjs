// The certificate is denied while the page is open, and let in again later.

import { check, expect, open, row, run, same, step, until, violations } from "./browser.mjs";

expect(/Failed to load resource/, /ERR_/);
run(async () => {
  const page = await open();
  const trouble = () => page.locator("#trouble").innerText();
  same(await step("deny"), true, "the certificate is denied");
  await until("the words for it", async () => /certificate/.test(await trouble()));
  same((await row(page, "web/shop")).desired, 3, "what was known stays there");
  await page.locator("#grid .row", { hasText: "shop" }).click();
  await until("that nothing can be read", async () => page.locator(".details .wrong").isVisible());
  const retry = page.getByRole("button", { name: "Try now" });
  await retry.waitFor();
  same(await violations(page), [], "what axe finds");

  // A page that never heard why: all it sees is connections that fail.
  await page.evaluate(() => {
    const real = window.fetch;
    window.tried = 0;
    window.fetch = (...asked) => ((window.tried += asked[0].includes("/deployments?")), real(...asked));
  });
  await until("it is tried now", async () => (await retry.click(), (await page.evaluate(() => window.tried)) > 0));
  same(await step("let in"), null, "the certificate is let in");
  await until("it comes back", async () => {
    if (await retry.isVisible()) await retry.click({ timeout: 1000 }).catch(() => {});
    return (await page.locator("#connection").getAttribute("data-state")) === "live";
  });
  check(await page.locator("#trouble").isHidden(), "nothing is wrong any more");
});
