// Times are shown with their zone, so that an hour that comes twice is told apart; how long a lease takes is written as in a terminal.

import { check, open, run, same, until } from "./browser.mjs";

run(async () => {
  for (const [timezoneId, first, second, isoFirst, isoSecond] of [
    ["America/New_York", "2025-11-02 01:30:00 EDT", "2025-11-02 01:30:00 EST", "2025-11-02T01:30:00-04:00", "2025-11-02T01:30:00-05:00"],
    ["Asia/Kolkata", "2025-11-02 11:00:00 GMT+5:30", "2025-11-02 12:00:00 GMT+5:30", "2025-11-02T11:00:00+05:30", "2025-11-02T12:00:00+05:30"],
  ]) {
    const page = await open({ view: { timezoneId } });
    const shown = await page.evaluate(async () => {
      const [{ clock, iso }, { timeLeft, timeOf }] = await Promise.all([import("/page/times.js"), import("/page/dom.js")]);
      const both = ["2025-11-02T05:30:00Z", "2025-11-02T06:30:00Z"];
      return { clocks: both.map(clock), isos: both.map(iso), title: timeOf(both[0]).title, over: timeLeft(performance.now() - 60_000).textContent, left: timeLeft(performance.now() + 3_600_100).textContent };
    });
    same(shown.clocks, [first, second], "the clock");
    same(shown.isos, [isoFirst, isoSecond], "in whole");
    same(shown.title, isoFirst, "where it is pointed at");
    check(/^over since (\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d (E[SD]T|GMT\+5:30)$/.test(shown.over), "a lease that is over:", shown.over);
    same(shown.left, "1h", "one that isn't");
    await page.keyboard.press("3");
    await until("since when the server knows", async () => (await page.locator("section.view:not([hidden]) time").getAttribute("title"))?.includes("T"));
    await page.context().close();
  }

  const page = await open();
  const read = (texts) => page.evaluate(async (texts) => {
    const { seconds } = await import("/page/times.js");
    return texts.map((text) => (Number.isNaN(seconds(text)) ? null : seconds(text)));
  }, texts);
  same(await read(["2h", "90m", "1h30m", "1h 30m", "1.5h", "0.5m", "10s", "2 hours", " 1h, 5 mins ", "PT1H30M", "pt1.5h", "1:30:00", "1,5h", "+2h"]), [7200, 5400, 5400, 5400, 5400, 30, 10, 7200, 3900, 5400, 5400, 5400, 5400, 7200], "what is taken");
  same(await read(["1d", "90", "1H", "soon", "", "9s", "30m1h", "1.5h30m", "0.5s", "-1h", "1h1h", "2hs", "2h ago"]), Array(13).fill(null), "what isn't");
});
