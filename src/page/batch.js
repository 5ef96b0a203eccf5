// Many counts in one go: what would become of each, a confirmation, what became of each, and the way back.

import { call, NoAnswer, sentence } from "./api.js";
import { alertOf, buttons, byHolder, detailOf, field, form, headerText, openDialog, ownerInWords, timeField, typed, waiting, warning, whoseLease } from "./dialog.js";
import { announce, button, el, setText, timeOf } from "./dom.js";
import { hear, newsLine } from "./present.js";
import { clock, duration, seconds, WRITTEN } from "./times.js";

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

/** Opens the dialog for these Deployments, `{ namespace, name, replicaCount }` each. `me` is who looks. */
export function changeMany(items, done, me) {
  const dialog = openDialog(items.length === 1 ? "Set 1 Deployment" : `Set ${items.length} Deployments`, { wide: true });
  const live = { heard: null };
  ask({ dialog, items, done, me, live }, {});
  hear(({ namespace, name, replicaCount, gone }) => {
    const one = items.find((item) => item.namespace === namespace && item.name === name);
    if (!one || (!gone && one.replicaCount === replicaCount)) return;
    one.replicaCount = gone ? undefined : replicaCount;
    live.heard?.(one);
  }, dialog.signal);
}

const nowInWords = ({ replicaCount }) => (replicaCount === undefined ? "deleted" : `now ${replicaCount}`);

