// By keys alone through all views: the focus is somewhere after each.

import { check, expect, open, run, same, step, until } from "./browser.mjs";

expect(/status of 404/);
run(async () => {
  await step("another caller scales", "web", "cart", 4);
  same(await step("another caller leases", "web", "shop", 5), 200, "a lease");
  const page = await open();
  await until("rows", async () => (await page.locator("#grid .body .row").count()) >= 4);
  const nowhere = () => page.evaluate(() => document.activeElement === document.body || document.activeElement.closest("[hidden]") !== null);
  const press = async (key, after) => {
    await page.keyboard.press(key);
    // Long enough for what would take it away again.
    await page.waitForTimeout(60);
    await until(`the focus is somewhere after ${key}, ${after}`, async () => !(await nowhere()));
  };
  const focused = () => page.evaluate(() => document.activeElement.ariaLabel ?? document.activeElement.id);
  // Nobody has touched anything yet.
  await press("Escape", "the start");
  for (const [key, label] of [["2", "All leases"], ["3", "All changes"], ["1", "Deployments"]]) {
    await press(key, "the table");
    same(await focused(), label, `the focus after ${key}`);
  }
  const all = ["/", "Escape", "Escape", "?", "Escape", "b", "u", "Escape", "c", "Escape", "Enter", "Escape", "j", "Home", "Space", "b", "Escape", "Space", "Enter", "c", "Escape", "Escape", "Escape"];
  for (const view of ["1", "2", "3"]) {
    for (const other of ["1", "2", "3"]) {
      await press(other, "a view");
      await press(view, `view ${other}`);
      await press("Escape", `view ${view}`);
      await press("Escape", `view ${view}`);
    }
    for (const key of all) {
      // A search goes to the table.
      await press(key, `view ${view}`);
      if (key === "/") await press("Escape", "the search");
      if (key === "/") await press(view, "the search");
    }
  }

  // A panel that was opened from the table, left in another view.
  await press("1", "all");
  await press("Home", "the table");
  await press("Enter", "a row");
  await page.locator(".details .primary").waitFor();
  await press("2", "the panel");
  await press("Escape", "the leases");
  await press("3", "the leases");
  await press("Escape", "the history");

  // What opened a dialog is drawn anew, or gone, when it is closed.
  await press("2", "all");
  const extend = page.getByRole("button", { name: "Extend the lease of web/shop" });
  await extend.focus();
  await press("Enter", "the button");
  await page.getByLabel("For how long from now").waitFor();
  await page.evaluate(() => [...document.querySelectorAll("tbody button")].forEach((one) => one.replaceWith(one.cloneNode(true))));
  await press("Escape", "the dialog");
  await until("the focus after a dialog", async () => (await focused()) === "Extend the lease of web/shop");
  await page.keyboard.press("2");
  await page.getByRole("button", { name: "End the lease of web/shop", exact: true }).focus();
  await press("Enter", "the button");
  await page.getByRole("button", { name: "Back to 3" }).waitFor();
  await press("Enter", "going back");
  await until("no leases", async () => (await page.locator("section.view:not([hidden]) tbody").innerText()).includes("No leases."));
  await until("the dialog is gone", async () => (await page.locator("dialog[open]").count()) === 0);
  await until("the focus is somewhere after the lease is gone", async () => !(await nowhere()));

  // The link over the header leaves the view as it is.
  await page.locator(".skip").focus();
  await press("Enter", "the link to the table");
  same(await focused(), "All leases", "the focus after the link");

  // A link to a Deployment, closed at once.
  const linked = await open({ path: "/#open=web/cart" });
  await linked.locator(".details .primary").waitFor();
  await linked.keyboard.press("Escape");
  check(await linked.evaluate(() => document.activeElement !== document.body), "the focus is nowhere after a link's panel");
});
