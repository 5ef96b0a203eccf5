// Many counts in one go: what would become of each, a confirmation, what became of each, and the way back.

import { call, NoAnswer, sentence } from "./api.js";
import { alertOf, buttons, field, form, headerText, openDialog, typed, waiting, warning } from "./dialog.js";
import { announce, button, el, setText } from "./dom.js";
import { hear, newsLine } from "./present.js";
import { clock, duration, seconds } from "./times.js";

/** The most that the API takes in one call. */
const PORTION = 250;
/** How long a call may take, in milliseconds: the server gives a batch 20 s for its turns alone. */
const DEADLINE = 90_000;
/** Snapshots that are kept while the tab is open. */
const KEPT = 5;
const KEY = "snapshots";

/** The snapshots of this tab's batches, newest first: `{ takenAt, words, items }`. */
export function snapshots() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY)) ?? [];
  } catch {
    return [];
  }
}

function keep(snapshot) {
  try {
    const others = snapshots().filter((one) => one.id === undefined || one.id !== snapshot.id);
    const all = snapshot.items.length ? [snapshot, ...others] : others;
    sessionStorage.setItem(KEY, JSON.stringify(all.slice(0, KEPT)));
  } catch {
    announce("This browser keeps nothing: download the snapshot if you want to go back later.", "error");
  }
}

/** Opens the dialog for these Deployments, `{ namespace, name, replicaCount }` each; `leaseOf(namespace, name)` is what is known of leases. */
export function changeMany(items, done, leaseOf) {
  const dialog = openDialog(`Set ${items.length} Deployments`, { wide: true });
  const live = { heard: null };
  ask({ dialog, items, done, leaseOf, live }, {});
  hear(({ namespace, name, replicaCount, gone }) => {
    const one = items.find((item) => item.namespace === namespace && item.name === name);
    if (!one || (!gone && one.replicaCount === replicaCount)) return;
    one.replicaCount = gone ? undefined : replicaCount;
    live.heard?.();
  }, dialog.signal);
}

const nowInWords = ({ replicaCount }) => (replicaCount === undefined ? "deleted" : `now ${replicaCount}`);

function ask(of, wish, wrong) {
  const { dialog, items } = of;
  const count = el("input", { type: "number", inputmode: "numeric", min: 0, step: 1, autofocus: true, ".value": wish.count ?? "" });
  const time = el("input", { type: "text", placeholder: "1h, 90m, 1d", autocomplete: "off", ".value": wish.time ?? "" });
  const reason = el("input", { type: "text", maxlength: 256, autocomplete: "off", ".value": wish.reason ?? "" });
  const said = el("div", {}, wrong);
  const table = list(items.map((one) => [keyOf(one), nowInWords(one)]));
  const cells = [...table.querySelectorAll("td")];
  const news = newsLine();
  of.live.heard = () => {
    const changed = items.filter((one, at) => cells[at].textContent !== nowInWords(one));
    items.forEach((one, at) => setText(cells[at], nowInWords(one)));
    setText(news, `Changed meanwhile: ${changed.map((one) => `${keyOf(one)}, ${nowInWords(one)}`).join("; ")}.`);
  };
  const submit = () => {
    const wished = { count: count.value.trim(), time: time.value.trim(), reason: reason.value.trim() };
    const bad = !/^\d{1,10}$/.test(wished.count)
      ? "The count is a whole number, 0 or more."
      : wished.time && !(seconds(wished.time) > 0)
        ? "The time is written 1h, 90m or 1d; leave it empty for counts that stay."
        : null;
    if (bad) return said.replaceChildren(alertOf(bad));
    check(of, wished);
  };
  dialog.show(
    form(
      submit,
      table,
      news,
      field("New count of each", count),
      field("For how long", time, "Empty: until somebody sets another. Otherwise they go back by themselves."),
      field("Reason", reason),
      said,
      buttons(button("Cancel", dialog.close), el("button", { type: "submit", class: "primary" }, "Check")),
    ),
  );
}

/**
 * Sends it in portions; what a portion's failure leaves is told of each of its Deployments. `planned` is the snapshot of the dry
 * run with the same key, which stands in for that of an answer that is lost.
 */
