// Leases: counts that go back by themselves. The view of them; what extends and ends them.

import { call, NoAnswer, pathOf, reach, read, sentence } from "./api.js";
import { alertOf, buttons, field, form, openDialog, typed, waiting } from "./dialog.js";
import { announce, button, cell, el, fill, forbid, keepFocus, onceReleased, setText, tableBody, tableOf, tableRow, timeLeft, timeOf } from "./dom.js";
import { newsOfLease } from "./present.js";
import { LEASED } from "./rows.js";
import { clock, duration, iso, seconds, WRITTEN } from "./times.js";

/** Milliseconds between two looks. */
const EVERY = 5_000;

export class Leases {
  element = el("section", { class: "view", "aria-labelledby": "leases-title" });
  /** Each as the API has it, and `ends`, when its time is over by `performance.now()`. */
  list = [];
  /** When they were read, by `performance.now()`; null: they can't be. */
  readAt = null;
  /** Why no count can be leased here, in the server's words; null where it can, or nobody knows. */
  off = null;
  #table = tableBody();
  #note = el("p", { class: "hint" }, "Reading …");
  #rows;
  #on;
  /** What was shown of who may do what, in one text. */
  #whyTold = "";

  /** `on` has `open(namespace, name)`, `learnt()`, `why(row)`, why a count may not be set, and `visible(rows)`. */
  constructor(rows, on) {
    this.#rows = rows;
    this.#on = on;
    this.element.append(
      el("div", { class: "viewhead" }, el("h2", { id: "leases-title" }, "Leases")),
      this.#note,
      el(
        "div",
        { class: "scroll", tabindex: 0, role: "region", "aria-label": "All leases" },
        tableOf("leases-table", ["Deployment", "Count", "Left", "Held by", "Reason", "Actions"], this.#table),
      ),
    );
  }

  /** Reads them, and again from time to time. Where there are none to be had it says why, once. */
  async load() {
    clearTimeout(this.timer);
    let again = EVERY;
    try {
      if (reach.lost && this.readAt !== null) throw new NoAnswer("the server can't be reached");
      const { body, headers } = await read("/leases");
      const now = performance.now();
      this.off = null;
      this.#take(body.map((lease) => ({ ...lease, ends: now + 1000 * lease.remainingSeconds })), now);
      const missing = headers.get("warning")?.match(/"(.*)"/)?.[1];
      const words = body.length ? "Each goes back by itself when its time is over, if nobody has set another count by then." : "";
      setText(this.#note, missing ? `Not all are here: ${missing}. ${words}` : words);
    } catch (error) {
      // Switched off, or not to be seen: that rarely changes. Anything else says nothing of the leases.
      const none = [403, 404].includes(error.status);
      if (none) {
        again = 60_000;
        this.off = error.status === 404 ? sentence(error) : null;
        this.#take([], null);
      }
      const old = none ? "" : this.readAt === null ? "The leases aren't known. " : `What stands here is ${duration((performance.now() - this.readAt) / 1000)} old. `;
      setText(this.#note, old + sentence(error));
    }
    this.#draw();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.load(), document.hidden ? 60_000 : again);
  }

  /** The lease of a Deployment, if it has one. */
  of(namespace, name) {
    return this.list.find((one) => one.namespace === namespace && one.name === name);
  }

  show() {
    this.#draw();
    this.load();
  }

  /** The caller may do more, or less. */
  meChanged() {
    this.#draw();
  }

  /** More is known of some rows. */
  learnt() {
    if (this.element.hidden) return;
    const told = JSON.stringify(this.list.map((lease) => this.#why(lease)));
    if (told !== this.#whyTold) this.#draw();
  }

  #why({ namespace, name }) {
    return this.#on.why(this.#rows.find(namespace, name));
  }

  #take(list, readAt) {
    for (const { namespace, name } of this.list) this.#flag(namespace, name, false);
    this.list = list;
    this.readAt = readAt;
    for (const { namespace, name } of list) this.#flag(namespace, name, true);
    this.#on.learnt();
  }

  #flag(namespace, name, holds) {
    const row = this.#rows.find(namespace, name);
    if (row !== undefined) this.#rows.flag(row, LEASED, holds);
  }

  #draw() {
    onceReleased(this.#table, () => this.element.hidden || this.#drawNow());
  }

  #drawNow() {
    const changed = () => this.load();
    // Redrawn under whoever is in it: the focus goes back to where it was.
    const focused = this.#table.contains(document.activeElement) && document.activeElement.getAttribute("aria-label");
    this.#whyTold = JSON.stringify(this.list.map((lease) => this.#why(lease)));
    this.#on.visible(this.list.map(({ namespace, name }) => this.#rows.find(namespace, name)).filter((row) => row !== undefined));
    const empty = this.readAt === null ? "None are known." : "No leases.";
    fill(
      this.#table,
      this.list.map((lease) => {
        const title = `${lease.namespace}/${lease.name}`;
        const why = this.#why(lease);
        return tableRow(
          cell({ class: "name" }, button(title, () => this.#on.open(lease.namespace, lease.name), { class: "link", "aria-label": title })),
          cell({ class: "number" }, el("strong", {}, lease.replicaCount), `${lease.state === "pending" ? " (being set)" : ""}, then ${lease.previousReplicaCount}`),
          lease.state === "ending" ? cell({ class: "time" }, "going back …") : timeLeft(lease.ends, "td", { role: "cell", class: "time", title: iso(lease.until) }),
          cell({ class: "who" }, lease.holder),
          cell({ class: "reason" }, lease.reason || null),
          cell(
            { class: "actions" },
            button("Extend…", () => extendLease(lease, changed), { why, "aria-label": `Extend the lease of ${title}` }),
            button("End…", () => cancelLease(lease, changed), { why, "aria-label": `End the lease of ${title}` }),
          ),
        );
      }),
      this.list.length === 0 && tableRow(cell({ colspan: 6, class: "empty" }, empty)),
    );
    if (focused) [...this.#table.querySelectorAll("button")].find((one) => one.getAttribute("aria-label") === focused)?.focus();
    if (focused) keepFocus();
  }
}

/** Asks for how long a lease goes on. */
export function extendLease(lease, changed) {
  const title = `${lease.namespace}/${lease.name}`;
  const dialog = openDialog(`Extend the lease of ${title}`);
  /** Why there is nothing to extend any more, if so; and what shows how it is now. */
  let over = null;
  let follow = () => {};
  const news = newsOfLease(lease, dialog.signal, (now) => {
    over = now ? null : NONE;
    lease = { ...lease, ...now };
    follow();
  });
  const ask = (text, wrong) => {
    const time = el("input", { type: "text", placeholder: "2h, 90m, 1.5h", autocomplete: "off", autofocus: true, ".value": text });
    const submit = () => {
      const length = seconds(time.value);
      if (!(length > 0)) return ask(time.value, alertOf(`The time is ${WRITTEN}.`));
      const path = pathOf(lease.namespace, lease.name, "/lease");
      const told = ({ replicaCount, lease: now }) => `${title}: ${replicaCount} until ${clock(now.until)}, ${duration(now.remainingSeconds ?? length)} from now`;
      send(dialog, title, "PATCH", path, { durationSeconds: length }, told, changed, (words) => ask(time.value, words));
    };
    const line = el("p");
    const yes = el("button", { type: "submit", class: "primary" }, "Extend");
    follow = () => {
      fill(line, `${lease.replicaCount} replicas until `, timeOf(lease.until), `, then ${lease.previousReplicaCount} again.`);
      line.hidden = over !== null;
      forbid(yes, over);
    };
    follow();
    dialog.show(
      form(
        () => (over ? announce(over) : submit()),
        line,
        news,
        field("For how long from now", time, `It is ${WRITTEN}.`),
        wrong,
        buttons(button("Cancel", dialog.close), yes),
      ),
    );
  };
  ask("1h");
}

/** Asks how a lease ends: back to what was, or with the count that is. */
export function cancelLease(lease, changed) {
  const title = `${lease.namespace}/${lease.name}`;
  const dialog = openDialog(`End the lease of ${title}`);
  let over = null;
  let follow = () => {};
  const news = newsOfLease(lease, dialog.signal, (now) => {
    over = now ? null : NONE;
    const other = now && now.previousReplicaCount !== lease.previousReplicaCount;
    lease = { ...lease, ...now };
    // Another one goes back to another count, which is to be asked for anew.
    if (other) asking?.();
    else follow();
  });
  let asking = null;
  const path = pathOf(lease.namespace, lease.name, "/lease");
  const end = (keep) => {
    if (over) return announce(over);
    asking = null;
    const told = (ended) => endInWords(title, lease, keep, ended);
    send(dialog, title, "DELETE", keep ? `${path}?keep=true` : path, undefined, told, changed, ask);
  };
  const ask = (wrong) => {
    asking = ask;
    const { replicaCount, previousReplicaCount: before } = lease;
    const back = button(`Back to ${before}`, () => end(false), { class: before === 0 ? "primary danger" : "primary", autofocus: true });
    const zero = before === 0 && replicaCount !== 0 && typed(lease.name, `Going back to 0 stops every Pod. Type ${lease.name} to do so`, back);
    const keep = button(`Keep ${replicaCount}`, () => end(true));
    const line = el("p");
    follow = () => {
      fill(line, `${lease.replicaCount} replicas until `, timeOf(lease.until), ". What shall be the count from now on?");
      line.hidden = over !== null;
      setText(keep, `Keep ${lease.replicaCount}`);
      forbid(keep, over);
      forbid(back, over);
    };
    follow();
    dialog.show(
      line,
      news,
      wrong,
      zero,
      buttons(button("Cancel", dialog.close), keep, back),
    );
  };
  ask();
}

/** What is said where the lease that a dialog is about is gone. */
const NONE = "The lease has ended: there is nothing to extend or to end any more.";

/** What became of a count whose lease has ended, by the server's answer. */
function endInWords(title, lease, keep, { replicaCount, reverted }) {
  const ended = `The lease of ${title} has ended:`;
  if (replicaCount === lease.replicaCount && keep) return `${ended} ${replicaCount} stays`;
  if (reverted && !keep) return `${ended} the count is ${replicaCount} again`;
  if (replicaCount === lease.replicaCount) return `${ended} the count did not go back to ${lease.previousReplicaCount}, it is ${replicaCount}`;
  if (reverted) return `${ended} the count was ${replicaCount} again already`;
  return `${ended} somebody else had set the count, which was left as it was, ${replicaCount}`;
}

async function send(dialog, title, method, path, body, told, changed, again) {
  dialog.show(waiting("Asking the server …", "No answer yet. It goes on if this is closed, and what comes of it is told."));
  try {
    const answer = await call(method, path, { body, headers: { prefer: "return=representation" } });
    dialog.close();
    announce(`${told(answer.body)}${answer.status === 202 ? "; this server's copy hasn't caught up yet" : ""}.`);
  } catch (error) {
    const unknown = error instanceof NoAnswer || error.status === 504;
    // Whoever looks at the page knows nothing of paths.
    const words = error.status === 404 ? `${NONE} Nothing was done.` : unknown ? `It isn't known whether that was done. ${sentence(error)} Look at the lease before you try again.` : sentence(error);
    if (dialog.signal.aborted) announce(`The lease of ${title}: ${words}`, "error");
    else again(alertOf(words));
  }
  changed();
}
