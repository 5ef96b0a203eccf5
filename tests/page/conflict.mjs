// Somebody else changes the count between the look and the write.

import { expect, holdNews, open, run, same, step, until } from "./browser.mjs";

// What is deleted and made again may be asked for in between.
expect(/status of 412/, /404 .*\/web\/deployments\/cart(\/replicas)?$/);
run(async () => {
  const page = await open();
  const dialog = page.locator("dialog[open]");
  const says = (words) => until(words, async () => (await dialog.innerText()).includes(words));
  await page.locator("#grid .row", { hasText: "cart" }).click();
  await page.getByRole("button", { name: "Change count…" }).click();
  await says("Now 2");
  await page.getByLabel("New count").fill("4");
  await page.getByRole("button", { name: "Check" }).click();
  await says("2 → 4");
  // The news comes too late.
  await holdNews(page, "/cart");
  same(await step("another caller scales", "web", "cart", 7), 200, "the other's write");
  await page.getByRole("button", { name: "Set to 4" }).click();
  await says("ci-pipeline was faster: it is 7 now");
  same(await step("count", "web", "cart"), 7, "the count");
  await page.getByRole("button", { name: "Go on from there" }).click();
  await says("Now 7");
  same(await page.getByLabel("New count").inputValue(), "4", "what was wished");
  await page.getByRole("button", { name: "Check" }).click();
  await says("7 → 4");
  await page.getByRole("button", { name: "Set to 4" }).click();
  await until("the count", async () => (await step("count", "web", "cart")) === 4);

  // One that was deleted and made again is another Deployment, also with the same count.
  await page.reload();
  await page.locator("#connection[data-state=live]").waitFor();
  await page.locator("#grid").focus();
  await page.locator("#grid .row:not([hidden])", { hasText: "cart" }).click();
  await page.getByRole("button", { name: "Change count…" }).click();
  await says("Now 4");
  await page.getByLabel("New count").fill("5");
  await page.getByRole("button", { name: "Check" }).click();
  await says("4 → 5");
  await holdNews(page, "/cart");
  await step("delete", "web", "cart");
  await step("create", "web", "cart", 4);
  await page.getByRole("button", { name: "Set to 5" }).click();
  await says("It was deleted and created anew since you looked: it is another Deployment, with 4. Nothing was changed.");
  same(await step("count", "web", "cart"), 4, "its count");
});
