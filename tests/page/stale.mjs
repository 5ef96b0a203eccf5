// The server is there, and the cluster behind it isn't.

import { expect, open, row, run, same, step, until } from "./browser.mjs";

expect(/status of 503/, /status of 504/);
run(async () => {
  const page = await open();
  await step("the cluster is away");
  await until("that it may be old", async () => (await page.locator("#connection").getAttribute("data-state")) === "stale");
  await until("why", async () => (await page.locator("#trouble").innerText()).startsWith("What stands here may be old"));
  same((await row(page, "web/shop")).desired, 3, "what is known");
  await step("the cluster is back");
  await page.locator("#connection[data-state=live]").waitFor();
  await until("nothing is wrong", async () => page.locator("#trouble").isHidden());
});
