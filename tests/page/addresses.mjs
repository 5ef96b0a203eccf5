// Views have addresses, which can be sent to others, and the browser goes back and forward between them.

import { open, run, same, until } from "./browser.mjs";

run(async () => {
  const page = await open({ path: "/#leases" });
  const shows = (id) => until(id, async () => page.locator(id).isVisible());
  const hash = () => page.evaluate(() => location.hash);
  await shows("#leases-title");
  await page.keyboard.press("3");
  await shows("#history-title");
  same(await hash(), "#history", "the address");
  await page.getByRole("button", { name: "Deployments", exact: true }).click();
  await shows("#grid");
  await page.locator("#grid .row", { hasText: "shop" }).click();
  await page.locator(".details h2", { hasText: "shop" }).waitFor();
  await page.goBack();
  await shows("#history-title");
  same(await page.locator(".details").isVisible(), false, "the details of another step");
  await page.goBack();
  await shows("#leases-title");
  same(await page.getByRole("button", { name: "Leases", exact: true }).getAttribute("aria-current"), "page", "the tab");
  await page.goForward();
  await shows("#history-title");
  await page.goForward();
  await shows("#grid");
  await page.locator(".details h2", { hasText: "shop" }).waitFor();
  // Somebody opens a link, one of those that were written before views had addresses, too.
  for (const [address, id] of [["#history", "#history-title"], ["#leases", "#leases-title"], ["#view=history", "#history-title"], ["#", "#grid"], ["#leases&open=web%2Fcart", "#leases-title"]]) {
    await page.evaluate((address) => (location.hash = address), address);
    await shows(id);
  }
  await page.locator(".details h2", { hasText: "cart" }).waitFor();
  await page.reload();
  await shows("#leases-title");
  await page.locator(".details h2", { hasText: "cart" }).waitFor();
});
