// Who set the counts that can be seen, and what else sets them: asked for row by row, when the table stands still.

import { reach } from "./api.js";
import { detailOf, ownerInWords } from "./dialog.js";
import { AUTOSCALED, DETAILED, GITOPS, LEASED, LOCKED, LOOKED, MINE, UNSEEN } from "./rows.js";

/** How long the table has to stand still, in milliseconds. */
const STILL = 250;
/** Questions at a time. */
const AT_ONCE = 4;

export class Owners {
  #rows;
  #me;
  #learnt;
  #visible = [];
  /** Others that somebody wants looked at, by their keys: their numbers may become others'. */
  #wanted = new Map();
  #timer = null;
  #asking = new Set();
  #notBefore = 0;

  /** `learnt` is called when there is more to show; `me()` is the caller's principal. */
  constructor(rows, me, learnt) {
    this.#rows = rows;
    this.#me = me;
    this.#learnt = learnt;
  }

  /** These rows can be seen now. */
  see(rows) {
    this.#visible = rows;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#ask(), Math.max(STILL, this.#notBefore - Date.now()));
  }

  /** Looks at these rows too, whether they can be seen or not. */
  look(rows) {
    for (const row of rows) this.#wanted.set(this.#rows.keys[row], row);
    this.#ask();
  }

  /** How many of those are still to be looked at. */
  get left() {
    return this.#wanted.size && this.#wanted.size + this.#asking.size;
  }

  /** Takes in what a detail says of a row. */
  learn(row, detail) {
    const rows = this.#rows;
    const { lastSetBy, alsoSetBy = [] } = detail;
    const others = new Set(alsoSetBy.map(({ kind }) => (["HorizontalPodAutoscaler", "ScaledObject"].includes(kind) ? AUTOSCALED : GITOPS)));
    rows.flag(row, AUTOSCALED, others.has(AUTOSCALED));
    rows.flag(row, GITOPS, others.has(GITOPS));
    rows.flag(row, LEASED, Boolean(detail.lease));
    rows.flag(row, DETAILED | LOOKED, true);
    rows.flag(row, LOCKED, !detail.bounds);
    rows.setBy[row] = ownerInWords(lastSetBy) || undefined;
    rows.flag(row, MINE, lastSetBy?.principal !== undefined && lastSetBy.principal === this.#me());
    if (!rows.changedAt[row] && lastSetBy?.at) rows.changedAt[row] = Date.parse(lastSetBy.at);
  }

  async #ask() {
    if (document.hidden) return;
    const rows = this.#rows;
    const open = (row) => rows.keys[row] && !(rows.flags[row] & DETAILED);
    const next = () => {
      const seen = this.#visible.find(open);
      if (seen !== undefined) return seen;
      const wanted = [...this.#wanted].find(([key, row]) => {
        this.#wanted.delete(key);
        return rows.keys[row] === key && open(row);
      });
      return wanted?.[1];
    };
    while (this.#asking.size < AT_ONCE && Date.now() >= this.#notBefore && !reach.lost) {
      const row = next();
      if (row === undefined) return;
      rows.flag(row, DETAILED, true);
      this.#asking.add(row);
      this.#one(row).finally(() => {
        this.#asking.delete(row);
        this.#ask();
        if (!this.left) this.#learnt();
      });
    }
  }

  async #one(row) {
    const key = this.#rows.keys[row];
    try {
      const detail = await detailOf(this.#rows.namespaces[row], this.#rows.names[row]);
      // The row's number may be another Deployment's by now.
      if (this.#rows.keys[row] !== key) return;
      this.learn(row, detail);
      this.#learnt();
    } catch (error) {
      if (this.#rows.keys[row] !== key || error.status === 404) return;
      if (error.status === 403) return this.#rows.flag(row, UNSEEN, true);
      this.#rows.flag(row, DETAILED, false);
      if (this.#wanted.size) this.#wanted.set(key, row);
      this.#notBefore = Date.now() + 1000 * Math.max(5, error.retryAfter ?? 0);
      this.see(this.#visible);
    }
  }
}
