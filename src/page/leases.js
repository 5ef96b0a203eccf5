// Leases: counts that go back by themselves. The view of them; what extends and ends them.

import { call, NoAnswer, pathOf, read, sentence } from "./api.js";
import { alertOf, buttons, field, form, openDialog } from "./dialog.js";
import { announce, button, el, fill, setText } from "./dom.js";
import { LEASED } from "./rows.js";
import { clock, duration, seconds } from "./times.js";

/** Milliseconds between two looks. */
const EVERY = 5_000;

export class Leases {
  element = el("section", { class: "view", "aria-labelledby": "leases-title" });
  list = [];
  #table = el("tbody");
  #note = el("p", { class: "hint" }, "Reading …");
  #rows;
  #on;

  /** `on` has `open(namespace, name)` and `learnt()`. */
  constructor(rows, on) {
    this.#rows = rows;
    this.#on = on;
    this.element.append(
      el("div", { class: "viewhead" }, el("h2", { id: "leases-title" }, "Leases")),
      this.#note,
      el(
        "div",
        { class: "scroll", tabindex: 0, role: "region", "aria-label": "All leases" },
        el("table", {}, el("thead", {}, el("tr", {}, ...["Deployment", "Count", "Left", "Held by", "Reason", "Actions"].map((head) => el("th", { scope: "col" }, head)))), this.#table),
      ),
    );
    setInterval(() => this.#tick(), 1000);
  }

  /** Reads them, and again from time to time. Where there are none to be had it says why, once. */
  async load() {
    clearTimeout(this.timer);
    let again = EVERY;
    try {
      const { body } = await read("/leases");
      for (const { namespace, name } of this.list) this.#flag(namespace, name, false);
      this.list = body;
      for (const { namespace, name } of body) this.#flag(namespace, name, true);
      this.#note.textContent = body.length ? "Each goes back by itself when its time is over, if nobody has set another count by then." : "";
      this.#on.learnt();
    } catch (error) {
      this.list = [];
      this.#note.textContent = sentence(error);
      // Switched off, or not to be seen: that rarely changes.
      if ([403, 404].includes(error.status)) again = 60_000;
    }
    // Who is about to press a button here keeps it under the finger.
    if (!this.element.hidden && !this.#table.contains(document.activeElement)) this.#draw();
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

  #flag(namespace, name, holds) {
    const row = this.#rows.find(namespace, name);
    if (row !== undefined) this.#rows.flag(row, LEASED, holds);
  }

  #draw() {
    const changed = () => {
      document.activeElement?.blur?.();
      this.load();
    };
    fill(
      this.#table,
      this.list.map((lease) => {
        const title = `${lease.namespace}/${lease.name}`;
        return el(
          "tr",
          {},
          el("td", {}, button(title, () => this.#on.open(lease.namespace, lease.name), { class: "link" })),
          el("td", { class: "number" }, el("strong", {}, lease.replicaCount), `, then ${lease.previousReplicaCount}`),
          el("td", { class: "time", "data-until": Date.parse(lease.until), title: clock(lease.until) }, left(lease.until)),
          el("td", {}, lease.holder),
          el("td", {}, lease.reason ?? ""),
          el(
            "td",
            { class: "actions" },
            button("Extend…", () => extendLease(lease, changed), { "aria-label": `Extend the lease of ${title}` }),
            button("End…", () => cancelLease(lease, changed), { "aria-label": `End the lease of ${title}` }),
          ),
        );
      }),
      this.list.length === 0 && el("tr", {}, el("td", { colspan: 6, class: "empty" }, "No leases.")),
    );
  }

  #tick() {
    if (this.element.hidden) return;
    for (const cell of this.#table.querySelectorAll("[data-until]")) setText(cell, left(Number(cell.dataset.until)));
  }
}

function left(until) {
  const rest = (new Date(until).getTime() - Date.now()) / 1000;
  return rest > 0 ? duration(rest) : "going back …";
}

/** Asks for how long a lease goes on. */
export function extendLease(lease, changed) {
  const title = `${lease.namespace}/${lease.name}`;
  const dialog = openDialog(`Extend the lease of ${title}`);
  const ask = (text, wrong) => {
    const time = el("input", { type: "text", placeholder: "2h, 90m, 1d", autocomplete: "off", autofocus: true, ".value": text });
    const submit = () => {
      const length = seconds(time.value);
      if (!(length > 0)) return ask(time.value, alertOf("The time is written 2h, 90m or 1d."));
      const path = pathOf(lease.namespace, lease.name, "/lease");
      send(dialog, "PATCH", path, { durationSeconds: length }, `${title}: leased for ${duration(length)} from now`, changed, (words) => ask(time.value, words));
    };
    dialog.show(
      form(
        submit,
        el("p", {}, `${lease.replicaCount} replicas until ${clock(lease.until)}, then ${lease.previousReplicaCount} again.`),
        field("For how long from now", time),
        wrong,
        buttons(button("Cancel", dialog.close), el("button", { type: "submit", class: "primary" }, "Extend")),
      ),
    );
  };
  ask("1h");
}

/** Asks how a lease ends: back to what was, or with the count that is. */
export function cancelLease(lease, changed) {
  const title = `${lease.namespace}/${lease.name}`;
  const dialog = openDialog(`End the lease of ${title}`);
  const path = pathOf(lease.namespace, lease.name, "/lease");
  const ask = (wrong) =>
    dialog.show(
      el("p", {}, `${lease.replicaCount} replicas until ${clock(lease.until)}. What shall be the count from now on?`),
      wrong,
      buttons(
        button("Cancel", dialog.close),
        button(`Keep ${lease.replicaCount}`, () => send(dialog, "DELETE", `${path}?keep=true`, undefined, `${title} keeps ${lease.replicaCount}`, changed, ask)),
        button(`Back to ${lease.previousReplicaCount}`, () => send(dialog, "DELETE", path, undefined, `${title} goes back to ${lease.previousReplicaCount}`, changed, ask), {
          class: "primary",
          autofocus: true,
        }),
      ),
    );
  ask();
}

async function send(dialog, method, path, body, done, changed, again) {
  dialog.show(el("p", { class: "loading" }, "Asking the server …"));
  try {
    await call(method, path, { body });
    dialog.close();
    announce(done);
  } catch (error) {
    const unknown = error instanceof NoAnswer || error.status === 504;
    again(alertOf(unknown ? `It isn't known whether that was done. ${sentence(error)} Look at the lease before you try again.` : sentence(error)));
  }
  changed();
}
