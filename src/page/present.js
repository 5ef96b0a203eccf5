// What a dialog is about, as it is now: followed while the dialog is open, and in words what others have changed of it.

import { call, pathOf, pause, reach } from "./api.js";
import { ownerInWords } from "./dialog.js";
import { el, setText } from "./dom.js";
import { clock } from "./times.js";

/** Seconds between two looks where the stream tells of nothing. */
const EVERY = 3;

const heard = new EventTarget();
/** The stream told of a Deployment, or of its end: dialogs about it hear of it at once. */
export const tellOf = (one, gone) => heard.dispatchEvent(new CustomEvent("news", { detail: { ...one, gone } }));

/** Calls `told` with what the stream tells, `gone` where it is a Deployment's end. */
export const hear = (told, signal) => heard.addEventListener("news", ({ detail }) => told(detail), { signal });

/** The count with its tag, and the detail; `detail.unread` where that can't be had. */
export async function readPresent(namespace, name, signal, known = {}) {
  const conditional = (tag) => ({ signal, headers: tag ? { "if-none-match": tag } : {} });
  const [count, detail] = await Promise.all([
    call("GET", pathOf(namespace, name, "/replicas"), conditional(known.tag)),
    // Bounds and warnings are worth having, and the count can be changed without them.
    call("GET", pathOf(namespace, name), conditional(known.detailTag)).catch((error) => ({ body: { unread: error }, headers: new Headers() })),
  ]);
  signal.throwIfAborted();
  return {
    tag: count.headers.get("etag") ?? known.tag,
    now: count.body?.replicaCount ?? known.now,
    detailTag: detail.body ? detail.headers.get("etag") : known.detailTag,
    detail: detail.body ?? known.detail,
  };
}

/** Looks again and again until the signal ends it, and calls `changed(present)` where something is another; without a Deployment it is null. */
export async function followPresent(namespace, name, present, changed, signal) {
  let gone = false;
  while (!signal.aborted) {
    await news(`${namespace}/${name}`, signal);
    if (signal.aborted) return;
    if (reach.lost) continue;
    try {
      const next = await readPresent(namespace, name, signal, gone ? {} : present);
      // What can't be read for a moment is what it was.
      if (next.detail.unread && !present.detail.unread) Object.assign(next, { detail: present.detail, detailTag: null });
      const other = gone || next.tag !== present.tag || next.detail !== present.detail;
      gone = false;
      present = next;
      if (other) changed(next);
    } catch (error) {
      if (error.status !== 404 || gone) continue;
      gone = true;
      changed(null);
    }
  }
}

/** Comes back when there is news of a Deployment, or some time has passed. */
async function news(of, signal) {
  const over = new AbortController();
  const until = AbortSignal.any([over.signal, signal]);
  const told = new Promise((resolve) => hear(({ namespace, name }) => `${namespace}/${name}` === of && resolve(), until));
  await Promise.race([told, pause(document.hidden ? 15 : EVERY, until)]).catch(() => {});
  over.abort();
}

/** Where news are told: to those who don't see it too, and the focus stays where it is. */
export const newsLine = () => el("p", { class: "news", role: "status", "aria-live": "polite" });

/** Tells news in such a line: the latest of the count and the latest of its lease, which often comes a moment before or behind it. */
export function tellsIn(line) {
  let told = {};
  return (news) => {
    told = news.alone ? news : { count: news.count || told.count, lease: news.lease || told.lease };
    setText(line, inWords(told));
  };
}

/** News in one text, empty where there are none. */
export const inWords = ({ count, lease }) => [count, lease].filter(Boolean).join(" ");

/** Such a line of a lease that a dialog is about, for as long as its signal lets it; `became` is told of the lease there is now, if any. */
export function newsOfLease({ namespace, name, ...lease }, signal, became = () => {}) {
  const line = newsLine();
  const told = tellsIn(line);
  let before = { now: lease.replicaCount, detail: { lease } };
  const tell = (present) => {
    told(newsOf(before, present, {}));
    before = present;
    // Without its details it isn't known what has become of the lease.
    if (!present?.detail.unread) became(present?.detail.lease ?? null);
  };
  readPresent(namespace, name, signal)
    .then((present) => {
      before.tag = present.tag;
      if (!present.detail.unread) tell(present);
      return followPresent(namespace, name, present, tell, signal);
    })
    .catch((error) => {
      if (error.status === 404) tell(null);
    });
  return line;
}

/**
 * What has changed between two looks, in a sentence of the count and one of the lease: none for what doesn't matter to whoever sets the
 * count. `alone`: whatever was told before is over by that. `me` is who looks.
 */
export function newsOf(before, present, me) {
  if (!present) return { alone: true, count: "It has been deleted: there is nothing to set any more." };
  if (!before) return { alone: true, count: `There is one of that name again, with ${present.now}.` };
  const { principal } = me;
  const whose = (name) => (name === principal ? "you" : name || "somebody");
  const [was, is] = [before.detail.lease, present.detail.lease];
  const by = ownerInWords(present.detail.lastSetBy);
  const other = present.now !== before.now;
  // A count that came back by itself is no decision of its holder's.
  if (other && was && !is && by === was.holder && present.now === was.previousReplicaCount) {
    return { alone: true, count: `Changed meanwhile: ${before.now} → ${present.now}, at the end of ${whose(by) === "you" ? "your" : `${by}'s`} lease.` };
  }
  const lease = leaseNews(was, is, whose);
  if (isAnother(before, present)) return { alone: true, count: `It was deleted and created anew meanwhile: it is another Deployment${other ? `, with ${present.now}` : ""}.`, lease };
  return { count: other && `Changed meanwhile: ${before.now} → ${present.now}${by && `, set by ${whose(by)}`}.`, lease };
}

/** Whether two looks saw two Deployments of one name. The tag is of the count and the Deployment's identity. */
export function isAnother(before, present) {
  const [was, is] = [before.detail.uid, present.detail.uid];
  if (was !== undefined && is !== undefined) return was !== is;
  return before.tag !== undefined && before.now === present.now && present.tag !== before.tag;
}

function leaseNews(before, now, whose) {
  if (!before && !now) return null;
  const owner = (lease) => (whose(lease.holder) === "you" ? "Your" : `${whose(lease.holder)}'s`);
  if (!now) return `${owner(before)} lease has ended.`;
  const until = `until ${clock(now.until)}`;
  if (!before) return `Leased by ${whose(now.holder)} meanwhile: ${now.replicaCount} ${until}, then ${now.previousReplicaCount} again.`;
  if (now.holder !== before.holder || now.replicaCount !== before.replicaCount) return `${whose(now.holder).replace(/^you$/, "You")} renewed the lease: ${now.replicaCount} ${until}.`;
  return now.until === before.until ? null : `${owner(now)} lease goes on ${until}.`;
}

/** Whether a confirmation that was made of one holds for the other. */
export function isSame(before, present) {
  const lease = ({ detail }) => detail.lease && [detail.lease.holder, detail.lease.replicaCount, detail.lease.previousReplicaCount];
  return before !== null && present !== null && before.tag === present.tag && JSON.stringify(lease(before) ?? null) === JSON.stringify(lease(present) ?? null);
}
