// The latest changes of counts: the view of them, and what the table knows of who set what.

import { NoAnswer, reach, read, sentence } from "./api.js";
import { aged, button, cell, el, fill, keepFocus, onceReleased, tableBody, tableOf, tableRow, timeOf } from "./dom.js";
import { MINE } from "./rows.js";
import { ago, iso } from "./times.js";

/** Milliseconds between two looks, while something changes. */
const EVERY = 2_000;

/** Who made a change, as it is shown. */
export const madeBy = (by) => by?.principal ?? by?.manager?.split(/[:@]/)[0] ?? "unknown";

/** What the end of a lease adds to who made a change: a count that came back by itself is no decision of its holder's. */
const ENDS = { ended: " (end of the lease)", cancelled: " (ended the lease)" };

/** The same of a change. */
export const changedBy = ({ by, lease }) => madeBy(by) + (ENDS[lease] ?? "");

export class History {
  changes = [];
  /** From when on the server knows. */
  since = null;
  wrong = null;
  element = el("section", { class: "view", "aria-labelledby": "history-title" });
  #table;
  #note;
  #timer = null;
  #notBefore = 0;
  #rows;
  #me;
  #on;
  #words = [];

  /** `on` has `open(namespace, name)` and `learnt()`; `me()` is the caller's principal. */
  constructor(rows, me, on) {
    this.#rows = rows;
    this.#me = me;
    this.#on = on;
    this.#table = tableBody();
    this.#note = el("p", { class: "hint" }, "Reading …");
    const search = el("input", { type: "search", placeholder: "Deployment or who", "aria-label": "Search the changes", autocomplete: "off" });
    search.addEventListener("input", () => {
      this.#words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      this.#draw();
    });
    this.element.append(
      el("div", { class: "viewhead" }, el("h2", { id: "history-title" }, "Latest changes"), search),
      this.#note,
      el(
        "div",
        { class: "scroll", tabindex: 0, role: "region", "aria-label": "All changes" },
        tableOf("changes-table", ["When", "Deployment", "Change", "By"], this.#table),
      ),
    );
  }

  /** Something has changed: it is asked for soon. */
  soon() {
    this.#timer ??= setTimeout(() => this.load(), Math.max(300, this.#notBefore - Date.now()));
  }

  async load() {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#notBefore = Date.now() + EVERY;
    try {
      if (reach.lost && this.since !== null) throw new NoAnswer("the server can't be reached");
      const { body } = await read(`/history?limit=${this.element.hidden ? 200 : 1000}`);
      ({ changes: this.changes, since: this.since } = body);
      this.wrong = null;
      this.#learn();
    } catch (error) {
      // Not to be seen, or not to be had: that rarely changes. Anything else is asked for again, also where nothing changes.
      const none = [403, 404].includes(error.status);
      this.wrong = none || this.since === null ? sentence(error) : `What stands here may be old. ${sentence(error)}`;
      if (none) this.changes = [];
      this.#notBefore = Date.now() + (none ? 60_000 : 5_000);
      if (!none) this.soon();
    }
    this.#draw();
  }

  show() {
    this.#draw();
    this.load();
  }

  #learn() {
    const seen = new Set();
    // Newest first: an older change of the same Deployment says nothing of its count.
    for (const { namespace, name, to, time, by } of this.changes) {
      const row = this.#rows.find(namespace, name);
      if (row === undefined || seen.has(row)) continue;
      seen.add(row);
      if (this.#rows.desired[row] !== to) continue;
      this.#rows.changedAt[row] = Date.parse(time);
      if (!by?.principal && !by?.manager) continue;
      this.#rows.setBy[row] = madeBy(by);
      this.#rows.flag(row, MINE, by.principal !== undefined && by.principal === this.#me());
    }
    this.#on.learnt();
  }

  #draw() {
    onceReleased(this.#table, () => this.element.hidden || this.#drawNow());
  }

  #drawNow() {
    // Redrawn under whoever is in it: the focus goes back to where it was.
    const focused = this.#table.contains(document.activeElement) && document.activeElement.textContent;
    const found = this.changes.filter((one) => {
      const text = `${one.namespace}/${one.name} ${changedBy(one)}`.toLowerCase();
      return this.#words.every((word) => text.includes(word));
    });
    fill(this.#note, this.wrong ?? (this.since ? ["All that this server has seen since ", timeOf(this.since), ", at most the latest 1,000."] : "Reading …"));
    fill(
      this.#table,
      found.map((one) =>
        tableRow(
          cell({ class: "time", title: iso(one.time), ...aged(Date.parse(one.time)) }, ago(Date.parse(one.time))),
          cell({ class: "name" }, button(`${one.namespace}/${one.name}`, () => this.#on.open(one.namespace, one.name), { class: "link" })),
          cell({ class: "number" }, changeOf(one)),
          cell({ class: "who" }, changedBy(one)),
        ),
      ),
      found.length === 0 && !this.wrong && tableRow(cell({ colspan: 4, class: "empty" }, "No changes.")),
    );
    if (focused) [...this.#table.querySelectorAll("button")].find((one) => one.textContent === focused)?.focus();
    if (focused) keepFocus();
  }
}

/** `3 → 10`, with a sign of where it goes. */
export function changeOf({ from, to }) {
  const up = to > from;
  return [`${from} → `, el("strong", {}, to), el("span", { class: up ? "up" : "down", "aria-hidden": "true" }, up ? " ▲" : " ▼")];
}

