// The panel of one Deployment: all that is known of it, kept up to date while it is open.

import { call, pathOf, pause, reach, sentence } from "./api.js";
import { changeCount } from "./change.js";
import { alertOf, boundsInWords, byHolder, othersInWords, ownerInWords, warning } from "./dialog.js";
import { aged, announce, button, el, fill, onceReleased, timeLeft, timeOf } from "./dom.js";
import { changedBy, changeOf } from "./history.js";
import { cancelLease, extendLease } from "./leases.js";
import { rolloutBar } from "./rollout.js";
import { ago, iso, serverNow } from "./times.js";

/** Seconds between two looks, while Pods come and go, and otherwise. */
const MOVING = 1;
const STILL = 4;

export class Details {
  element = el("aside", { class: "details", "aria-labelledby": "details-title", hidden: true, tabindex: -1 });
  /** `{ namespace, name }` of what is shown, or null. */
  of = null;
  #on;
  #looking = null;
  #bar = rolloutBar();
  #changes = { changes: [] };
  /** What was drawn last: a detail and an error; and the end of the lease that was. */
  #shown = null;
  #until;
  /** When the detail was read, by `performance.now()`. */
  #readAt = 0;
  /** What had the focus before the panel was opened. */
  #from = null;
  /** While the panel covers all else, nothing of that can be reached. */
  #covers = matchMedia("(max-width: 720px)");

  /** `on` has `me`, `learn(namespace, name, detail)`, `closed(from)`, what had the focus before; `leases()`, all of them with when they were read. */
  constructor(on) {
    this.#on = on;
    this.#covers.addEventListener("change", () => this.#cover());
    this.element.addEventListener("keydown", (event) => {
      if (event.key === "c" && !event.target.closest("input") && !event.ctrlKey && !event.metaKey) this.change();
    });
  }

  open(namespace, name) {
    this.#looking?.abort();
    this.#looking = new AbortController();
    if (!this.of) this.#from = document.activeElement;
    this.of = { namespace, name };
    this.element.hidden = false;
    this.#cover();
    this.#changes = { changes: [] };
    this.#readAt = 0;
    this.#draw(null, null);
    this.element.focus();
    this.#follow(this.#looking.signal);
  }

  /** Leases were read: that of this Deployment may be another one. */
  leasesRead() {
    if (!this.#shown) return;
    const [detail] = this.#shown;
    if (this.#leaseNow(detail)?.until !== this.#until) this.#draw(...this.#shown);
  }

  /** The lease as it was read last: with the detail, or with all leases. */
  #leaseNow(detail) {
    const { namespace, name } = this.of;
    const { of, readAt } = this.#on.leases();
    const listed = of(namespace, name);
    const own = detail?.lease;
    // Who may read this one may not be allowed to list it: that it isn't listed says nothing.
    const lease = readAt !== null && readAt > this.#readAt ? (listed ?? own) : own;
    // The detail doesn't say how much time is left.
    const ends = listed?.until === lease?.until ? listed?.ends : undefined;
    return lease && { namespace, name, ...lease, ends: ends ?? performance.now() + Date.parse(lease.until) - serverNow() };
  }

  close() {
    if (!this.of) return;
    this.#looking?.abort();
    this.#shown = null;
    this.of = null;
    this.element.hidden = true;
    this.#cover();
    this.#on.closed(this.#from);
  }

  #cover() {
    const covered = this.of !== null && this.#covers.matches;
    for (const other of document.querySelectorAll(".skip, .top, #trouble, main > section")) other.inert = covered;
  }

  async change() {
    const why = this.#whyNot(this.#shown?.[0]);
    if (why) return announce(why);
    const { namespace, name } = this.of;
    await changeCount(namespace, name, this.#on.me);
  }

  /** Why the caller may not set the count of what this tells of. */
  #whyNot(detail) {
    const me = this.#on.me;
    return !me.mayScale || (detail && !detail.bounds) ? me.whyNot : null;
  }

  /** The caller may do more, or less. */
  meChanged() {
    if (this.#shown) this.#draw(...this.#shown);
  }

  async #follow(signal) {
    const { namespace, name } = this.of;
    let tag = null;
    let detail = null;
    let failed = false;
    while (!signal.aborted) {
      let wait = STILL;
      // What failed isn't asked for again and again while the server is out of reach.
      if (reach.lost && failed) {
        await pause(wait, signal).catch(() => {});
        continue;
      }
      try {
        const asked = performance.now();
        const answer = await call("GET", pathOf(namespace, name), { signal, headers: tag ? { "if-none-match": tag } : {} });
        this.#readAt = asked;
        if (answer.body) {
          tag = answer.headers.get("etag");
          detail = answer.body;
          this.#on.learn(namespace, name, detail);
          await this.#readChanges(signal);
        }
        // What didn't change isn't drawn again, under whoever reads it.
        if (answer.body || failed) this.#draw(detail, null);
        failed = false;
        if (detail.rollout.status === "progressing") wait = MOVING;
      } catch (error) {
        if (signal.aborted) return;
        failed = true;
        wait = error.retryAfter ?? 5;
        this.#draw(detail, error);
      }
      await pause(document.hidden ? 15 : wait, signal).catch(() => {});
    }
  }

