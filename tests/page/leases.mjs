// A count for a time: taken, seen, extended, ended.

import { expect, open, row, run, same, step, until } from "./browser.mjs";

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
  await page.getByRole("button", { name: "Extend the lease of web/shop" }).click();
  await page.getByLabel("For how long from now").fill("5h");
  await page.getByRole("button", { name: "Extend", exact: true }).click();
  await until("a longer one", async () => /4h 5\dm|5h/.test(await table.innerText()));
  await page.getByRole("button", { name: "End the lease of web/shop", exact: true }).click();
  await page.getByRole("button", { name: "Back to 3" }).click();
  await page.locator("#status", { hasText: "The lease of web/shop has ended: the count is 3 again" }).waitFor();
  await until("what was", async () => (await step("count", "web", "shop")) === 3);
  await until("no lease", async () => (await table.innerText()).includes("No leases."));
  same((await row(page, "web/shop")).desired, 3, "the row");

  // Somebody else's count is left as it was, whatever was asked for.
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
  // The server may know already that there is no lease to end any more.
  expect(/404 .*\/deployments\/cart\/lease$/);
  await step("kubectl scales", "web", "cart", 8);
  // The dialog may have heard of it by now, and offers the button no more.
  await page.getByRole("button", { name: "Back to 2" }).click({ force: true, timeout: 2000 }).catch(() => {});
  const said = async () => `${(await page.locator(".notes").allInnerTexts()).join()} ${(await dialog.allInnerTexts()).join()}`;
  await until("what became of it", async () => /left as it was, 8|somebody else|nothing to extend or to end|→ 8.*lease has ended/s.test(await said()));
  same(await step("count", "web", "cart"), 8, "the count that somebody else has set");
});
