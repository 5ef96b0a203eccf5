// The table: as many row elements as fit, which show whatever the scroll position wants of a hundred thousand.

import { el, fill, setAttribute, setText } from "./dom.js";
import { AUTOSCALED, DETAILED, GITOPS, LEASED, LOOKED } from "./rows.js";
import { ago, iso, serverNow } from "./times.js";

/** Row elements above and below what can be seen. */
const SPARE = 6;
/** How long a new count stays marked, in milliseconds. */
const FRESH = 2_500;
/** No element may be higher in any browser. */
const HIGHEST = 15_000_000;

const COLUMNS = [
  ["namespace", "Namespace"],
  ["name", "Deployment"],
  ["desired", "Desired"],
  ["ready", "Ready"],
  ["changed", "Set by"],
];

export class Grid {
  /** The scrolling element, which has the focus. */
  element;
  /** The place in the list of the active row, -1: none. */
  active = -1;
  #rows;
  #shown;
  #on;
  #body;
  #headers = new Map();
  #pool = [];
  #height = 36;
  #frame = 0;
  #anchor = -1;
  /** Whose row was pressed last. */
  #pressed;

  /** `on` has `open(row)`, `change(row)`, `chosen()`, `visible(rows)`, `sort(column)`. */
  constructor(rows, shown, on) {
    this.#rows = rows;
    this.#shown = shown;
    this.#on = on;
    this.#body = el("div", { role: "rowgroup", class: "body" });
    this.element = el(
      "div",
      { role: "grid", id: "grid", class: "grid", tabindex: 0, "aria-label": "Deployments", "aria-multiselectable": "true", "aria-colcount": 7 },
      el("div", { role: "rowgroup", class: "head" }, this.#head()),
      this.#body,
    );
    this.element.addEventListener("scroll", () => this.draw(), { passive: true });
    this.element.addEventListener("keydown", (event) => this.#key(event));
    this.#body.addEventListener("pointerdown", (event) => (this.#pressed = this.#shownAt(event)?.key));
    this.#body.addEventListener("click", (event) => this.#click(event));
    new ResizeObserver(() => this.draw()).observe(this.element);
  }

  #head() {
    const all = el("input", { type: "checkbox", "aria-label": "Select all that are shown", onchange: () => this.chooseAll(all.checked) });
    this.all = all;
    const sortable = COLUMNS.map(([column, label]) => {
      const header = el(
        "div",
        { role: "columnheader", class: `cell ${column}` },
        el("button", { type: "button", onclick: () => this.#on.sort(column) }, label, el("span", { class: "arrow", "aria-hidden": "true" })),
      );
      this.#headers.set(column, header);
      return header;
    });
    return el(
      "div",
      { role: "row", class: "row", "aria-rowindex": 1 },
      el("div", { role: "columnheader", class: "cell choose" }, all),
      sortable,
      el("div", { role: "columnheader", class: "cell badges" }, "Notes"),
    );
  }

  /** Shows what is sorted by. */
  sorted({ by, reversed }) {
    for (const [column, header] of this.#headers) {
      const way = column !== by ? "none" : (by === "namespace" || by === "name") !== reversed ? "ascending" : "descending";
      setAttribute(header, "aria-sort", way);
    }
  }

  /** The row that is active. */
  activeRow() {
    return this.#shown.list[this.active];
  }

  /** Draws with the next frame what is to be seen then. */
  draw() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#paint();
    });
  }

  /** The list is another one: the active row stays the same if it is still there. */
  relist(before) {
    const row = before[this.active];
    this.active = row === undefined ? -1 : this.#shown.list.indexOf(row);
    this.#anchor = -1;
    this.draw();
  }

