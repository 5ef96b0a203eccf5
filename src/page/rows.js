// All Deployments, one number each: what is known of the number is in arrays, so that a hundred thousand cost little.

import { serverNow } from "./times.js";

export const AUTOSCALED = 1;
export const GITOPS = 2;
export const LEASED = 4;
/** The count was set by the one who looks. */
export const MINE = 8;
/** Who else sets the count was asked for. */
export const DETAILED = 16;
/** The caller may not set the count, by what was read of it last. */
export const LOCKED = 32;
/** What else sets the count is known, and who set the one that there was then. */
export const LOOKED = 64;
/** The caller may not read the details. */
export const UNSEEN = 128;

const LEAST = 1024;
/** Numbers that are left alone before one is given to another Deployment: a list may still have it. */
const RESTING = 1024;

export class Rows {
  namespaces = [];
  names = [];
  /** `namespace/name`, which is searched. */
  keys = [];
  desired = new Int32Array(LEAST);
  /** -1: not known. */
  ready = new Int32Array(LEAST);
  /** When another count was seen, in milliseconds; 0: not since this server knows. */
  changedAt = new Float64Array(LEAST);
  flags = new Uint8Array(LEAST);
  chosen = new Uint8Array(LEAST);
  /** Who set the count, where that is known. */
  setBy = [];
  /** Those that are there, by namespace and then name. */
  order = [];
  /** How many rows are chosen. */
  chosenCount = 0;
  #numbers = new Map();
  #free = [];
  #round = 0;
  #rounds = new Uint32Array(LEAST);
  #sorted = true;
  #perNamespace = new Map();

  get size() {
    return this.order.length;
  }

  /** The number of a Deployment, or undefined. */
  find(namespace, name) {
    return this.#numbers.get(`${namespace}/${name}`);
  }

  /** The namespaces that have Deployments, in order. */
  namespaceNames() {
    return [...this.#perNamespace.keys()].sort();
  }

  /** A whole state follows: what isn't put until `end` is gone. */
  begin() {
    this.#round += 1;
  }

  /** Takes in Deployments of a list. */
  put(list) {
    for (const one of list) {
      const row = this.set(one);
      this.#rounds[row] = this.#round;
    }
  }

  /** The state is whole. */
  end() {
    const gone = this.order.filter((row) => this.#rounds[row] !== this.#round);
    for (const row of gone) this.#forget(row);
    if (gone.length) this.order = this.order.filter((row) => this.keys[row] !== "");
    this.sort();
  }

  /** Takes in what a Deployment is now, and returns its number. */
  set({ namespace, name, replicaCount, readyReplicas }, changedAt = 0) {
    const key = `${namespace}/${name}`;
    let row = this.#numbers.get(key);
    if (row === undefined) row = this.#add(namespace, name, key);
    else if (this.desired[row] !== replicaCount) {
      this.changedAt[row] = changedAt || serverNow();
      // Whoever that was: it is asked for anew.
      this.flags[row] &= ~(DETAILED | MINE);
      this.setBy[row] = undefined;
    }
    this.desired[row] = replicaCount;
    this.ready[row] = readyReplicas ?? -1;
    return row;
  }

  /** Forgets one that is gone. */
  delete(namespace, name) {
    const row = this.find(namespace, name);
    if (row === undefined) return;
    this.sort();
    this.order.splice(this.#place(row), 1);
    this.#forget(row);
  }

  /** Chooses a row, or doesn't any more. */
  choose(row, chosen) {
    if (this.keys[row] === "") return;
    this.chosenCount += Number(chosen) - this.chosen[row];
    this.chosen[row] = Number(chosen);
  }

  /** The rows that are chosen, in order. */
  allChosen() {
    return this.order.filter((row) => this.chosen[row]);
  }

  chooseNone() {
    this.chosen.fill(0);
    this.chosenCount = 0;
  }

  /** Sets or clears a flag of one row. */
  flag(row, flag, holds) {
    if (holds) this.flags[row] |= flag;
    else this.flags[row] &= ~flag;
  }

  /** Clears flags of all rows for which `holds`. */
  unflag(flags, holds = () => true) {
    for (let row = 0; row < this.keys.length; row++) if (holds(row)) this.flags[row] &= ~flags;
  }

  /** Brings `order` in order, if something came that wasn't in its place. */
  sort() {
    if (this.#sorted) return;
    this.order.sort((a, b) => this.compare(a, b));
    this.#sorted = true;
  }

  /** By namespace, then name, as the API sorts them. */
  compare(a, b) {
    const [first, second] = [this.namespaces[a], this.namespaces[b]];
    if (first !== second) return first < second ? -1 : 1;
    return this.names[a] < this.names[b] ? -1 : this.names[a] > this.names[b] ? 1 : 0;
  }

  #add(namespace, name, key) {
    const row = this.#free.length > RESTING ? this.#free.shift() : this.keys.length;
    if (row === this.desired.length) this.#grow();
    this.namespaces[row] = namespace;
    this.names[row] = name;
    this.keys[row] = key;
    this.setBy[row] = undefined;
    this.changedAt[row] = 0;
    this.flags[row] = 0;
    this.#numbers.set(key, row);
    this.#perNamespace.set(namespace, (this.#perNamespace.get(namespace) ?? 0) + 1);
    const last = this.order.at(-1);
    // A list comes in order; one that is added later finds its place when somebody looks.
    if (last !== undefined && this.compare(last, row) > 0) this.#sorted = false;
    this.order.push(row);
    return row;
  }

  #forget(row) {
    const namespace = this.namespaces[row];
    const left = this.#perNamespace.get(namespace) - 1;
    if (left) this.#perNamespace.set(namespace, left);
    else this.#perNamespace.delete(namespace);
    this.choose(row, false);
    this.#numbers.delete(this.keys[row]);
    this.keys[row] = "";
    this.#free.push(row);
  }

  /** Where in `order` a row stands. */
  #place(row) {
    let [low, high] = [0, this.order.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.compare(this.order[middle], row) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #grow() {
    for (const name of ["desired", "ready", "changedAt", "flags", "chosen"]) this[name] = doubled(this[name]);
    this.#rounds = doubled(this.#rounds);
  }
}

function doubled(array) {
  const larger = new array.constructor(array.length * 2);
  larger.set(array);
  return larger;
}
