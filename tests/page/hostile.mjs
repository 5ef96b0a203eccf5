// Markup and turned text in what the cluster says: images, labels, a webhook's words.

import { check, expect, open, run, same, until } from "./browser.mjs";

expect(/status of (403|422)/);
run(async () => {
  const page = await open();
  await page.locator("#grid .row", { hasText: "evil" }).click();
  const panel = page.locator(".details");
  await panel.locator(".primary").waitFor();
  await panel.getByText("Images").click();
  await panel.getByText("Labels").click();
  const text = await panel.innerText();
  check(text.includes('<img src=x onerror="window.hacked=1">'), "the image is shown as text:", text);
  check(!text.includes("\u202e"), "nothing turns the text around it");
  await page.getByRole("button", { name: "Change count…" }).click();
  await page.getByLabel("New count").fill("5");
  await page.getByRole("button", { name: "Check" }).click();
  await until("the webhook's words", async () => (await page.locator("dialog .wrong").innerText()).includes("window.hacked"));
  same(await page.locator("main img, dialog img").count(), 0, "images in the page");
  same(await page.evaluate(() => window.hacked), undefined, "what ran");
  // The policy holds for whatever would get in nevertheless.
  const refused = await page.evaluate(() => {
    try {
      document.body.innerHTML = "<b>x</b>";
    } catch (error) {
      return error.name;
    }
    return "nothing";
  });
  same(refused, "TypeError", "what markup from a text is refused with");
  expect(/requires 'Trusted/);
  const handler = await page.evaluate(() => {
    try {
      document.createElement("img").setAttribute("onerror", "window.hacked = 2");
    } catch (error) {
      return error.name;
    }
    return "nothing";
  });
  same(handler, "TypeError", "what code from a text is refused with");
});