  #paint() {
    const list = this.#shown.list;
    const height = parseFloat(getComputedStyle(this.element).getPropertyValue("--row")) || 36;
    this.#height = height;
    const head = this.element.firstChild.offsetHeight;
    const room = this.element.clientHeight - head;
    const whole = list.length * height;
    this.#body.style.height = `${Math.min(whole, HIGHEST)}px`;
    setAttribute(this.element, "aria-rowcount", list.length + 1);
    // Beyond what a browser can lay out, the scroll position stands for a part of the whole.
    const scale = whole > HIGHEST ? (whole - room) / (HIGHEST - room) : 1;
    const top = this.element.scrollTop;
    const first = Math.max(0, Math.floor((top * scale) / height) - SPARE);
    const last = Math.min(list.length, Math.ceil((top * scale + room) / height) + SPARE);
    const offset = top - top * scale;
    const now = serverNow();
    while (this.#pool.length < last - first) this.#pool.push(this.#rowElement(this.#pool.length));
    let fresh = false;
    // An element keeps its row while that can be seen, so that little changes with each frame.
    const size = this.#pool.length;
    for (let place = first; place < first + size; place++) {
      const shown = this.#pool[place % size];
      const hidden = place >= last;
      if (shown.hidden !== hidden) shown.element.hidden = shown.hidden = hidden;
      if (hidden) continue;
      const y = `translateY(${place * height + offset}px)`;
      if (shown.y !== y) shown.element.style.transform = shown.y = y;
      fresh = this.#fillRow(shown, list[place], place, now) || fresh;
    }
    if (this.active < 0 || this.active < first || this.active >= last) this.element.removeAttribute("aria-activedescendant");
    else setAttribute(this.element, "aria-activedescendant", this.#pool[this.active % size].element.id);
    if (fresh) setTimeout(() => this.draw(), FRESH);
    const chosen = this.#rows.chosenCount;
    this.all.checked = chosen > 0 && chosen >= list.length;
    this.all.indeterminate = chosen > 0 && !this.all.checked;
    this.#on.visible(list.slice(first, last));
  }

  #rowElement(number) {
    const cell = (name, ...children) => el("div", { role: "gridcell", class: `cell ${name}` }, ...children);
    const text = (name) => el("span", { class: name });
    const parts = {
      choose: el("input", { type: "checkbox", tabindex: -1 }),
      namespace: text("text"),
      name: text("text"),
      desired: text("number"),
      bar: el("span", { class: "fill" }),
      ready: text("number"),
      by: text("text"),
      when: text("when"),
      badges: cell("badges"),
    };
    const element = el(
      "div",
      { role: "row", class: "row", id: `row${number}` },
      cell("choose", parts.choose),
      cell("namespace", parts.namespace),
      cell("name", parts.name),
      cell("desired", parts.desired),
      cell("ready", el("span", { class: "bar", "aria-hidden": "true" }, parts.bar), parts.ready),
      cell("changed", parts.by, parts.when),
      parts.badges,
    );
    this.#body.append(element);
    return { element, parts, hidden: false, place: -1, badges: -1 };
  }

