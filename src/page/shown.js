// Which rows are shown, in which order: found in portions, so that neither a key nor a frame waits for it.

import { nextTask } from "./dom.js";
import { AUTOSCALED, GITOPS, LEASED, MINE } from "./rows.js";

/** Milliseconds without a break. */
const PORTION = 6;
/** Rows between two looks at the clock. */
const STRIDE = 2_048;
/** More rows than there can be: a value and a place fit into one number below 2^53. */
const PLACES = 2 ** 21;

export const FILTERS = {
  unready: (rows, row) => rows.ready[row] >= 0 && rows.ready[row] < rows.desired[row],
  zero: (rows, row) => rows.desired[row] === 0,
  autoscaled: (rows, row) => (rows.flags[row] & (AUTOSCALED | GITOPS)) !== 0,
  leased: (rows, row) => (rows.flags[row] & LEASED) !== 0,
  mine: (rows, row) => (rows.flags[row] & MINE) !== 0,
};

/** What is sorted by: a number, larger first; or a text. */
const NUMBERS = {
  desired: (rows, row) => rows.desired[row],
  // What lacks most comes first, since that is what is looked for.
  ready: (rows, row) => (rows.ready[row] < 0 ? 0 : Math.max(0, rows.desired[row] - rows.ready[row])),
  changed: (rows, row) => Math.floor(rows.changedAt[row] / 1000),
};
const TEXTS = {
  name: (rows, row) => rows.names[row],
};

export class Shown {
  /** Rows' numbers, in the order in which they are shown. */
  list = [];
  words = [];
  namespace = "";
  filters = new Set();
  /** Keys that a label selector selects; null: no selector. */
  selected = null;
  sort = { by: "namespace", reversed: false };
  #rows;
  #changed;
  #running = 0;
  #again = null;

  /** `changed` is called with the former list when there is another one. */
  constructor(rows, changed) {
    this.#rows = rows;
    this.#changed = changed;
  }

  /** Whether other counts make another list. */
  get followsCounts() {
    return this.filters.size > 0 || this.sort.by in NUMBERS;
  }

  /** Finds the list anew, at once; what was being found is dropped. */
  async find() {
    clearTimeout(this.#again);
    this.#again = null;
    const run = ++this.#running;
    const rows = this.#rows;
    rows.sort();
    const order = rows.order;
    const found = [];
    let since = performance.now();
    const holds = this.#predicate();
    for (let at = 0; at < order.length; at++) {
      const row = order[at];
      if (holds === null || holds(row)) found.push(row);
      if (at % STRIDE === 0 && performance.now() - since > PORTION) {
        await nextTask();
        if (run !== this.#running) return;
        since = performance.now();
      }
    }
    const sorted = this.#sorted(found);
    const before = this.list;
    this.list = sorted;
    this.#changed(before);
  }

  /** Finds it anew soon: as often as that is called, it is done once in a while. */
  findSoon(milliseconds = 500) {
    this.#again ??= setTimeout(() => this.find(), milliseconds);
  }

  #predicate() {
    const rows = this.#rows;
    const { words, namespace, selected } = this;
    const filters = [...this.filters].map((name) => FILTERS[name]);
    if (!words.length && !namespace && !filters.length && !selected) return null;
    return (row) =>
      (!namespace || rows.namespaces[row] === namespace) &&
      words.every((word) => rows.keys[row].includes(word)) &&
      filters.every((holds) => holds(rows, row)) &&
      (!selected || selected.has(rows.keys[row]));
  }

  #sorted(found) {
    const { by, reversed } = this.sort;
    const rows = this.#rows;
    if (by in TEXTS) {
      const text = TEXTS[by];
      const texts = found.map((row) => text(rows, row));
      const places = Uint32Array.from(found.keys());
      places.sort((a, b) => (texts[a] < texts[b] ? -1 : texts[a] > texts[b] ? 1 : a - b));
      found = Array.from(places, (place) => found[place]);
    } else if (by in NUMBERS) {
      const number = NUMBERS[by];
      // One number a row, so that the sort compares no objects; equal ones stay in order.
      const values = Float64Array.from(found, (row, place) => -number(rows, row) * PLACES + place);
      values.sort();
      found = Array.from(values, (value) => found[((value % PLACES) + PLACES) % PLACES]);
    }
    return reversed ? found.reverse() : found;
  }
}
