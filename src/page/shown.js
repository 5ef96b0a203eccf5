// Which rows are shown, in which order: found in portions, so that neither a key nor a frame waits for it.

import { nextTask } from "./dom.js";
import { AUTOSCALED, DETAILED, GITOPS, LEASED, LOOKED, MINE, UNSEEN } from "./rows.js";

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

/** Filters of what a list doesn't tell: whether it is known of a row. */
const KNOWN = {
  autoscaled: (rows, row) => (rows.flags[row] & LOOKED) !== 0,
  mine: (rows, row) => rows.setBy[row] !== undefined || (rows.flags[row] & LOOKED && rows.flags[row] & DETAILED) !== 0,
};
/** What a row is to a search: not asked for, found, not, or nobody knows. */
const [OUT, HOLDS, NOT, UNSURE] = [0, 1, 2, 3];
/** Rows of which that isn't known that are looked at in one go. */
const LOOKS = 500;

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
  /** Rows of which a filter can't tell: how many, and the first of those whose details may be read; and of how many it can. */
  unknown = { count: 0, some: [], known: 0 };
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
    const judge = this.#judge();
    const unknown = { count: 0, some: [], known: 0 };
    for (let at = 0; at < order.length; at++) {
      const row = order[at];
      const verdict = judge(row);
      if (verdict === HOLDS) found.push(row);
      if (verdict === HOLDS || verdict === NOT) unknown.known += 1;
      else if (verdict === UNSURE) {
        unknown.count += 1;
        if (unknown.some.length < LOOKS && !(rows.flags[row] & UNSEEN)) unknown.some.push(row);
      }
      if (at % STRIDE === 0 && performance.now() - since > PORTION) {
        await nextTask();
        if (run !== this.#running) return;
        since = performance.now();
      }
    }
    const sorted = this.#sorted(found);
    const before = this.list;
    this.list = sorted;
    this.unknown = unknown;
    this.#changed(before);
  }

  /** Finds it anew soon: as often as that is called, it is done once in a while. */
  findSoon(milliseconds = 500) {
    this.#again ??= setTimeout(() => this.find(), milliseconds);
  }

  /** What tells whether a row is shown, or would be if what isn't known of it were so. */
  #judge() {
    const rows = this.#rows;
    const { words, namespace, selected } = this;
    const filters = [...this.filters].map((name) => FILTERS[name]);
    if (!words.length && !namespace && !filters.length && !selected) return () => HOLDS;
    const asked = (row) =>
      (!namespace || rows.namespaces[row] === namespace) &&
      words.every((word) => rows.keys[row].includes(word)) &&
      (!selected || selected.has(rows.keys[row]));
    const open = [...this.filters].map((name) => (row) => FILTERS[name](rows, row) || (name in KNOWN && !KNOWN[name](rows, row)));
    return (row) => {
      if (!asked(row)) return OUT;
      if (filters.every((holds) => holds(rows, row))) return HOLDS;
      return open.every((may) => may(row)) ? UNSURE : NOT;
    };
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