  /** Returns whether the row is marked as fresh. */
  #fillRow(shown, row, place, now) {
    const { parts, element } = shown;
    const rows = this.#rows;
    const [desired, ready, changedAt] = [rows.desired[row], rows.ready[row], rows.changedAt[row]];
    if (shown.place !== place) {
      shown.place = place;
      setAttribute(element, "aria-rowindex", place + 2);
    }
    shown.row = row;
    if (shown.key !== rows.keys[row]) {
      shown.key = rows.keys[row];
      setText(parts.namespace, rows.namespaces[row]);
      setText(parts.name, rows.names[row]);
      setAttribute(parts.name, "title", rows.keys[row]);
      setAttribute(parts.choose, "aria-label", `Select ${rows.keys[row]}`);
    }
    setText(parts.desired, String(desired));
    setText(parts.ready, ready < 0 ? "–" : String(ready));
    const part = ready < 0 ? 0 : desired === 0 ? (ready ? 1 : 0) : Math.min(1, ready / desired);
    if (shown.part !== part) parts.bar.style.transform = `scaleX(${(shown.part = part)})`;
    // Of whom nobody knows the name, once that was asked for.
    const nobody = changedAt > 0 && (rows.flags[row] & (LOOKED | DETAILED)) === (LOOKED | DETAILED) ? "unknown" : "";
    setText(parts.by, rows.setBy[row] ?? nobody);
    setText(parts.when, changedAt ? ago(changedAt, now) : "");
    if (shown.changedAt !== changedAt) {
      shown.changedAt = changedAt;
      setAttribute(parts.when, "title", changedAt ? iso(changedAt) : "");
    }
    const state = ready < 0 ? "unknown" : desired === 0 ? "zero" : ready < desired ? "missing" : ready > desired ? "more" : "whole";
    if (shown.state !== state) element.dataset.state = shown.state = state;
    const chosen = rows.chosen[row] === 1;
    if (shown.chosen !== chosen) {
      parts.choose.checked = shown.chosen = chosen;
      setAttribute(element, "aria-selected", chosen);
    }
    const isActive = place === this.active;
    if (shown.isActive !== isActive) element.classList.toggle("active", (shown.isActive = isActive));
    const fresh = changedAt > 0 && now - changedAt < FRESH;
    if (shown.fresh !== fresh) element.classList.toggle("fresh", (shown.fresh = fresh));
    const flags = rows.flags[row] & (AUTOSCALED | GITOPS | LEASED);
    if (shown.badges !== flags) {
      shown.badges = flags;
      fill(parts.badges, badges(flags));
    }
    return fresh;
  }

  #key(event) {
    if (event.target !== this.element && !(event.target.closest(".head") === null)) return;
    if (event.ctrlKey || event.metaKey) {
      if (event.key.toLowerCase() !== "a") return;
      event.preventDefault();
      return this.chooseAll(true);
    }
    const page = Math.max(1, Math.floor(this.element.clientHeight / this.#height) - 2);
    const steps = { ArrowDown: 1, ArrowUp: -1, j: 1, k: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.key in steps) {
      event.preventDefault();
      const from = this.active;
      this.move(from < 0 ? (steps[event.key] === Infinity ? Infinity : 0) : from + steps[event.key]);
      if (event.shiftKey && from >= 0) this.#chooseBetween(from, this.active);
      return;
    }
    const row = this.activeRow();
    if (row === undefined) return;
    if (event.key === "Enter") this.#on.open(row);
    else if (event.key === "c") this.#on.change(row);
    else if (event.key === " ") this.#toggle(this.active);
    else return;
    event.preventDefault();
  }

  /** Makes the row at a place of the list the active one, and scrolls to it. */
  move(place) {
    const last = this.#shown.list.length - 1;
    this.active = Math.max(0, Math.min(last, place));
    const head = this.element.firstChild.offsetHeight;
    const room = this.element.clientHeight - head;
    const whole = this.#shown.list.length * this.#height;
    const scale = whole > HIGHEST ? (whole - room) / (HIGHEST - room) : 1;
    const top = (this.active * this.#height) / scale;
    if (top < this.element.scrollTop) this.element.scrollTop = top;
    else if (top + this.#height > this.element.scrollTop + room) this.element.scrollTop = top + this.#height - room;
    this.draw();
  }

  /** The row element of an event, with what it shows. */
  #shownAt(event) {
    const element = event.target.closest(".row");
    return this.#pool.find((one) => one.element === element);
  }

  #click(event) {
    const shown = this.#shownAt(event);
    if (!shown) return;
    // What was painted is what was meant, wherever its row is by now; another Deployment may have its place or its number.
    const list = this.#shown.list;
    const place = list[shown.place] === shown.row ? shown.place : list.indexOf(shown.row);
    // One that took its place between press and release wasn't meant. What clicks without a pointer has pressed nothing.
    const other = event.pointerType && this.#pressed !== shown.key;
    if (other || place < 0 || shown.key === "" || this.#rows.keys[shown.row] !== shown.key) {
      shown.chosen = undefined;
      return this.draw();
    }
    if (event.target.closest(".choose")) {
      // A click beside the box is meant for it.
      if (event.shiftKey && this.#anchor >= 0) this.#chooseBetween(this.#anchor, place);
      else this.#toggle(place);
      this.active = place;
    } else {
      this.active = place;
      this.#on.open(shown.row);
    }
    this.draw();
  }

  #toggle(place) {
    const row = this.#shown.list[place];
    this.#rows.choose(row, !this.#rows.chosen[row]);
    this.#anchor = place;
    this.#choiceChanged();
  }

  #chooseBetween(a, b) {
    for (let place = Math.min(a, b); place <= Math.max(a, b); place++) this.#rows.choose(this.#shown.list[place], true);
    this.#choiceChanged();
  }

  /** Chooses all that are shown, or none at all. */
  chooseAll(chosen) {
    this.#rows.chooseNone();
    if (chosen) for (const row of this.#shown.list) this.#rows.choose(row, true);
    this.#choiceChanged();
  }

  #choiceChanged() {
    // What was clicked has changed by itself already.
    for (const shown of this.#pool) shown.chosen = undefined;
    this.draw();
    this.#on.chosen();
  }
}

function badges(flags) {
  return [
    (flags & LEASED) > 0 && el("span", { class: "badge lease", title: "The count is leased" }, "lease"),
    (flags & AUTOSCALED) > 0 && el("span", { class: "badge auto", title: "An autoscaler also sets this count" }, "autoscaler"),
    (flags & GITOPS) > 0 && el("span", { class: "badge git", title: "A GitOps tool also sets this count" }, "GitOps"),
  ];
}
