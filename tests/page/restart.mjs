// The server is killed, comes back, and is killed again while a write is under way.

import { check, expect, open, row, run, same, step, until } from "./browser.mjs";

expect(/Failed to load resource/, /ERR_/);
run(async () => {
  const page = await open();
  const state = (name) => page.locator(`#connection[data-state=${name}]`).waitFor();
  await step("kill");
  await state("reconnecting");
  same((await row(page, "web/cart")).desired, 2, "what stands there still");
  await until("that it may be old", async () => (await page.locator("#trouble").innerText()).includes("may be old"));
  check((await page.locator("#connection").innerText()).includes("since"), "since when");
  await step("kubectl scales");
  await step("start");
  await state("live");
  await until("what happened meanwhile", async () => (await row(page, "web/cart")).desired === 8);
  check(await page.locator("#trouble").isHidden(), "nothing is wrong any more");

  const dialog = page.locator("dialog[open]");
  const says = (words) => until(words, async () => (await dialog.innerText()).includes(words));
  await page.locator("#grid .row", { hasText: "shop" }).click();
  await page.getByRole("button", { name: "Change count…" }).click();
  await page.getByLabel("New count").fill("5");
  await page.getByRole("button", { name: "Check" }).click();
  await says("3 → 5");
  await step("writes hang");
  await page.getByRole("button", { name: "Set to 5" }).click();
  await until("the cluster has it", async () => (await step("count", "web", "shop")) === 5);
  await step("kill");
  await says("It isn't known whether the count was set.");
  await step("nothing hangs");
  await step("start");
  await state("live");
  const again = dialog.getByRole("button", { name: "Look again" });
  await again.waitFor();
  await again.click();
  await says("Now 5 · set by alice");
});
