// Markup and turned text in what the cluster says: images, labels, a webhook's words.

import { check, expect, open, row, run, same, step, until } from "./browser.mjs";

expect(/status of (403|422)/);
run(async () => {
  const page = await open();
  await page.locator("#grid .row", { hasText: "evil" }).click();
  // What can't be seen, or turns the text around it, is nowhere: not in what is read aloud or shown where it is pointed at, either.
  const clean = async (view) => {
    const found = await page.evaluate(() => {
      const hides = /[[\p{Cc}\p{Default_Ignorable_Code_Point}\u2028\u2029\ufff9-\ufffb]--[\t\n\ufe0e\ufe0f]]/v;
      const texts = [...document.querySelectorAll("body, body *")].flatMap((one) => [...one.attributes, ...one.childNodes].filter((child) => !(child instanceof Element)));
      return texts.map(({ nodeName, nodeValue }) => `${nodeName}: ${nodeValue}`).filter((text) => hides.test(text));
    });
    same(found, [], `${view}: what hides`);
  };
  const panel = page.locator(".details");
  await panel.locator(".primary").waitFor();
  await panel.getByText("Images").click();
  await panel.getByText("Labels").click();
  const text = await panel.innerText();
  check(text.includes('<img src=x onerror="window.hacked=1">\ufffdgpj\ufffd\ufffd'), "the image is shown as text:", text);
  await clean("the details");
  await page.getByRole("button", { name: "Change count…" }).click();
  await page.getByLabel("New count").fill("5");
  await page.getByRole("button", { name: "Check" }).click();
  await until("the webhook's words", async () => (await page.locator("dialog .wrong").innerText()).includes("window.hacked"));
  same(await page.locator("main img, dialog img").count(), 0, "images in the page");
  same(await page.evaluate(() => window.hacked), undefined, "what ran");
  await step("somebody turned scales", "web", "evil", 7);
  await page.locator("dialog .news", { hasText: "→ 7, set by \ufffdnimda\ufffd." }).waitFor();
  await clean("a change");
  await page.keyboard.press("Escape");
  for (const name of ["shop", "evil"]) await page.locator("#grid .row", { hasText: name }).locator(".choose").click();
  await page.getByRole("button", { name: "Set count…" }).click();
  await page.getByLabel("New count of each").fill("5");
  await page.getByRole("button", { name: "Check" }).click();
  await page.locator("dialog", { hasText: "0 of 2 to 5" }).waitFor();
  await step("somebody turned scales", "web", "shop", 9);
  await page.locator("dialog .news", { hasText: "now 9, by \ufffdnimda\ufffd" }).waitFor();
  await clean("many changes");
  await page.keyboard.press("Escape");
  await until("who set it", async () => (await row(page, "web/shop")).by.startsWith("\ufffdnimda\ufffd"));
  await clean("the table");
  await page.keyboard.press("3");
  await page.locator("section.view:not([hidden]) tbody", { hasText: "\ufffdnimda\ufffd" }).waitFor();
  await clean("the history");
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
