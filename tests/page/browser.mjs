// What every case has: Chromium with a client certificate, the page in it, and a way to have the test do something in the cluster.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(`${process.env.PAGE_TOOLS}/`);
const { chromium } = require("playwright-core");
const { existsSync, readFileSync } = require("node:fs");
const executablePath = ["/usr/bin/chromium", "/usr/bin/google-chrome"].find((path) => existsSync(path));
const axe = require.resolve("axe-core/axe.min.js");

/** What the test says of the server: `address`, and more. */
export const world = JSON.parse(process.env.PAGE_WORLD);
export const origin = `https://${world.address}`;

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Has the test do this, and returns what it says. */
export async function step(name, ...details) {
  process.stdout.write(`@${JSON.stringify([name, ...details])}\n`);
  const { value, done } = await lines.next();
  if (done) throw new Error(`the test ended before ${name}`);
  return JSON.parse(value);
}

/** What a test measured, which the test prints. */
export const measured = (name, value) => console.log(`${name}: ${value}`);

export function check(holds, ...words) {
  if (!holds) throw new Error(words.map((word) => (typeof word === "string" ? word : JSON.stringify(word))).join(" "));
}

export const same = (found, wanted, what) => check(JSON.stringify(found) === JSON.stringify(wanted), what, "is", found, "and not", wanted);

/** How long anything may take, in milliseconds: a machine that does much else starves a browser for many seconds. */
const PATIENCE = 60_000;

/** Waits until `holds` returns something true, and returns that. */
export async function until(what, holds) {
  const deadline = Date.now() + PATIENCE;
  let last;
  for (;;) {
    last = await holds();
    if (last) return last;
    if (Date.now() > deadline) throw new Error(`${what}: not within ${PATIENCE} ms`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

/** Does something and waits until the selector finds something, also for less time than a look takes. */
export async function passes(page, selector, act) {
  const seen = page.evaluate(
    ([selector, patience]) =>
      new Promise((resolve) => {
        const look = () => document.querySelector(selector) !== null && resolve(true);
        new MutationObserver(look).observe(document, { childList: true, subtree: true, attributes: true });
        setTimeout(() => resolve(false), patience);
        look();
      }),
    [selector, PATIENCE],
  );
  await act();
  check(await seen, selector, "is never there");
}

let browser;
/** What the browser complained of, and requests to elsewhere: there must be none at the end. */
const complaints = [];
const pages = [];
// Most of these servers lease no counts. On a machine that does much else a server may not hear of its cluster for some seconds.
const expected = [/404 .*\/leases$/, /503 .*\/health$/];

/** Errors of the console that a case causes itself. */
export const expect = (...patterns) => expected.push(...patterns);

/** The page in a window of its own. */
export async function open({ path = "/", dark = false, width = 1280, height = 800, at = origin, view = {}, ready = true } = {}) {
  browser ??= await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
  const context = await browser.newContext({
    viewport: { width, height },
    colorScheme: dark ? "dark" : "light",
    acceptDownloads: true,
    ...view,
  });
  await context.addInitScript(prepare);
  const page = await context.newPage();
  pages.push(page);
  page.setDefaultTimeout(PATIENCE);
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && complaints.push(`${message.text()} ${message.location().url}`));
  page.on("pageerror", (error) => complaints.push(error.stack));
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (url.origin !== origin && !["blob:", "data:"].includes(url.protocol) && at === origin) complaints.push(`a request to ${url.origin}`);
  });
  await page.goto(at + path);
  if (ready) await page.locator("#connection[data-state=live]").waitFor();
  return page;
}

/** Runs in each page first: what `announced` and `holdNews` take. */
const prepare = () => {
  window.announced = [];
  const hear = (all) => window.announced.push(...all.flatMap(({ addedNodes }) => [...addedNodes]).filter((one) => one.classList?.contains("note")).map((one) => one.textContent));
  new MutationObserver(hear).observe(document, { childList: true, subtree: true });
  const real = window.fetch;
  window.held = null;
  window.fetch = async (path, options) => {
    const reads = (options?.method ?? "GET") === "GET";
    if (!reads) window.held = null;
    const answer = await real(path, options);
    return reads && window.held !== null && path.includes(window.held) ? new Promise(() => {}) : answer;
  };
};

/** Waits until the page has announced something with these words, which it shows for some seconds alone. */
export const announced = (page, words) => until(words, () => page.evaluate((words) => window.announced.some((text) => text.includes(words)), words));

/** Has the page hear nothing of what is read below a path until it writes, nor of what it has asked for already. */
export const holdNews = (page, path) => page.evaluate((path) => (window.held = path), path);

/** The rows that are drawn, in order: what each cell says. */
export const rows = (page) =>
  page.$$eval("#grid .body .row:not([hidden])", (all) => {
    const text = (row, name) => row.querySelector(`.${name}`).innerText.replaceAll(/\s+/g, " ").trim();
    return all
      .sort((a, b) => a.ariaRowIndex - b.ariaRowIndex)
      .map((row) => ({ name: `${text(row, "namespace")}/${text(row, "name")}`, desired: Number(text(row, "desired")), ready: text(row, "ready"), by: text(row, "changed"), badges: text(row, "badges") }));
  });

export const row = async (page, name) => (await rows(page)).find((one) => one.name === name);

/** What axe finds wrong, once all that moves has come to its end: half a fade has no contrast of its own. */
export async function violations(page) {
  const moves = () => document.getAnimations().some((one) => one.playState === "running" && one.effect.getComputedTiming().endTime !== Infinity);
  await until("nothing moves", async () => !(await page.evaluate(moves)));
  if (!(await page.evaluate(() => "axe" in globalThis))) await page.evaluate(readFileSync(axe, "utf8"));
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html} (${failureSummary})`).join("; ").slice(0, 600)}`);
}

/** Runs a case to its end. */
export async function run(play) {
  try {
    await play();
    const unexpected = complaints.filter((text) => !expected.some((pattern) => pattern.test(text)));
    same(unexpected, [], "what the browser complains of");
    await browser?.close();
    process.exit(0);
  } catch (error) {
    console.error(error.stack, complaints);
    for (const page of pages) console.error(await page.locator("body").innerText({ timeout: 2_000 }).catch(() => "closed"));
    await browser?.close();
    process.exit(1);
  }
}
