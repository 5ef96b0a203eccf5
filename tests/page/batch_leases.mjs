// A batch over leased Deployments: the check, the confirmation and the result say what becomes of each lease, of whoever was faster
// and of what was refused; and so does the way back.

import { expect, open, rows, run, same, step, until } from "./browser.mjs";

expect(/status of 404/);
run(async () => {
  const page = await open();
  const dialog = page.locator("dialog[open]");
  const text = async () => (await dialog.innerText()).replaceAll(/\s+/g, " ");
  const says = (words) => until(words, async () => (await text()).includes(words));
  const button = (name) => dialog.getByRole("button", { name, exact: true });
  const choose = async (...names) => {
    for (const name of names) await page.locator("#grid .body .row:not([hidden])", { hasText: name }).locator(".choose").click();
    await page.getByRole("button", { name: "Set count…" }).click();
  };
  const check = async (count, time = "") => {
    await page.getByLabel("New count of each").fill(count);
    await page.getByLabel("For how long").fill(time);
    await button("Check").click();
  };
  const line = async (name) => (await dialog.locator("tr", { hasText: name }).innerText()).replaceAll(/\s+/g, " ");
  await until("rows", async () => (await rows(page)).length === 4);
  await step("an autoscaler", "batch", "worker");
  same(await step("another caller leases", "web", "shop", 7), 200, "a lease");
  await choose("shop", "cart", "worker");

  // What others do between the check and the confirmation is marked, and told of; a lease that began then is told of in the result.
  await check("1.5", "1h");
  await says("The count is a whole number");
  await check("6", "1d");
  await says("The time is written 30m, 2h, 1h30m or 1.5h");
  await check("6", "1.5h");
  await says("web/shop 7 → 6");
  await says("renews ci-pipeline's lease, then 3");
  same(await dialog.locator(".news").getAttribute("aria-live"), "polite", "how news are told");
  same(await step("another caller leases", "web", "cart", 9), 200, "another lease");
  await says("Changed since the check: web/cart, now 9, by ci-pipeline, leased by ci-pipeline until");
  await until("the mark", async () => (await line("web/cart")).includes("now 9, by ci-pipeline"));
  await step("kubectl scales", "batch", "worker", 4);
  await until("another mark", async () => /worker.*now 4/.test(await line("worker")));
  await step("kubectl scales", "batch", "worker", 5);
  await until("no mark", async () => !/now/.test(await line("worker")));
  await button("Set 3 to 6").click();
  await says("3 done");
  await says("renewed ci-pipeline's lease, then 3");
  const cart = await line("web/cart");
  for (const words of ["9 → 6 until", "renewed ci-pipeline's lease, then 2: it began after the check", "it was 2 at the check"]) same(cart.includes(words), true, `${cart}: ${words}`);
  await button("Close").last().click();
  await page.getByRole("button", { name: "Select none" }).click();

  // One that goes back to the very count ends as it would have; what is refused isn't forgotten.
  same(await step("another caller ends the lease", "web", "shop", "?keep=true"), 200, "its end");
  await until("no lease", async () => !(await rows(page)).find((one) => one.name === "web/shop").badges.includes("lease"));
  same(await step("another caller scales", "web", "shop", 10000), 200, "a count");
  await until("the row", async () => (await rows(page)).find((one) => one.name === "web/shop").desired === 10000);
  await step("delete", "batch", "reports");
  await until("its end", async () => (await rows(page)).length === 3);
  await choose("shop", "cart", "worker");
  await step("delete", "batch", "worker");
  await check("2");
  await says("2 of 3 to 2");
  await says("ends alice's lease");
  same((await text()).includes("does not go back to 2"), false, "it is what it would go back to");
  await button("Set 2 to 2").click();
  await says("2 done, 1 left out.");
  same(/left out, as the check refused it/.test(await line("batch/worker")), true, "what was left out");
  same(/6 → 2; ended alice's lease$/.test(await line("web/cart")), true, await line("web/cart"));

  // Brought back by hand: nothing is left to undo, and nothing is offered.
  same(await step("another caller scales", "web", "shop", 10000), 200, "a count");
  same(await step("another caller leases", "web", "cart", 5), 200, "a lease");
  await button("Undo…").click();
  await says("Nothing is left to bring back.");
  same(await dialog.getByRole("button", { name: /^Bring back/ }).count(), 0, "what is offered");
  await button("Close").last().click();

  // An ending is told once. The one that was deleted is gone from the table: no row takes another's place while it is clicked.
  await page.getByRole("button", { name: "Select none" }).click();
  await until("the rows that are left", async () => (await rows(page)).length === 2);
  await choose("cart");
  await check("3");
  await says("5 → 3; ends ci-pipeline's lease, does not go back to 2");
  same((await text()).includes("which would have brought"), false, "it is said once");
});
