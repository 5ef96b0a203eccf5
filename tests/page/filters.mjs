// What a list doesn't tell is filtered by among the rows that were looked at; how many that are is said, and the others can be looked at.

import { check, open, rows, run, same, step, until } from "./browser.mjs";

run(async () => {
  for (let at = 10; at < 70; at++) await step("create", "zz", `app-${at}`, 1);
  await step("an autoscaler", "zz", "app-65");
  const page = await open();
  const size = () => page.locator("#size").innerText();
  const names = async () => (await rows(page)).map(({ name }) => name).join();
  const look = page.locator("#look");
  await until("all rows", async () => (await size()) === "64 Deployments");
  check(await look.isHidden(), "nothing is to be looked at without such a filter");
  await page.locator("[data-filter=autoscaled]").click();
  await until("how many were looked at", async () => /^0 of \d+ looked at$/.test(await size()));
  const [, looked] = /of (\d+)/.exec(await size());
  check(Number(looked) < 50, "some weren't:", looked);
  check(/^Look at \d+ more$/.test(await look.innerText()), "the others can be:", await look.innerText());
  await page.locator("#search").fill("zz app-6");
  await until("of those that are searched", async () => (await look.innerText()) === "Look at 10 more");
  await page.locator("#search").fill("");
  await until("all again", async () => (await look.innerText()) !== "Look at 10 more");
  await look.click();
  await until("the one that is autoscaled", async () => (await names()) === "zz/app-65");
  await until("all were looked at", async () => (await size()) === "1 of 64");
  check(await look.isHidden(), "nothing is left");
  same(await page.evaluate(() => document.activeElement.id), "grid", "the focus");
  await page.locator("[data-filter=autoscaled]").click();

  same(await step("another caller scales", "zz", "app-60", 2), 200, "another's write");
  await page.evaluate(() => fetch("/api/v1/namespaces/zz/deployments/app-61/replicas", { method: "PUT", headers: { "content-type": "application/json" }, body: '{"replicaCount":3}' }));
  await page.locator("[data-filter=mine]").click();
  await until("one's own", async () => (await names()) === "zz/app-61");
});