async function send(path, all, rest, { reason, key, dryRun, planned = [], progress }) {
  const results = [];
  const restorable = [];
  const headers = { ...(reason && { "x-reason": headerText(reason) }), ...(key && { "idempotency-key": key }) };
  for (let at = 0; at < all.length; at += PORTION) {
    const items = all.slice(at, at + PORTION);
    const failed = (those, status, error) => results.push(...those.map(({ namespace, name }) => ({ namespace, name, status, error })));
    progress?.(at, all.length);
    try {
      const { body } = await call("POST", `${path}${dryRun ? "?dryRun=true" : ""}`, { body: { items, ...rest }, headers, deadline: DEADLINE });
      results.push(...body.results);
      restorable.push(...(body.snapshot?.items ?? []));
    } catch (error) {
      const unknown = !dryRun && isUnknown(error);
      // Whoever may do nothing, or asks for what can't be, isn't asked again for each portion.
      const final = [400, 401, 403, 404].includes(error.status);
      if (final && at === 0) return { refused: error };
      failed(items, unknown ? UNKNOWN : error.status, unknown ? `It isn't known whether this was set. ${sentence(error)}` : sentence(error));
      if (unknown) {
        const lost = new Set(items.map(keyOf));
        restorable.push(...planned.filter((one) => lost.has(keyOf(one))));
      }
      if (unknown || final) {
        failed(all.slice(at + PORTION), 0, "Not sent, since the part before it wasn't answered: left as it is.");
        break;
      }
    }
  }
  return { results, restorable };
}

const keyOf = ({ namespace, name }) => `${namespace}/${name}`;
/** Nobody knows whether it was carried out. */
const UNKNOWN = 504;
const isUnknown = (error) => error instanceof NoAnswer || error.status === UNKNOWN;

const itemsOf = (of, wish) => of.items.map(({ namespace, name }) => ({ namespace, name, replicaCount: Number(wish.count) }));
const timeOf = (wish) => (wish.time ? { durationSeconds: seconds(wish.time) } : {});

async function check(of, wish) {
  of.live.heard = null;
  of.dialog.show(waiting("Asking the server …"));
  // The same in the write: what it will have to be undone by is known before it is made.
  const key = crypto.randomUUID();
  const { results, restorable, refused } = await send("/batches", itemsOf(of, wish), timeOf(wish), { reason: wish.reason, key, dryRun: true });
  if (of.dialog.signal.aborted) return;
  if (refused) return ask(of, wish, alertOf(sentence(refused)));
  confirm({ ...of, key, planned: restorable }, wish, results);
}

function confirm(of, wish, would) {
  const { dialog } = of;
  const count = Number(wish.count);
  const able = would.filter((one) => !one.error);
  const ends = able.map((one) => leaseEnds(of, one, wish.time !== "")).filter(Boolean).length;
  const time = wish.time ? `, for ${duration(seconds(wish.time))}` : "";
  const yes = el("button", { type: "submit", class: count === 0 ? "primary danger" : "primary", autofocus: true }, `Set ${able.length} to ${count}`);
  const zero = count === 0 && able.length > 0 && typed(String(able.length), `This stops every Pod of them. Type ${able.length} to go on`, yes);
  yes.disabled ||= able.length === 0;
  dialog.show(
    form(
      () => yes.disabled || write(of, wish, new Map(able.map((one) => [keyOf(one), one]))),
      el("p", { class: "fromto" }, `${able.length} of ${would.length} to `, el("strong", {}, count), time),
      able.length < would.length && warning("Those that are refused will be left as they are."),
      ends > 0 && warning(wish.time ? `${ends} are leased: their leases are renewed.` : `${ends} are leased: this ends their leases, and they do not go back by themselves.`),
      list(would.map((one) => outcome(one, leaseEnds(of, one, wish.time !== "")))),
      zero,
      buttons(button("Back", () => ask(of, wish)), yes),
    ),
  );
}