function ask(of, wish, wrong) {
  const { dialog, items } = of;
  const count = el("input", { type: "number", inputmode: "numeric", min: 0, step: 1, autofocus: true, ".value": wish.count ?? "" });
  const time = el("input", { type: "text", placeholder: "2h, 90m, 1.5h", autocomplete: "off", ".value": wish.time ?? "" });
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
        ? `The time is ${WRITTEN}. Leave it empty for counts that stay.`
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
      timeField(time, `Empty: until somebody sets another. Otherwise they go back by themselves. It is ${WRITTEN}.`, of.me),
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
/** Others have changed it since: what is to be brought back leaves it alone. */
const LEFT = 412;
const isUnknown = (error) => error instanceof NoAnswer || error.status === UNKNOWN;

const itemsOf = (of, wish) => of.items.map(({ namespace, name }) => ({ namespace, name, replicaCount: Number(wish.count) }));
const timeWished = (wish) => (wish.time ? { durationSeconds: seconds(wish.time) } : {});

async function check(of, wish) {
  of.live.heard = null;
  of.dialog.show(waiting("Asking the server …"));
  // The same in the write: what it will have to be undone by is known before it is made.
  const key = crypto.randomUUID();
  const { results, restorable, refused } = await send("/batches", itemsOf(of, wish), timeWished(wish), { reason: wish.reason, key, dryRun: true });
  if (of.dialog.signal.aborted) return;
  if (refused) return ask(of, wish, alertOf(sentence(refused)));
  confirm({ ...of, key, planned: restorable }, wish, results);
}

function confirm(of, wish, would) {
  const { dialog } = of;
  const count = Number(wish.count);
  const able = would.filter((one) => !one.error);
  const ends = able.filter((one) => one.leaseBefore).length;
  const time = wish.time ? `, for ${duration(seconds(wish.time))}` : "";
  const yes = el("button", { type: "submit", class: count === 0 ? "primary danger" : "primary", autofocus: true }, `Set ${able.length} to ${count}`);
  const zero = count === 0 && able.length > 0 && typed(String(able.length), `This stops every Pod of them. Type ${able.length} to go on`, yes);
  yes.disabled ||= able.length === 0;
  const table = list(would.map((one) => outcome(one, leaseInWords(one, "renews", "ends"))));
  const news = newsLine();
  of.live.heard = marking(of, would, [...table.querySelectorAll("td")], news);
  // What the stream told while the check was under way.
  for (const one of of.items) of.live.heard(one);
  dialog.show(
    form(
      () => yes.disabled || write(of, wish, would),
      el("p", { class: "fromto" }, `${able.length} of ${would.length} to `, el("strong", {}, count), time),
      able.length < would.length && warning("Those that are refused will be left as they are."),
      ends > 0 && warning(`${leasedOnes(ends)}: ${wish.time ? "their leases are renewed." : "this ends their leases, and they do not go back by themselves."}`),
      news,
      table,
      zero,
      buttons(button("Back", () => ask(of, wish)), yes),
    ),
  );
}

/**
 * Follows what a confirmation shows, and returns what is told of each that the stream tells of: what isn't any more as it was at the
 * check is marked, and told of. Who did it is read.
 */
function marking({ dialog, items, live }, would, cells, news) {
  const at = new Map(would.map((one, place) => [keyOf(one), { base: one.previousReplicaCount, cell: cells[place], was: cells[place].textContent, state: cells[place].parentElement.dataset.state }]));
  // What was refused has no count in its answer.
  for (const one of items) at.get(keyOf(one)).base ??= one.replicaCount;
  const marks = new Map();
  const mark = (key, words) => {
    const { cell, was, state } = at.get(key);
    if (words) marks.set(key, words);
    else marks.delete(key);
    setText(cell, words ? `${was}; ${words}` : was);
    cell.parentElement.dataset.state = words ? "warned" : state;
    const few = [...marks].slice(0, 5).map(([name, one]) => `${name}, ${one}`).join("; ");
    const more = marks.size > 5 ? `; and ${marks.size - 5} more` : "";
    setText(news, marks.size ? `Changed since the check: ${few}${more}.` : "");
  };
  const heard = async (one) => {
    const key = keyOf(one);
    const { base } = at.get(key);
    if (one.replicaCount === base) return mark(key, null);
    if (one.replicaCount === undefined) return mark(key, "deleted");
    const told = one.replicaCount;
    const detail = await detailOf(one.namespace, one.name, dialog.signal).catch(() => null);
    // Another is told of by now, or the confirmation is gone.
    if (dialog.signal.aborted || live.heard !== heard || one.replicaCount !== told) return;
    const now = detail?.replicas.desired ?? told;
    const by = ownerInWords(detail?.lastSetBy);
    const lease = detail?.lease ? `, leased${byHolder(detail.lease)} until ${clock(detail.lease.until)}` : "";
    mark(key, now === base ? null : `now ${now}${by && `, by ${by}`}${lease}`);
  };
  return heard;
}

/** What a write does to the lease that there is, or has done, in these verbs; an empty text where there is none. */
function leaseInWords({ leaseBefore: lease, until, replicaCount }, renews, ends) {
  if (!lease) return "";
  const whose = whoseLease(lease);
  if (until) return `${renews} ${whose}, then ${lease.previousReplicaCount}`;
  return lease.previousReplicaCount === replicaCount ? `${ends} ${whose}` : `${ends} ${whose}, does not go back to ${lease.previousReplicaCount}`;
}

/** The same of what was written over what was `planned`, which may not have known of the lease. */
function leaseBecame(one, planned) {
  const words = leaseInWords(one, "renewed", "ended");
  return words && planned?.leaseBefore?.takenAt !== one.leaseBefore.takenAt ? `${words}: it began after the check` : words;
}

async function write(of, wish, would) {
  of.live.heard = null;
  const able = new Map(would.filter((one) => !one.error).map((one) => [keyOf(one), one]));
  const { dialog, key, planned } = of;
  const progress = el("p", { class: "loading", role: "status" }, "Setting the counts …");
  dialog.show(progress, el("p", { class: "hint" }, "It goes on if this is closed, and what comes of it is told."));
  const tell = (at, all) => setText(progress, `Setting the counts … ${at} of ${all}`);
  const to = `to ${wish.count}${wish.time ? ` for ${duration(seconds(wish.time))}` : ""}`;
  const items = itemsOf(of, wish).filter((one) => able.has(keyOf(one)));
  // A tab that is closed or loaded anew meanwhile has its way back.
  const known = planned.filter((one) => able.has(keyOf(one)));
  if (known.length) keep({ id: key, takenAt: new Date().toISOString(), words: `${items.length} ${to}, not known to have ended`, items: known });
  const { results, restorable, refused } = await send("/batches", items, timeWished(wish), { reason: wish.reason, key, planned: known, progress: tell });
  if (refused) {
    keep({ id: key, items: [] });
    return failedWhole(of, refused, () => ask(of, wish, alertOf(sentence(refused))));
  }
  const lost = wish.time ? "if they were, they go back by themselves." : "and what they were isn't kept: look at them before you go on.";
  // What the check left as it is has nothing to be brought back to.
  const stays = (one) => able.get(keyOf(one))?.changed === false;
  const more = (one) => [leaseBecame(one, able.get(keyOf(one))), otherThan(able.get(keyOf(one)), one)].filter(Boolean).join("; ");
  const left = would.filter((one) => one.error);
  ended({ ...of, id: key, lost, stays, more, left }, results, restorable, `${changedOf(results)} set ${to}`);
}

/** That a count was set over another one than that of the check. */
function otherThan(planned, { error, previousReplicaCount: was }) {
  return error || !planned || planned.previousReplicaCount === was ? "" : `it was ${planned.previousReplicaCount} at the check`;
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
  const left = results.filter((one) => one.error && one.status === LEFT).length;
  const failed = results.filter((one) => one.error).length - unknown - left;
  const same = results.filter((one) => !one.error && one.changed === false && !one.until).length;
  return `${failed ? `, ${failed} failed` : ""}${left ? `, ${left} left as others have made ${left === 1 ? "it" : "them"}` : ""}${unknown ? `, ${unknown} unknown` : ""}${same ? `, ${same} already so` : ""}`;
}

/** `of.lost` tells what to do about those of which nobody knows and nothing is kept. */
function ended({ dialog, done, id, lost, stays = () => false, more, left = [] }, results, restorable, words) {
  const out = left.length ? `, ${left.length} left out` : "";
  const snapshot = { id, takenAt: new Date().toISOString(), words: `${words}${sums(results)}${out}`, items: restorable };
  keep(snapshot);
  const failed = results.filter((one) => one.error).length;
  const wrong = results.some((one) => one.error && one.status !== LEFT);
  const unknown = results.filter((one) => one.error && one.status === UNKNOWN);
  const kept = new Set(restorable.map(keyOf));
  const bare = unknown.filter((one) => !kept.has(keyOf(one)) && !stays(one)).length;
  const held = unknown.filter((one) => kept.has(keyOf(one))).length;
  announce(snapshot.words, wrong ? "error" : "info");
  done();
  if (dialog.signal.aborted) return;
  dialog.show(
    el("p", { role: "status", class: "fromto" }, `${results.length - failed} done${sums(results)}${out}.`),
    held > 0 && warning(`Whether ${held} were set isn't known. Undo… brings them back too, to what they were at the check, if they were set.`),
    bare > 0 && warning(`Whether ${bare} were set isn't known: ${lost}`),
    list([...results.map((one) => outcome(one, more(one))), ...left.map((one) => outcome({ ...one, error: `left out, as the check refused it: ${one.error}` }))]),
    buttons(
      restorable.length > 0 && button("Download snapshot", () => download(snapshot)),
      restorable.length > 0 && button("Undo…", () => (dialog.close(), restore(snapshot, done))),
      button("Close", dialog.close, { class: "primary", autofocus: true }),
    ),
  );
}

/** Shows what can be undone: this tab's batches, and a snapshot out of a file. */
export function undo(done) {
  const dialog = openDialog("Undo", { wide: true });
  const said = el("div");
  const file = el("input", { type: "file", accept: ".json,application/json" });
  file.addEventListener("change", async () => {
    try {
      const { takenAt, items } = JSON.parse(await file.files[0].text());
      if (!Array.isArray(items) || items.length === 0) throw new Error("nothing in it");
      dialog.close();
      restore({ takenAt, items, words: file.files[0].name }, done);
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
          el("span", {}, timeOf(one.takenAt), `: ${one.words}`),
          button("Download", () => download(one)),
          button("Undo…", () => (dialog.close(), restore(one, done)), { class: "primary" }),
        ),
      ),
    ),
    field("A snapshot from a file", file),
    said,
    buttons(button("Close", dialog.close)),
  );
}

