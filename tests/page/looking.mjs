// Somebody who may list and get, and neither watch nor scale.

import { expect, open, row, run, same, step, until } from "./browser.mjs";

expect(/status of 403/);
run(async () => {
  const page = await open();
  await until("the rows", async () => (await row(page, "web/shop"))?.desired === 3);
  await until("that it is read again and again", async () => (await page.locator("#connection").innerText()).includes("every 5 s"));
  await step("kubectl scales", "web", "shop", 4);
  await until("the new count", async () => (await row(page, "web/shop")).desired === 4);
  await page.locator("#grid .row", { hasText: "shop" }).click();
  await until("the bounds", async () => (await page.locator(".details").innerText()).includes("you may not set it"));
  await page.getByRole("button", { name: "Change count…" }).click();
  await until("the same in the dialog", async () => (await page.locator("dialog").innerText()).includes("You may not set this count."));
  await page.getByLabel("New count").fill("9");
  await page.getByRole("button", { name: "Check" }).click();
  await until("the server's words", async () => (await page.locator("dialog .wrong").innerText()).includes("scale"));
  same(await step("count", "web", "shop"), 4, "the count");
});
