// No mouse: rows are found, looked at, changed and left by keys, and the focus is never lost.

import { announced, check, open, run, same, step, until } from "./browser.mjs";

run(async () => {
  const page = await open();
  const key = (name) => page.keyboard.press(name);
  const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.textContent || document.activeElement.tagName);
  const active = () => page.evaluate(() => document.getElementById(document.getElementById("grid").getAttribute("aria-activedescendant"))?.innerText.replaceAll(/\s+/g, " "));
  await key("/");
  same(await focused(), "search", "the focus after /");
  await page.keyboard.type("w");
  await page.waitForTimeout(100);
  await key("Backspace");
  await key("ArrowDown");
  same(await focused(), "grid", "the focus after an arrow");
  await until("the first row", async () => (await active())?.includes("reports"));
  await key("ArrowDown");
  await key("ArrowDown");
  await until("the third row", async () => (await active())?.includes("cart"));
  await key("End");
  await until("the last row", async () => (await active())?.includes("shop"));
  await key("Home");
  await key("j");
  await until("the second row", async () => (await active())?.includes("worker"));
  await key("Enter");
  await page.locator(".details h2", { hasText: "worker" }).waitFor();
  check(await page.evaluate(() => document.activeElement.matches(".details")), "the panel has the focus");
  await until("the panel's content", async () => (await page.locator(".details .primary").count()) === 1);
  await key("c");
  await page.getByLabel("New count").waitFor();
  await until("the new count has the focus", async () => page.evaluate(() => document.activeElement.matches("dialog input[type=number]")));
  await page.keyboard.type("8");
  await key("Enter");
  await page.getByRole("button", { name: "Set to 8" }).waitFor();
  await until("the confirmation has the focus", async () => (await focused()) === "Set to 8");
  await key("Enter");
  await until("the write", async () => (await step("count", "batch", "worker")) === 8);
  await until("the dialog's last button has the focus", async () => (await focused()) === "Close");
  await key("Escape");
  await until("the dialog is gone", async () => (await page.locator("dialog[open]").count()) === 0);
  check(await page.evaluate(() => document.activeElement.closest(".details") !== null), "the focus is in the panel again");
  await key("Escape");
  await until("the panel is gone", async () => page.locator(".details").isHidden());
  same(await focused(), "grid", "the focus after the panel");

  await key("Space");
  await key("Shift+ArrowDown");
  await until("two are selected", async () => (await page.locator("#chosen").innerText()).includes("2 selected"));
  await until("selected rows, with the next frame", async () => (await page.locator(".row[aria-selected=true]").count()) === 2);
  await key("Control+a");
  await until("all are selected", async () => (await page.locator("#chosen").innerText()).includes("4 selected"));
  await key("?");
  await page.locator("dialog", { hasText: "Keys" }).waitFor();
  await key("Escape");
  await key("Escape");
  await page.getByRole("button", { name: "Select none" }).press("Enter");
  same(await focused(), "grid", "the focus after none is selected");
  await key("b");
  await announced(page, "Select some first");
  await key("Enter");
  await page.locator(".details h2").waitFor();
  await page.locator("#grid").focus();
  await key("Escape");
  await until("a panel is closed from the table, too", async () => page.locator(".details").isHidden());
  await key("2");
  check(await page.locator("#leases-title").isVisible(), "leases are shown");
  await key("3");
  check(await page.locator("#history-title").isVisible(), "the history is shown");
  const change = page.locator("section.view:not([hidden]) .link").first();
  await change.focus();
  const link = await focused();
  await step("another caller scales", "web", "cart", 6);
  await until("another change", async () => (await page.locator("section.view:not([hidden]) tbody").innerText()).includes("ci-pipeline"));
  same(await focused(), link, "the focus when the history is drawn anew");
  await key("Enter");
  await page.locator(".details h2").waitFor();
  await key("Escape");
  same(await focused(), link, "the focus after a panel that the history opened");
  await key("1");
  check(await page.locator("#grid").isVisible(), "the table is shown");

  // On a phone the panel covers the page: nothing behind it takes the focus.
  const phone = await open({ width: 320, height: 640 });
  await phone.locator("#grid .body .row").first().click();
  await phone.locator(".details .primary").waitFor();
  for (let at = 0; at < 8; at++) {
    await phone.keyboard.press("Tab");
    check(await phone.evaluate(() => document.activeElement === document.body || document.activeElement.closest(".details") !== null), "the focus is in the panel");
  }
  await phone.keyboard.press("Escape");
  check(await phone.evaluate(() => !document.querySelector("[inert]")), "all can be reached again");
});