async function restore(snapshot, done) {
  const dialog = openDialog("Undo", { wide: true });
  const of = { dialog, done, lost: "undo once more, which leaves alone what is as it was already." };
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
  const planned = new Map(results.map((one) => [keyOf(one), one]));
  const ends = results.filter((one) => one.leaseBefore).length;
  const yes = el("button", { type: "submit", class: "primary", disabled: able === 0, autofocus: true }, `Bring back ${able}`);
  const zero = stops > 0 && typed(String(stops), `${stops} go to 0, which stops every Pod of them. Type ${stops} to go on`, yes);
  const write = async () => {
    if (yes.disabled) return;
    const { results: made, restorable, refused: why } = await go(false);
    if (why) return failedWhole(of, why, () => dialog.show(alertOf(sentence(why)), buttons(button("Close", dialog.close))));
    ended({ ...of, more: (one) => leaseBecame(one, planned.get(keyOf(one))) }, made, restorable, `${changedOf(made)} brought back`);
  };
  dialog.show(
    form(
      write,
      el("p", { class: "fromto" }, able ? `${able} of ${results.length} can be brought back.` : "Nothing is left to bring back."),
      ends > 0 && warning(`${leasedOnes(ends)}: this ends their leases, and what is brought back stays.`),
      list(results.map((one) => outcome(one, leaseInWords(one, "renews", "ends")))),
      zero,
      able ? buttons(button("Cancel", dialog.close), yes) : buttons(button("Close", dialog.close, { class: "primary", autofocus: true })),
    ),
  );
}

/** What became of one, or would: its name, and words. */
function outcome(one, lease = "") {
  const title = keyOf(one);
  if (one.error) return [title, one.error, one.status === LEFT ? "warned" : "failed"];
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

const leasedOnes = (count) => (count === 1 ? "1 is leased" : `${count} are leased`);

function download({ takenAt, items }) {
  const address = URL.createObjectURL(new Blob([`${JSON.stringify({ takenAt, items }, null, 1)}\n`], { type: "application/json" }));
  const link = el("a", { href: address, download: `headcount-snapshot-${takenAt.replaceAll(/[:.]/g, "-")}.json` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
