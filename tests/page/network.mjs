// 400 kbit/s and 400 ms, and no network at all: what is said meanwhile, that nothing is sent twice, and what becomes of a write whose answer is lost.

import { announced, check, expect, measured, open, passes, row, run, same, step, until } from "./browser.mjs";

expect(/ERR_INTERNET_DISCONNECTED/, /ERR_/, /Failed to load resource/);
run(async () => {
  const page = await open();
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("Network.enable");
  const network = (offline) => devtools.send("Network.emulateNetworkConditions", { offline, latency: 400, downloadThroughput: 50_000, uploadThroughput: 50_000 });
  await network(false);
  const writes = [];
  page.on("request", (request) => request.method() === "PUT" && !request.url().includes("dryRun") && writes.push(request.url()));

  const began = Date.now();
  await page.reload({ waitUntil: "commit" });
  await page.locator("#connection", { hasText: "Connecting" }).waitFor();
  await page.locator("#grid .body .row").first().waitFor();
  measured("first rows at 400 kbit/s and 400 ms, ms", Date.now() - began);
  await page.locator("#connection[data-state=live]").waitFor();

  // Enter is kept pressed, and pressed again and again: one write, after a confirmation that could be read.
  const dialog = page.locator("dialog[open]");
  await page.locator("#grid .row", { hasText: "shop" }).click();
  await passes(page, "dialog[open]:focus-within .loading", () => page.getByRole("button", { name: "Change count…" }).click());
  await page.getByLabel("New count").fill("4");
  await page.keyboard.down("Enter");
  for (let at = 0; at < 40; at++) {
    await page.keyboard.down("Enter");
    await page.waitForTimeout(25);
  }
  await until("the confirmation", async () => (await dialog.innerText()).includes("3 → 4"));
  for (let at = 0; at < 10; at++) await page.keyboard.down("Enter");
  await page.keyboard.up("Enter");
  await page.waitForTimeout(1_000);
  same(writes, [], "writes of an Enter that is kept pressed");
  // Its answer is held: what is pressed after that is meant for what it says.
  await page.evaluate(() => {
    const real = window.fetch;
    const told = new Promise((resolve) => (window.tell = resolve));
    window.fetch = async (...asked) => {
      const answer = await real(...asked);
      if (asked[1].method === "PUT" && !asked[0].includes("dryRun")) await told;
      return answer;
    };
  });
  await passes(page, "dialog[open] > .content > .loading", () => page.getByRole("button", { name: "Set to 4" }).dblclick());
  for (let at = 0; at < 5; at++) await page.keyboard.press("Enter");
  await page.keyboard.down("Enter");
  await page.evaluate(() => window.tell());
  await until("the write", async () => (await step("count", "web", "shop")) === 4);
  await until("the answer", async () => (await dialog.innerText()).includes("3 → 4") && (await dialog.locator(".progress").count()) === 1);
  for (let at = 0; at < 10; at++) await page.keyboard.down("Enter");
  await page.keyboard.up("Enter");
  same(await dialog.count(), 1, "dialogs after an Enter that is kept pressed");
  same(writes.length, 1, "writes");
  await page.keyboard.press("Escape");

  // The answer is lost with the network: the page says so, keeps asking, and says how it stands when there is a network again.
  await page.getByRole("button", { name: "Change count…" }).click();
  await page.getByLabel("New count").fill("5");
  await page.getByRole("button", { name: "Check" }).click();
  await page.getByRole("button", { name: "Set to 5" }).waitFor();
  await network(true);
  await page.getByRole("button", { name: "Set to 5" }).click();
  await until("that nobody knows", async () => (await dialog.innerText()).includes("It isn't known whether the count was set"));
  await until("that it can't be read", async () => (await dialog.innerText()).includes("can't be read either"));
  await until("that the page isn't live", async () => (await page.locator("#connection").getAttribute("data-state")) !== "live");
  await network(false);
  await until("how it stands", async () => (await dialog.innerText()).includes("It is 4 now, set by you"));
  await until("live again", async () => (await page.locator("#connection").getAttribute("data-state")) === "live");
  same((await row(page, "web/shop")).desired, 4, "the row");
  await page.keyboard.press("Escape");

  // A write whose dialog is closed at once is told of all the same, and the tab isn't left without a word.
  await page.getByRole("button", { name: "Change count…" }).click();
  await page.getByLabel("New count").fill("6");
  await page.getByRole("button", { name: "Check" }).click();
  await page.getByRole("button", { name: "Set to 6" }).waitFor();
  await page.evaluate(() => {
    const real = window.fetch;
    const sent = new Promise((resolve) => (window.send = resolve));
    window.fetch = async (...asked) => (asked[1].method === "PUT" && (await sent), real(...asked));
  });
  await page.getByRole("button", { name: "Set to 6" }).click();
  await dialog.locator(".loading").waitFor();
  await page.keyboard.press("Escape");
  let asked = 0;
  page.on("dialog", (one) => ((asked += 1), one.dismiss()));
  await page.close({ runBeforeUnload: true });
  await until("that the browser asks", async () => asked === 1);
  await page.evaluate(() => window.send());
  await announced(page, "web/shop set from 4 to 6");
});
