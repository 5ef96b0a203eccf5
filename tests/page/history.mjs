// Ready counts as they move, and the latest changes: who made them, live.

import { open, row, run, step, until } from "./browser.mjs";

run(async () => {
  const page = await open();
  await until("ready counts", async () => (await row(page, "web/shop"))?.ready === "3");
  await step("rollouts take", null);
  await step("ready", "web", "shop", 1);
  await until("one that lacks Pods", async () => (await row(page, "web/shop")).ready === "1");
  await page.locator("[data-filter=unready]").click();
  await until("not ready alone", async () => (await page.locator("#size").innerText()) === "1 of 4");
  await step("ready", "web", "shop", 3);
  await until("ready again", async () => (await page.locator("#size").innerText()) === "0 of 4");
  await page.locator("[data-filter=unready]").click();

  await page.keyboard.press("3");
  await step("another caller scales", "web", "cart", 5);
  const table = page.locator("section.view:not([hidden]) tbody");
  await until("a change", async () => /web\/cart\s+2 → 5.*ci-pipeline/s.test(await table.innerText()));
  await step("kubectl scales", "batch", "worker", 1);
  await until("the newest first", async () => /batch\/worker\s+5 → 1/.test(await table.locator("tr").first().innerText()));
  await page.getByLabel("Search the changes").fill("ci-pipe");
  await until("what is searched", async () => (await table.locator("tr").count()) === 1);
  await table.getByRole("button", { name: "web/cart" }).click();
  await until("the panel's changes", async () => /2 → 5.*ci-pipeline/s.test(await page.locator(".details .changes").innerText()));
  await page.keyboard.press("Escape");
  await page.keyboard.press("1");
  await until("its count and who set it, in the table", async () => {
    const { by, desired } = await row(page, "web/cart");
    return by.startsWith("ci-pipeline") && desired === 5;
  });
});
