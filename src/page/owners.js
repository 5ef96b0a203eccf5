// Who set the counts that can be seen, and what else sets them: asked for row by row, when the table stands still.

import { detailOf, ownerInWords } from "./dialog.js";
import { plain } from "./dom.js";
import { AUTOSCALED, DETAILED, GITOPS, LEASED, MINE } from "./rows.js";

/** How long the table has to stand still, in milliseconds. */
const STILL = 250;
/** Questions at a time. */
const AT_ONCE = 4;

export class Owners {
  #rows;
  #me;
  #learnt;
  #visible = [];
  #timer = null;
  #asking = 0;
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

  /** Takes in what a detail says of a row. */
  learn(row, detail) {
    const rows = this.#rows;
    const { lastSetBy, alsoSetBy = [] } = detail;
    const others = new Set(alsoSetBy.map(({ kind }) => (["HorizontalPodAutoscaler", "ScaledObject"].includes(kind) ? AUTOSCALED : GITOPS)));
    rows.flag(row, AUTOSCALED, others.has(AUTOSCALED));
    rows.flag(row, GITOPS, others.has(GITOPS));
    rows.flag(row, LEASED, Boolean(detail.lease));
    rows.flag(row, DETAILED, true);
    rows.setBy[row] = plain(ownerInWords(lastSetBy)) || undefined;
    rows.flag(row, MINE, lastSetBy?.principal !== undefined && lastSetBy.principal === this.#me());
    if (!rows.changedAt[row] && lastSetBy?.at) rows.changedAt[row] = Date.parse(lastSetBy.at);
  }

  async #ask() {
    if (document.hidden) return;
    const rows = this.#rows;
    const next = () => this.#visible.find((row) => rows.keys[row] && !(rows.flags[row] & DETAILED));
    while (this.#asking < AT_ONCE && Date.now() >= this.#notBefore) {
      const row = next();
      if (row === undefined) return;
      rows.flag(row, DETAILED, true);
      this.#asking += 1;
      this.#one(row).finally(() => {
        this.#asking -= 1;
        this.#ask();
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
      if ([403, 404].includes(error.status) || this.#rows.keys[row] !== key) return;
      this.#rows.flag(row, DETAILED, false);
      this.#notBefore = Date.now() + 1000 * Math.max(5, error.retryAfter ?? 0);
      this.see(this.#visible);
    }
  }
}
