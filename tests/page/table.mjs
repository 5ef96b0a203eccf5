// The table shows all Deployments, finds some, sorts them, and follows what changes.

import { check, expect, open, passes, row, rows, run, same, step, until } from "./browser.mjs";

const names = async (page) => (await rows(page)).map(({ name }) => name);
const all = ["batch/reports", "batch/worker", "web/cart", "web/shop"];

// What is deleted may just have been asked for.
expect(/400 .*labelSelector/, /404 .*\/aaa\/deployments\/first$/);
run(async () => {
  const page = await open();
  await until("all rows", async () => (await rows(page)).length === 4);
  same(await names(page), all, "the order");
  same((await row(page, "web/shop")).desired, 3, "a count");
  same(await page.locator("#size").innerText(), "4 Deployments", "how many there are");
  await until("who looks", async () => (await page.locator("#who").innerText()) === "alice");
  same(await page.locator("#grid").getAttribute("aria-rowcount"), "5", "the rows with the head");

  await page.keyboard.press("/");
  await page.keyboard.type("web sh");
  await until("what is searched", async () => (await names(page)).join() === "web/shop");
  same(await page.locator("#size").innerText(), "1 of 4", "how many were found");
  await page.locator("#search").fill("nothing");
  await until("nothing is found", async () => (await names(page)).length === 0);
  await page.locator("#search").fill("");

  await page.locator("#namespace").selectOption("batch");
  await until("one namespace", async () => (await names(page)).join() === "batch/reports,batch/worker");
  await page.locator("#namespace").selectOption("");
  await page.locator("#labels").fill("app in (shop,worker)");
  await until("what labels select", async () => (await names(page)).join() === "batch/worker,web/shop");
  await page.locator("#labels").fill("app in (shop");
  await until("what is wrong with labels", async () => (await page.locator("#labels-wrong").innerText()).length > 20);
  await until("nothing is shown of it", async () => (await names(page)).length === 0);
  await page.locator("#grid").focus();
  await page.keyboard.press("Control+a");
  check(await page.locator("#chosen").isHidden(), "nor can anything be selected");
  await page.locator("#labels").fill("");
  await until("no selector", async () => (await names(page)).length === 4);

  await page.locator("[data-filter=zero]").click();
  await until("zero alone", async () => (await names(page)).join() === "batch/reports");
  await page.locator("[data-filter=zero]").click();

  await page.getByRole("button", { name: "Desired" }).click();
  await until("by count", async () => (await names(page)).join() === "batch/worker,web/shop,web/cart,batch/reports");
  same(await page.locator(".head .desired").getAttribute("aria-sort"), "descending", "what is sorted by");
  await page.getByRole("button", { name: "Desired" }).click();
  await until("the other way", async () => (await names(page)).join() === "batch/reports,web/cart,web/shop,batch/worker");
  await passes(page, ".row.fresh", () => step("kubectl scales", "web", "cart", 9));
  await until("a new count finds its place", async () => (await names(page)).at(-1) === "web/cart");
  await page.getByRole("button", { name: "Deployment", exact: true }).click();
  await until("by name", async () => (await names(page)).join() === "web/cart,batch/reports,web/shop,batch/worker");
  await page.getByRole("button", { name: "Namespace" }).click();

  await step("another caller scales", "web", "shop", 6);
  await until("what was set, and by whom", async () => {
    const { by, desired } = await row(page, "web/shop");
    return by.startsWith("ci-pipeline") && desired === 6;
  });
  await step("create", "aaa", "first", 1);
  await until("a new Deployment", async () => (await names(page))[0] === "aaa/first");
  await step("delete", "aaa", "first");
  await until("one less", async () => (await names(page)).join() === all.join());

  // Whoever has pressed a row has not meant the one that takes its place before the release.
  const pressed = page.locator("#grid .body .row[aria-rowindex='4']");
  same((await rows(page))[2].name, "web/cart", "what is pressed");
  for (const part of [".name", ".choose"]) {
    await pressed.locator(part).hover();
    await page.mouse.down();
    await step("create", "aaa", "first", 1);
    await until("another in its place", async () => (await rows(page))[2].name === "batch/worker");
    await page.mouse.up();
    await page.waitForTimeout(300);
    same(await page.locator(".details:not([hidden])").count(), 0, "what was opened");
    same(await page.locator("#grid .body .row input:checked").count(), 0, "what was selected");
    await step("delete", "aaa", "first");
    await until("it is back", async () => (await rows(page))[2].name === "web/cart");
  }
  await pressed.locator(".choose").click();
  await page.locator("#chosen", { hasText: "1 selected" }).waitFor();
  await pressed.locator(".name").click();
  await page.locator(".details:not([hidden]) h2", { hasText: "cart" }).waitFor();
  check((await page.locator("#namespace option").allInnerTexts()).join() === "All namespaces,batch,web", "the namespaces");
});
