// A count for a time: taken, seen, extended, ended.

import { announced, expect, holdNews, open, row, run, same, step, until } from "./browser.mjs";

run(async () => {
  const page = await open();
  const dialog = page.locator("dialog[open]");
  const says = (words) => until(words, async () => (await dialog.innerText()).includes(words));
  await page.locator("#grid .row", { hasText: "shop" }).click();
  await page.getByRole("button", { name: "Change count…" }).click();
  await page.getByLabel("New count").fill("10");
  await page.getByLabel("For how long").fill("soon");
  await page.getByRole("button", { name: "Check" }).click();
  await says("The time is written");
  await page.getByLabel("For how long").fill("2h");
  await page.getByLabel("Reason").fill("<b>a sale</b>");
  await page.getByRole("button", { name: "Check" }).click();
  await says("for 2h");
  await page.getByRole("button", { name: "Set to 10" }).click();
  await until("the count", async () => (await step("count", "web", "shop")) === 10);
  await until("the dialog's end", async () => (await dialog.innerText()).includes("until"));
  await page.keyboard.press("Escape");
  await until("the lease in the panel", async () => (await page.locator(".details .leased").innerText()).includes("Leased by alice: 10 until"));
  await until("the badge", async () => (await row(page, "web/shop")).badges.includes("lease"));
  await page.locator("[data-filter=leased]").click();
  await until("leased alone", async () => (await page.locator("#size").innerText()) === "1 of 4");
  await page.locator("[data-filter=leased]").click();

  // The count that is there ends a lease, and another time renews it.
  await page.getByRole("button", { name: "Change count…" }).click();
  await page.getByLabel("New count").fill("10");
  await page.getByRole("button", { name: "Check" }).click();
  await says("This ends alice's lease: 10 stays and does not go back to 3.");
  await page.getByRole("button", { name: "Back" }).click();
  await page.getByLabel("For how long").fill("2h");
  await page.getByRole("button", { name: "Check" }).click();
  await says("This renews alice's lease, from now on. When its time is over the count goes back to 3.");
  await dialog.getByRole("button", { name: "Close" }).click();
  await page.keyboard.press("Escape");

  await page.keyboard.press("2");
  const table = page.locator("section.view:not([hidden]) tbody");
  await until("the list", async () => /web\/shop\s+10, then 3\s+1h 5\dm\s+alice\s+<b>a sale<\/b>/.test((await table.innerText()).replaceAll(/\s+/g, " ")));
  // The table is read anew while a button is held down: that is a click all the same.
  const again = () => page.waitForResponse((response) => response.url().endsWith("/leases"));
  await page.getByRole("button", { name: "Extend the lease of web/shop" }).hover();
  await page.mouse.down();
  for (let at = 0; at < 2; at++) await again();
  await page.mouse.up();
  await page.getByLabel("For how long from now").fill("5h");
  await page.getByRole("button", { name: "Extend", exact: true }).click();
  await until("a longer one", async () => /4h 5\dm|5h/.test(await table.innerText()));
  await page.getByRole("button", { name: "End the lease of web/shop", exact: true }).click();
  await page.getByRole("button", { name: "Back to 3" }).click();
  await announced(page, "The lease of web/shop has ended: the count is 3 again");
  await until("what was", async () => (await step("count", "web", "shop")) === 3);
  await until("no lease", async () => (await table.innerText()).includes("No leases."));
  await until("the row", async () => (await row(page, "web/shop")).desired === 3);

  // Somebody else's count is left as it was, whatever was asked for by whoever hasn't heard of it.
  await page.keyboard.press("1");
  await page.locator("#grid .row", { hasText: "cart" }).click();
  await page.getByRole("button", { name: "Change count…" }).click();
  await page.getByLabel("New count").fill("6");
  await page.getByLabel("For how long").fill("2h");
  await page.getByRole("button", { name: "Check" }).click();
  await page.getByRole("button", { name: "Set to 6" }).click();
  await until("the other count", async () => (await step("count", "web", "cart")) === 6);
  await until("its dialog's end", async () => (await dialog.innerText()).includes("until"));
  await page.keyboard.press("Escape");
  await page.locator(".details").getByRole("button", { name: "End…", exact: true }).click();
  await page.getByRole("button", { name: "Back to 2" }).waitFor();
  await holdNews(page, "/cart");
  await step("kubectl scales", "web", "cart", 8);
  // The server may have ended the lease by then: it looks for such ones twice a second.
  expect(/404 .*\/deployments\/cart\/lease$/);
  await page.getByRole("button", { name: "Back to 2" }).click();
  const said = async () => `${await page.evaluate(() => window.announced.join())} ${(await dialog.allInnerTexts()).join()}`;
  await until("what became of it", async () => /left as it was, 8\b|nothing to extend or to end any more\. Nothing was done\./.test(await said()));
  same(await step("count", "web", "cart"), 8, "the count that somebody else has set");

  // What came of it names the holder as it is, where that is told.
  if (await dialog.count()) await page.keyboard.press("Escape");
  await page.evaluate(() => {
    const real = window.fetch;
    window.fetch = async (...asked) => {
      const answer = await real(...asked);
      const json = answer.json.bind(answer);
      answer.json = async () => {
        const body = await json();
        if (body.leaseBefore) body.leaseBefore.holder = window.holder;
        return body;
      };
      return answer;
    };
  });
  for (const [holder, whose] of [["theo", "theo's lease"], ["", "the lease"]]) {
    await page.evaluate((name) => (window.holder = name), holder);
    await step("another caller scales", "web", "cart", 8);
    same(await step("another caller leases", "web", "cart", 9), 200, "a lease of somebody else's");
    await until("its count", async () => (await row(page, "web/cart")).desired === 9);
    await page.locator("#grid .row", { hasText: "cart" }).click();
    await page.getByRole("button", { name: "Change count…" }).click();
    await page.getByLabel("New count").fill("5");
    await page.getByRole("button", { name: "Check" }).click();
    await says(`This ends ${whose}: 5 stays and does not go back to 8.`);
    await page.getByRole("button", { name: "Set to 5" }).click();
    await says(`${holder ? whose : "The lease"} has ended: the count does not go back to 8.`);
    await page.keyboard.press("Escape");
  }
});
