// Many at once: selected, checked, set; what failed is told; undone, but for what others changed since.

import { readFileSync } from "node:fs";
import { check, open, rows, run, same, step, until } from "./browser.mjs";

run(async () => {
  const page = await open();
  const dialog = page.locator("dialog[open]");
  const says = (words) => until(words, async () => (await dialog.innerText()).replaceAll(/\s+/g, " ").includes(words));
  await until("rows", async () => (await rows(page)).length === 4);
  await page.locator("#grid .body .row", { hasText: "worker" }).locator(".choose").click();
  await page.locator("#grid .body .row", { hasText: "shop" }).locator(".choose").click({ modifiers: ["Shift"] });
  await until("a range", async () => (await page.locator("#chosen").innerText()).includes("3 selected"));
  await page.getByRole("button", { name: "Set count…" }).click();
  await says("batch/worker now 5");
  // Where no count can be leased no time is asked for.
  await says("This server has no leases: they are switched off");
  same(await page.getByLabel("For how long").isVisible(), false, "the field of a time");
  await page.getByLabel("New count of each").fill("10001");
  await page.getByRole("button", { name: "Check" }).click();
  await says("0 of 3 to 10001");
  await says("web/shop 10001 is above the maximum");
  check(await page.getByRole("button", { name: "Set 0 to 10001" }).isDisabled(), "nothing can be set");
  await page.getByRole("button", { name: "Back" }).click();
  await page.getByLabel("New count of each").fill("7");
  await page.getByRole("button", { name: "Check" }).click();
  await says("batch/worker 5 → 7");
  same(await step("count", "web", "shop"), 3, "the count before the confirmation");
  await page.getByRole("button", { name: "Set 3 to 7" }).click();
  await says("3 done.");
  for (const [namespace, name] of [["batch", "worker"], ["web", "cart"], ["web", "shop"]]) same(await step("count", namespace, name), 7, name);
  same(await step("count", "batch", "reports"), 0, "the one that wasn't selected");
  const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Download snapshot" }).click()]);
  const snapshot = JSON.parse(readFileSync(await file.path(), "utf8"));
  same(snapshot.items.map(({ name, replicaCount, setTo }) => [name, replicaCount, setTo]), [["worker", 5, 7], ["cart", 2, 7], ["shop", 3, 7]], "the snapshot");
  await dialog.getByRole("button", { name: "Close", exact: true }).last().click();

  // Another takes one of them over, and the tab is loaded anew.
  same(await step("another caller scales", "web", "cart", 4), 200, "the other's write");
  await page.reload();
  await page.locator("#connection[data-state=live]").waitFor();
  await page.getByRole("button", { name: "Undo…" }).click();
  await dialog.getByRole("button", { name: "Undo…" }).click();
  await says("2 of 3 can be brought back.");
  await says("left as it is");
  await page.getByRole("button", { name: "Bring back 2" }).click();
  await says("2 done, 1 left as others have made it.");
  same([await step("count", "web", "shop"), await step("count", "web", "cart"), await step("count", "batch", "worker")], [3, 4, 5], "the counts");
  await dialog.getByRole("button", { name: "Close", exact: true }).last().click();

  // The answer to a batch is lost after it was carried out: what the check told brings it back.
  for (const name of ["worker", "shop", "cart"]) await page.locator("#grid .body .row", { hasText: name }).locator(".choose").click();
  await page.getByRole("button", { name: "Set count…" }).click();
  await page.getByLabel("New count of each").fill("4");
  await page.getByRole("button", { name: "Check" }).click();
  await says("web/cart stays 4");
  await page.evaluate(() => {
    const real = window.fetch;
    window.fetch = async (...asked) => {
      const answer = await real(...asked);
      if (!asked[0].endsWith("/batches")) return answer;
      window.fetch = real;
      throw new TypeError("lost");
    };
  });
  await page.getByRole("button", { name: "Set 3 to 4" }).click();
  await says("0 done, 3 unknown.");
  await says("Whether 2 were set isn't known.");
  same(await step("count", "web", "shop"), 4, "what was carried out");
  await page.getByRole("button", { name: "Undo…" }).last().click();
  await says("2 of 2 can be brought back.");
  await page.getByRole("button", { name: "Bring back 2" }).click();
  await says("2 done.");
  same([await step("count", "web", "shop"), await step("count", "web", "cart"), await step("count", "batch", "worker")], [3, 4, 5], "the counts as they were");
});
