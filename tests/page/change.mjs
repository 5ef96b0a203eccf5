// A count is changed: the dry run, the confirmation, the write, the rollout; refusals and zero.

import { check, expect, open, row, run, same, step, until } from "./browser.mjs";

expect(/status of 422/);
run(async () => {
  const page = await open();
  const dialog = page.locator("dialog[open]");
  const says = (words) => until(words, async () => (await dialog.innerText()).includes(words));
  await page.locator("#grid .row", { hasText: "shop" }).click();
  await page.locator(".details h2", { hasText: "shop" }).waitFor();
  await until("bounds in the panel", async () => (await page.locator(".details").innerText()).includes("up to 10000"));
  await step("rollouts take", null);

  await page.getByRole("button", { name: "Change count…" }).click();
  await says("Now 3");
  await says("Allowed: up to 10000.");
  await page.getByLabel("New count").fill("10001");
  await page.getByLabel("Reason").fill("a sale: ½ price");
  await page.getByRole("button", { name: "Check" }).click();
  await says("10001 is above the maximum of 10000 set by this server");
  same(await step("count", "web", "shop"), 3, "the count after a refusal");
  await page.getByLabel("New count").fill("1.5");
  await page.getByRole("button", { name: "Check" }).click();
  await says("a whole number");
  await page.getByLabel("New count").fill("6");
  await page.getByRole("button", { name: "Check" }).click();
  await says("web/shop: 3 → 6");
  same(await step("count", "web", "shop"), 3, "the count before the confirmation");
  await page.getByRole("button", { name: "Set to 6" }).click();
  await until("the write", async () => (await step("count", "web", "shop")) === 6);
  await page.locator("dialog .progress[data-state=progressing]").waitFor();
  await step("rollouts take", 100);
  await says("All Pods are there.");
  await dialog.getByRole("button", { name: "Close" }).last().click();
  await until("the dialog is gone", async () => (await dialog.count()) === 0);
  await until("the row", async () => (await row(page, "web/shop")).desired === 6 && (await row(page, "web/shop")).by.startsWith("alice"));
  await until("an Event with the reason", async () => step("an Event says", "a sale: ½ price"));

  await page.getByRole("button", { name: "Change count…" }).click();
  await page.getByLabel("New count").fill("0");
  await page.getByRole("button", { name: "Check" }).click();
  await says("This stops every Pod");
  const yes = page.getByRole("button", { name: "Set to 0" });
  check(await yes.isDisabled(), "zero isn't set before the name is typed");
  await page.getByLabel(/Type shop/).fill("cart");
  check(await yes.isDisabled(), "nor with another name");
  await page.getByLabel(/Type shop/).fill("shop");
  await yes.click();
  await until("zero", async () => (await step("count", "web", "shop")) === 0);
  await page.getByRole("button", { name: "Close", exact: true }).last().click();

  await step("an autoscaler", "batch", "worker");
  await page.locator("#grid .row", { hasText: "worker" }).click();
  await until("what else sets it", async () => (await page.locator(".details").innerText()).includes("HorizontalPodAutoscaler worker (2 to 6) also sets this count"));
  await until("the badge", async () => (await row(page, "batch/worker")).badges.includes("autoscaler"));
  await page.getByRole("button", { name: "Change count…" }).click();
  await page.getByLabel("New count").fill("9");
  await page.getByRole("button", { name: "Check" }).click();
  await says("will lower it to 6");
});
