// The pictures of the documentation: an incident, in light, in dark and on a phone.

import { open, run, step, until, world } from "./browser.mjs";

run(async () => {
  const light = await open({ width: 1280, height: 720 });
  const picture = (page, name) => page.screenshot({ path: `${world.folder}/${name}.png` });
  for (const [namespace, name, count] of [["web", "login", 9], ["checkout", "payments", 14], ["jobs", "mailer", 2]]) await step("another caller scales", namespace, name, count);
  await step("kubectl scales", "search", "ranking", 10);
  await light.locator("#grid .body .row", { hasText: "payments" }).first().click();
  await light.getByRole("button", { name: "Change count…" }).click();
  await light.getByLabel("New count").fill("20");
  await light.getByLabel("For how long").fill("");
  await light.getByRole("button", { name: "Check" }).click();
  await light.getByRole("button", { name: "Set to 20" }).click();
  await light.locator("dialog .end", { hasText: "All Pods are there." }).waitFor();
  // Some Pods fail.
  await step("rollouts take", null);
  await step("ready", "checkout", "payments", 13);
  await step("ready", "web", "login", 5);
  await step("ready", "search", "ranking", 7);
  await light.waitForTimeout(2500);
  await light.keyboard.press("Escape");
  await light.mouse.move(640, 4);
  await light.waitForTimeout(6500);
  await until("who set it", async () => (await light.locator("#grid").innerText()).includes("ci-pipeline"));
  await light.evaluate(() => document.activeElement.blur());
  await picture(light, "light");

  const dark = await open({ width: 1280, height: 720, dark: true });
  await dark.locator("#grid .body .row", { hasText: "queries" }).first().click();
  await dark.getByRole("button", { name: "Change count…" }).click();
  await dark.getByLabel("New count").fill("24");
  await dark.getByRole("button", { name: "Check" }).click();
  await dark.getByRole("button", { name: "Set to 24" }).waitFor();
  await dark.waitForTimeout(600);
  await picture(dark, "dark");

  const phone = await open({ width: 390, height: 800 });
  await phone.waitForTimeout(1500);
  await picture(phone, "phone");
});
