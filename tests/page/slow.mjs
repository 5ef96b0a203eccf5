// 50 kB a second and 300 ms each way: the first rows come soon, and a count can be set.

import { measured, open, passes, row, run, same, step, until } from "./browser.mjs";

run(async () => {
  const page = await open();
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("Network.enable");
  await devtools.send("Network.emulateNetworkConditions", { offline: false, latency: 300, downloadThroughput: 50_000, uploadThroughput: 20_000 });
  const began = Date.now();
  await page.reload({ waitUntil: "commit" });
  await page.locator("h1").waitFor();
  await page.locator("#grid .body .row").first().waitFor();
  const first = Date.now() - began;
  await page.locator("#connection[data-state=live]").waitFor();
  measured("first rows of 20,000 at 50 kB/s, ms", first);
  measured("all of them and live, ms", Date.now() - began);
  same(await page.locator("#size").innerText(), "20,000 Deployments", "how many");
  await passes(page, ".details .loading", () => page.locator("#grid .row").nth(1).click());
  await page.getByRole("button", { name: "Change count…" }).click();
  await page.getByLabel("New count").fill("4");
  await passes(page, "dialog .loading", () => page.getByRole("button", { name: "Check" }).click());
  await page.getByRole("button", { name: "Set to 4" }).click();
  await until("the write", async () => (await step("count")) === 4);
  await until("the row", async () => (await row(page, "ns-000/app-000000")).desired === 4);

});
