// Somebody else changes the Deployment of an open dialog: the dialog says so at once, and whoever types in it isn't disturbed.

import { announced, check, expect, open, row, run, same, step, until, violations } from "./browser.mjs";

expect(/status of 404/, /status of 412/);
run(async () => {
  const page = await open();
  const dialog = page.locator("dialog[open]");
  const news = dialog.locator(".news");
  const says = (words) => until(words, async () => (await news.innerText()).includes(words));
  const present = (words) => until(words, async () => (await dialog.locator(".present").innerText()).includes(words));
  const button = (name) => dialog.getByRole("button", { name, exact: true });
  await page.locator("#grid .row", { hasText: "shop" }).click();
  await page.getByRole("button", { name: "Change count…" }).click();
  await present("Now 3");
  same(await news.getAttribute("aria-live"), "polite", "how news are told");

  // Nothing was typed: what is there is what stands in the field, and what is typed next replaces it.
  await step("another caller scales", "web", "shop", 5);
  await present("Now 5 · set by ci-pipeline");
  await says("Changed meanwhile: 3 → 5, set by ci-pipeline.");
  same(await page.getByLabel("New count").inputValue(), "5", "the new count");
  await page.keyboard.type("8");
  same(await page.getByLabel("New count").inputValue(), "8", "what was typed");
  await page.getByLabel("Reason").fill("a sale");
  await step("kubectl scales", "web", "shop", 6);
  await says("Changed meanwhile: 5 → 6");
  same(await page.getByLabel("New count").inputValue(), "8", "what was typed stays");
  check(await page.evaluate(() => document.activeElement.matches("dialog input") && document.activeElement.value === "a sale"), "the focus stays");
  same(await violations(page), [], "what axe finds");

  // The count that was told of is the one that it is checked against; a confirmation holds for that alone.
  await button("Check").click();
  await until("the confirmation", async () => (await dialog.innerText()).includes("6 → 8"));
  await step("another caller scales", "web", "shop", 7);
  await says("Changed meanwhile: 6 → 7, set by ci-pipeline. Go back and check anew.");
  same(await button("Set to 8").getAttribute("aria-disabled"), "true", "it can't be confirmed any more");
  check(await button("Set to 8").evaluate((one) => one === document.activeElement), "the focus stays");
  await page.keyboard.press("Enter");
  await page.waitForTimeout(300);
  same(await step("count", "web", "shop"), 7, "nothing was set");
  await button("Back").click();
  await present("Now 7");
  same(await page.getByLabel("Reason").inputValue(), "a sale", "what was typed is there still");

  // A lease that begins, is renewed, and is ended by hand.
  same(await step("another caller leases", "web", "shop", 10), 200, "a lease");
  await says("Leased by ci-pipeline meanwhile: 10 until");
  await until("the lease", async () => (await dialog.locator(".warning").innerText()).includes("Leased by ci-pipeline until"));
  await button("Check").click();
  await until("that it ends the lease", async () => (await dialog.innerText()).includes("This ends ci-pipeline's lease"));
  same(await step("another caller ends the lease", "web", "shop", "?keep=true"), 200, "the lease's end");
  await says("ci-pipeline's lease has ended. Go back and check anew.");
  await button("Back").click();
  await present("Now 10");
  same(await dialog.locator(".warning").count(), 0, "warnings");

  // A Deployment that goes, and comes again.
  await step("delete", "web", "shop");
  await says("It has been deleted");
  same(await button("Check").getAttribute("aria-disabled"), "true", "nothing is to be checked");
  await step("create", "web", "shop", 2);
  await says("There is one of that name again, with 2.");
  await button("Check").click();
  await until("the confirmation", async () => (await dialog.innerText()).includes("2 → 8"));
  await button("Set to 8").click();
  await until("the count", async () => (await step("count", "web", "shop")) === 8);
  await button("Close").last().click();

  // The dialogs of a lease follow too: what has ended can't be ended or extended any more.
  await page.keyboard.press("2");
  for (const [action, offered, other] of [["End", ["Keep 7", "Back to 8"], 9], ["Extend", ["Extend"], 10]]) {
    same(await step("another caller leases", "web", "shop", 6), 200, "a lease");
    await page.getByRole("button", { name: `${action} the lease of web/shop`, exact: true }).click();
    await news.waitFor({ state: "attached" });
    same(await step("another caller leases", "web", "shop", 7), 200, "a renewal");
    await says("ci-pipeline renewed the lease: 7 until");
    for (const name of offered) same(await button(name).getAttribute("aria-disabled"), null, name);
    await until("its count", async () => (await dialog.locator("form p, .content > p").first().innerText()).startsWith("7 replicas"));
    same(await step("another caller scales", "web", "shop", other), 200, "another count");
    // In one sentence with the count, or behind it: the lease may end a moment later.
    await says("ci-pipeline's lease has ended.");
    for (const name of offered) same(await button(name).getAttribute("aria-disabled"), "true", name);
    await button(offered[0]).click({ force: true });
    await announced(page, "there is nothing to extend or to end any more");
    await page.evaluate(() => (window.announced.length = 0));
    same(await violations(page), [], "what axe finds");
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "detached" });
    same(await step("count", "web", "shop"), other, "its count");
  }

  // Who ended another's lease is who brought the count back.
  await page.keyboard.press("3");
  await page.locator("#grid").waitFor({ state: "hidden" });
  const table = page.locator("section.view:not([hidden]) tbody");
  same(await step("another caller leases", "web", "cart", 4), 200, "a lease");
  await page.keyboard.press("2");
  await page.getByRole("button", { name: "End the lease of web/cart", exact: true }).click();
  await button("Back to 2").waitFor();
  same(await step("another caller leases", "web", "cart", 6), 200, "a renewal");
  await says("ci-pipeline renewed the lease: 6 until");
  await button("Back to 2").click();
  await until("what was", async () => (await step("count", "web", "cart")) === 2);
  await dialog.waitFor({ state: "detached" });
  await page.keyboard.press("3");
  await until("who ended it", async () => /web\/cart\s+6 → 2.*alice \(ended the lease\)/s.test(await table.locator("tr").first().innerText()));
  await until("its count", async () => (await row(page, "web/cart")).desired === 2);

  // What became of the lease and what became of the count are both there, though one came behind the other.
  same(await step("another caller leases", "web", "cart", 4), 200, "a lease");
  await page.keyboard.press("2");
  await page.getByRole("button", { name: "End the lease of web/cart", exact: true }).click();
  await button("Back to 2").waitFor();
  same(await step("another caller ends the lease", "web", "cart", "?keep=true"), 200, "the lease's end");
  await says("ci-pipeline's lease has ended.");
  same(await step("another caller scales", "web", "cart", 9), 200, "another count");
  await says("Changed meanwhile: 4 → 9, set by ci-pipeline. ci-pipeline's lease has ended.");
});