/** What becomes of the lease of one, where it is known to have one. */
function leaseEnds({ leaseOf }, one, leased) {
  const lease = leaseOf?.(one.namespace, one.name);
  // A lease whose count isn't there any more is over.
  if (one.error || !lease || lease.replicaCount !== one.previousReplicaCount) return "";
  return leased ? `renews ${lease.holder}'s lease, then ${lease.previousReplicaCount}` : `ends ${lease.holder}'s lease, does not go back to ${lease.previousReplicaCount}`;
}

async function write(of, wish, able) {
  const { dialog, key, planned } = of;
  const progress = el("p", { class: "loading", role: "status" }, "Setting the counts …");
  dialog.show(progress, el("p", { class: "hint" }, "It goes on if this is closed, and what comes of it is told."));
  const tell = (at, all) => (progress.textContent = `Setting the counts … ${at} of ${all}`);
  const to = `to ${wish.count}${wish.time ? ` for ${duration(seconds(wish.time))}` : ""}`;
  const items = itemsOf(of, wish).filter((one) => able.has(keyOf(one)));
  // A tab that is closed or loaded anew meanwhile has its way back.
  const known = planned.filter((one) => able.has(keyOf(one)));
  if (known.length) keep({ id: key, takenAt: new Date().toISOString(), words: `${items.length} ${to}, not known to have ended`, items: known });
  const { results, restorable, refused } = await send("/batches", items, timeOf(wish), { reason: wish.reason, key, planned: known, progress: tell });
  if (refused) {
    keep({ id: key, items: [] });
    return failedWhole(of, refused, () => ask(of, wish, alertOf(sentence(refused))));
  }
  const lost = wish.time ? "if they were, they go back by themselves." : "and what they were isn't kept: look at them before you go on.";
  // What the check left as it is has nothing to be brought back to.
  const stays = (one) => able.get(keyOf(one))?.changed === false;
  ended({ ...of, id: key, lost, stays }, results, restorable, `${changedOf(results)} set ${to}`);
}

const changedOf = (results) => results.filter((one) => one.changed).length;

/** A batch of which nothing was begun: told also to whoever has closed its dialog. */
function failedWhole({ dialog }, error, show) {
  if (dialog.signal.aborted) announce(`Nothing was changed. ${sentence(error)}`, "error");
  else show();
}

/** How many came to what, in words. */
function sums(results) {
  const unknown = results.filter((one) => one.error && one.status === UNKNOWN).length;
  const failed = results.filter((one) => one.error).length - unknown;
  const same = results.filter((one) => !one.error && one.changed === false && !one.until).length;
  return `${failed ? `, ${failed} failed` : ""}${unknown ? `, ${unknown} unknown` : ""}${same ? `, ${same} already so` : ""}`;
}

/** `of.lost` tells what to do about those of which nobody knows and nothing is kept. */
function ended({ dialog, done, leaseOf, id, lost, stays = () => false }, results, restorable, words) {
  const snapshot = { id, takenAt: new Date().toISOString(), words: `${words}${sums(results)}`, items: restorable };
  keep(snapshot);
  const failed = results.filter((one) => one.error).length;
  const unknown = results.filter((one) => one.error && one.status === UNKNOWN);
  const kept = new Set(restorable.map(keyOf));
  const bare = unknown.filter((one) => !kept.has(keyOf(one)) && !stays(one)).length;
  const held = unknown.filter((one) => kept.has(keyOf(one))).length;
  announce(snapshot.words, failed ? "error" : "info");
  done();
  if (dialog.signal.aborted) return;
  dialog.show(
    el("p", { role: "status", class: "fromto" }, `${results.length - failed} done${sums(results)}.`),
    held > 0 && warning(`Whether ${held} were set isn't known. Undo… brings them back too, to what they were at the check, if they were set.`),
    bare > 0 && warning(`Whether ${bare} were set isn't known: ${lost}`),
    list(results.map((one) => outcome(one))),
    buttons(
      restorable.length > 0 && button("Download snapshot", () => download(snapshot)),
      restorable.length > 0 && button("Undo…", () => (dialog.close(), restore(snapshot, done, leaseOf))),
      button("Close", dialog.close, { class: "primary", autofocus: true }),
    ),
  );
}