  async #readChanges(signal) {
    const { namespace, name } = this.of;
    const of = new URLSearchParams({ namespace, name, limit: 20 });
    try {
      const { body } = await call("GET", `/history?${of}`, { signal });
      this.#changes = body;
    } catch (error) {
      if (signal.aborted) throw error;
      this.#changes = { changes: [], wrong: sentence(error) };
    }
  }

  #draw(detail, error) {
    this.#shown = [detail, error];
    onceReleased(this.element, () => this.of && this.#drawNow());
  }

  #drawNow() {
    const { namespace, name } = this.of;
    const [detail, error] = this.#shown;
    this.#until = this.#leaseNow(detail)?.until;
    // Redrawn under whoever is in it: the focus goes back to where it was.
    const inside = this.element.contains(document.activeElement) && document.activeElement !== this.element;
    const focused = inside ? document.activeElement.dataset.action : undefined;
    const action = (id, label, act, more = {}) => button(label, act, { "data-action": id, ...more });
    const open = [...this.element.querySelectorAll("details")].filter((one) => one.open).map((one) => one.dataset.part);
    fill(
      this.element,
      el(
        "header",
        {},
        el("div", {}, el("p", { class: "hint" }, namespace), el("h2", { id: "details-title" }, name)),
        action("close", "✕", () => this.close(), { class: "quiet", "aria-label": "Close the details" }),
      ),
      error && alertOf(detail ? `What stands here may be old. ${sentence(error)}` : sentence(error)),
      !detail && !error && el("p", { class: "loading" }, "Reading …"),
      detail && this.#body(detail, action, open),
    );
    if (inside) (this.element.querySelector(`[data-action="${focused}"]`) ?? this.element).focus();
  }

  #body(detail, action, open) {
    const lease = this.#leaseNow(detail);
    const { replicas, rollout, lastSetBy, conditions, containers, labels } = detail;
    const { changes, since, wrong } = this.#changes;
    const why = this.#whyNot(detail);
    this.#bar.show(rollout);
    const owner = ownerInWords(lastSetBy);
    const part = (id, title, ...content) =>
      el("details", { "data-part": id, open: open.includes(id) }, el("summary", { "data-action": `part-${id}` }, title), ...content);
    return [
      el(
        "div",
        { class: "count" },
        el("p", {}, el("strong", { class: "big" }, replicas.desired), " desired"),
        el("p", {}, el("strong", { class: "big" }, replicas.ready), " ready"),
        action("change", "Change count…", () => this.change(), { class: "primary", why, "aria-describedby": why && "why-not" }),
      ),
      why && el("p", { class: "hint", id: "why-not" }, why),
      this.#bar.element,
      facts(
        owner && ["Set by", [`${owner}${lastSetBy.principal ? "" : " (not through headcount)"}`, lastSetBy.at && [", ", agedText(lastSetBy.at)]]],
        detail.bounds && ["Bounds", boundsInWords(detail.bounds) || "none"],
        detail.paused && ["Rollout", "Paused."],
        detail.revision !== null && ["Revision", detail.revision],
      ),
      othersInWords(detail).map((words) => warning(words)),
      lease && this.#lease(lease, detail, action),
      el("h3", {}, "Changes"),
      changes.length
        ? el(
            "ul",
            { class: "changes" },
            changes.map((one) => el("li", {}, agedText(one.time), el("span", {}, ...changeOf(one)), el("span", {}, changedBy(one)))),
          )
        : el("p", { class: "hint" }, wrong ?? ["None that this server has seen since ", timeOf(since), "."]),
      conditions.length > 0 && [
        el("h3", {}, "Conditions"),
        el(
          "ul",
          { class: "conditions" },
          conditions.map((one) => el("li", {}, el("strong", {}, `${one.type}: ${one.status}`), ` ${one.message || one.reason}`)),
        ),
      ],
      part("images", "Images", el("ul", {}, containers.map((one) => el("li", {}, `${one.name}: ${one.image}`)))),
      part("labels", "Labels", el("ul", {}, Object.entries(labels).map(([key, value]) => el("li", {}, `${key}=${value}`)))),
    ];
  }

  #lease(lease, detail, action) {
    const why = this.#whyNot(detail);
    const changed = () => this.#on.leases().load();
    return el(
      "div",
      { class: "leased" },
      el("p", {}, `Leased${byHolder(lease)}: ${lease.replicaCount} until `, timeOf(lease.until), " (left: ", lease.state === "ending" ? "going back …" : timeLeft(lease.ends), `), then ${lease.previousReplicaCount} again.`),
      lease.replicaCount !== detail.replicas.desired && warning(`The count is ${detail.replicas.desired}: somebody else has set it, and the lease will leave it alone.`),
      lease.reason && el("p", { class: "hint" }, lease.reason),
      el("p", {}, action("extend", "Extend…", () => extendLease(lease, changed), { why }), " ", action("cancel", "End…", () => cancelLease(lease, changed), { why })),
    );
  }
}

/** How long ago a time of the API was. */
const agedText = (time) => el("span", { class: "time", title: iso(time), ...aged(Date.parse(time)) }, ago(Date.parse(time)));

function facts(...all) {
  const known = all.filter(Boolean);
  return el("dl", {}, known.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}
