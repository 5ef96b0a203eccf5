// The certificate is denied while the page is open.

import { expect, open, row, run, same, step, until } from "./browser.mjs";

expect(/Failed to load resource/, /ERR_/);
run(async () => {
  const page = await open();
  same(await step("deny"), true, "the certificate is denied");
  await until("the words for it", async () => !(await page.locator("#trouble").isHidden()) && /certificate/.test(await page.locator("#trouble").innerText()), 40_000);
  same((await row(page, "web/shop")).desired, 3, "what was known stays there");
  await page.locator("#grid .row", { hasText: "shop" }).click();
  await until("that nothing can be read", async () => page.locator(".details .wrong").isVisible());
});
