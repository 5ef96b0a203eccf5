// Many counts in one go: what would become of each, a confirmation, what became of each, and the way back.

import { call, NoAnswer, sentence } from "./api.js";
import { alertOf, buttons, field, form, headerText, openDialog, typed, warning } from "./dialog.js";
import { announce, button, el } from "./dom.js";
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
    sessionStorage.setItem(KEY, JSON.stringify([snapshot, ...snapshots()].slice(0, KEPT)));
  } catch {
    announce("This browser keeps nothing: download the snapshot if you want to go back later.", "error");
  }
}

/** Opens the dialog for these Deployments, `{ namespace, name, replicaCount }` each. */
export function changeMany(items, done) {
  const dialog = openDialog(`Set ${items.length} Deployments`, { wide: true });
  ask({ dialog, items, done }, {});
}

function ask(of, wish, wrong) {
  const { dialog, items } = of;
  const count = el("input", { type: "number", inputmode: "numeric", min: 0, step: 1, autofocus: true, ".value": wish.count ?? "" });
  const time = el("input", { type: "text", placeholder: "1h, 90m, 1d", autocomplete: "off", ".value": wish.time ?? "" });
  const reason = el("input", { type: "text", maxlength: 256, autocomplete: "off", ".value": wish.reason ?? "" });
  const said = el("div", {}, wrong);
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
      list(items.map((one) => [`${one.namespace}/${one.name}`, `now ${one.replicaCount}`])),
      field("New count of each", count),
      field("For how long", time, "Empty: until somebody sets another. Otherwise they go back by themselves."),
      field("Reason", reason),
      said,
      buttons(button("Cancel", dialog.close), el("button", { type: "submit", class: "primary" }, "Check")),
    ),
  );
}

/** Sends it in portions; what a portion's failure leaves is told of each of its Deployments. */
async function send(of, path, all, rest, reason, dryRun, progress) {
  const results = [];
  const restorable = [];
  for (let at = 0; at < all.length; at += PORTION) {
    const items = all.slice(at, at + PORTION);
    progress?.(at, all.length);
    try {
      const headers = reason ? { "x-reason": headerText(reason) } : {};
      const { body } = await call("POST", `${path}${dryRun ? "?dryRun=true" : ""}`, { body: { items, ...rest }, headers, deadline: DEADLINE });
      results.push(...body.results);
      restorable.push(...(body.snapshot?.items ?? []));
    } catch (error) {
      const unknown = !dryRun && (error instanceof NoAnswer || error.status === 504);
      const words = unknown ? `It isn't known whether this was set. ${sentence(error)}` : sentence(error);
      results.push(...items.map(({ namespace, name }) => ({ namespace, name, status: error.status ?? 0, error: words })));
      // Whoever may do nothing isn't asked again for each portion.
      if ([401, 403, 404].includes(error.status) && at === 0 && all.length <= PORTION) return { refused: error };
    }
  }
  return { results, restorable };
}

const itemsOf = (of, wish) => of.items.map(({ namespace, name }) => ({ namespace, name, replicaCount: Number(wish.count) }));
const leaseOf = (wish) => (wish.time ? { durationSeconds: seconds(wish.time) } : {});

async function check(of, wish) {
  of.dialog.show(el("p", { class: "loading" }, "Asking the server …"));
  const { results, refused } = await send(of, "/batches", itemsOf(of, wish), leaseOf(wish), wish.reason, true);
  if (of.dialog.signal.aborted) return;
  if (refused) return ask(of, wish, alertOf(sentence(refused)));
  confirm(of, wish, results);
}

function confirm(of, wish, would) {
  const { dialog } = of;
  const count = Number(wish.count);
  const able = would.filter((one) => !one.error);
  const time = wish.time ? `, for ${duration(seconds(wish.time))}` : "";
  const yes = el("button", { type: "submit", class: count === 0 ? "primary danger" : "primary", autofocus: true }, `Set ${able.length} to ${count}`);
  const zero = count === 0 && able.length > 0 && typed(String(able.length), `This stops every Pod of them. Type ${able.length} to go on`, yes);
  yes.disabled ||= able.length === 0;
  dialog.show(
    form(
      () => yes.disabled || write({ ...of, items: able }, wish),
      el("p", { class: "fromto" }, `${able.length} of ${would.length} to `, el("strong", {}, count), time),
      able.length < would.length && warning("Those that are refused will be left as they are."),
      list(would.map(outcome)),
      zero,
      buttons(button("Back", () => ask(of, wish)), yes),
    ),
  );
}

async function write(of, wish) {
  const { dialog } = of;
  const progress = el("p", { class: "loading", role: "status" }, "Setting the counts …");
  dialog.show(progress);
  const tell = (at, all) => (progress.textContent = `Setting the counts … ${at} of ${all}`);
  const { results, restorable, refused } = await send(of, "/batches", itemsOf(of, wish), leaseOf(wish), wish.reason, false, tell);
  if (refused) return ask(of, wish, alertOf(sentence(refused)));
  const words = `${restorable.length} set to ${wish.count}${wish.time ? ` for ${duration(seconds(wish.time))}` : ""}`;
  ended(of, results, restorable, words);
}

function ended({ dialog, done }, results, restorable, words) {
  const snapshot = { takenAt: new Date().toISOString(), words, items: restorable };
  if (restorable.length) keep(snapshot);
  const failed = results.filter((one) => one.error).length;
  announce(`${words}${failed ? `, ${failed} failed` : ""}`, failed ? "error" : "info");
  done();
  if (dialog.signal.aborted) return;
  dialog.show(
    el("p", { role: "status", class: "fromto" }, `${results.length - failed} done${failed ? `, ${failed} failed` : ""}.`),
    list(results.map(outcome)),
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
          el("span", {}, `${clock(one.takenAt)}: ${one.words}`),
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
  const of = { dialog, items: snapshot.items, done };
  const go = async (dryRun) => {
    dialog.show(el("p", { class: "loading" }, dryRun ? "Asking the server …" : "Bringing back what was …"));
    return send(of, "/batches/restore", snapshot.items, {}, "", dryRun);
  };
  const { results, refused } = await go(true);
  if (dialog.signal.aborted) return;
  const wrong = refused && alertOf(sentence(refused));
  if (wrong) return dialog.show(wrong, buttons(button("Close", dialog.close)));
  const able = results.filter((one) => !one.error).length;
  const write = async () => {
    const { results: made, restorable, refused: why } = await go(false);
    if (why) return dialog.show(alertOf(sentence(why)), buttons(button("Close", dialog.close)));
    ended(of, made, restorable, `${restorable.length} brought back`);
  };
  dialog.show(
    form(
      write,
      el("p", { class: "fromto" }, `${able} of ${results.length} can be brought back.`),
      list(results.map(outcome)),
      buttons(button("Cancel", dialog.close), el("button", { type: "submit", class: "primary", disabled: able === 0, autofocus: true }, `Bring back ${able}`)),
    ),
  );
}

/** What became of one, or would: its name, and words. */
function outcome(one) {
  const title = `${one.namespace}/${one.name}`;
  if (one.error) return [title, one.error, "failed"];
  const same = one.changed === false ? "stays " : `${one.previousReplicaCount} → `;
  return [title, `${same}${one.replicaCount}`, "ok"];
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