/** Shows what can be undone: this tab's batches, and a snapshot out of a file. */
export function undo(done, leaseOf) {
  const dialog = openDialog("Undo", { wide: true });
  const said = el("div");
  const file = el("input", { type: "file", accept: ".json,application/json" });
  file.addEventListener("change", async () => {
    try {
      const { takenAt, items } = JSON.parse(await file.files[0].text());
      if (!Array.isArray(items) || items.length === 0) throw new Error("nothing in it");
      dialog.close();
      restore({ takenAt, items, words: file.files[0].name }, done, leaseOf);
    } catch {
      said.replaceChildren(alertOf("This file is no snapshot of a batch."));
    }
  });
  dialog.show(
    el("p", {}, "Brings back what was before a batch, and leaves alone what others have changed since."),
    el(
      "ul",
      { class: "undo" },
      snapshots().map((one) =>
        el(
          "li",
          {},
          el("span", {}, `${clock(one.takenAt)}: ${one.words}`),
          button("Download", () => download(one)),
          button("Undo…", () => (dialog.close(), restore(one, done, leaseOf)), { class: "primary" }),
        ),
      ),
    ),
    field("A snapshot from a file", file),
    said,
    buttons(button("Close", dialog.close)),
  );
}

async function restore(snapshot, done, leaseOf) {
  const dialog = openDialog("Undo", { wide: true });
  const of = { dialog, done, leaseOf, lost: "undo once more, which leaves alone what is as it was already." };
  const go = async (dryRun) => {
    dialog.show(waiting(dryRun ? "Asking the server …" : "Bringing back what was …"));
    return send("/batches/restore", snapshot.items, {}, { dryRun });
  };
  const { results, refused } = await go(true);
  if (dialog.signal.aborted) return;
  const wrong = refused && alertOf(sentence(refused));
  if (wrong) return dialog.show(wrong, buttons(button("Close", dialog.close)));
  const able = changedOf(results);
  const stops = results.filter((one) => one.changed && one.replicaCount === 0).length;
  const ends = results.map((one) => leaseEnds(of, one, false)).filter(Boolean).length;
  const yes = el("button", { type: "submit", class: "primary", disabled: able === 0, autofocus: true }, `Bring back ${able}`);
  const zero = stops > 0 && typed(String(stops), `${stops} go to 0, which stops every Pod of them. Type ${stops} to go on`, yes);
  const write = async () => {
    if (yes.disabled) return;
    const { results: made, restorable, refused: why } = await go(false);
    if (why) return failedWhole(of, why, () => dialog.show(alertOf(sentence(why)), buttons(button("Close", dialog.close))));
    ended(of, made, restorable, `${changedOf(made)} brought back`);
  };
  dialog.show(
    form(
      write,
      el("p", { class: "fromto" }, `${able} of ${results.length} can be brought back.`),
      ends > 0 && warning(`${ends} are leased: this ends their leases.`),
      list(results.map((one) => outcome(one, leaseEnds(of, one, false)))),
      zero,
      buttons(button("Cancel", dialog.close), yes),
    ),
  );
}

/** What became of one, or would: its name, and words. */
function outcome(one, lease = "") {
  const title = keyOf(one);
  if (one.error) return [title, one.error, "failed"];
  const same = one.changed === false ? "stays " : `${one.previousReplicaCount} → `;
  const until = one.until ? ` until ${clock(one.until)}` : "";
  const more = [lease, ...(one.warnings ?? [])].filter(Boolean);
  const late = one.status === 202 ? ["this server's copy hasn't caught up yet"] : [];
  return [title, [`${same}${one.replicaCount}${until}`, ...more, ...late].join("; "), more.length ? "warned" : "ok"];
}

function list(all) {
  return el(
    "div",
    { class: "results", tabindex: 0, role: "region", "aria-label": "Deployments" },
    el("table", {}, el("tbody", {}, all.map(([title, words, state]) => el("tr", { "data-state": state }, el("th", { scope: "row" }, title), el("td", {}, words))))),
  );
}

function download({ takenAt, items }) {
  const address = URL.createObjectURL(new Blob([`${JSON.stringify({ takenAt, items }, null, 1)}\n`], { type: "application/json" }));
  const link = el("a", { href: address, download: `headcount-snapshot-${takenAt.replaceAll(/[:.]/g, "-")}.json` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
