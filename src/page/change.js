// Changing one count: what is there, what is wanted, what the server says to it, a confirmation, the write, the rollout.

import { call, NoAnswer, pathOf, pause, sentence } from "./api.js";
import { alertOf, allowedInWords, buttons, byHolder, detailOf, field, form, headerText, openDialog, othersInWords, ownerInWords, timeField, typed, waiting, warning, whoseLease } from "./dialog.js";
import { announce, button, el, fill, forbid, setText, timeOf } from "./dom.js";
import { followPresent, inWords, isAnother, isSame, newsLine, newsOf, readPresent, tellsIn } from "./present.js";
import { followRollout, rolloutBar } from "./rollout.js";
import { clock, duration, seconds, WRITTEN } from "./times.js";

/** What is said of a write that takes long. */
const LATE = "No answer yet. It goes on if this is closed, and what comes of it is told.";

/** Opens the dialog. `me` is who looks; `wish` what was typed already. */
export async function changeCount(namespace, name, me, wish = {}) {
  const title = `${namespace}/${name}`;
  const dialog = openDialog(title);
  dialog.show(el("p", { class: "loading" }, "Reading the present count …"));
  let present;
  try {
    present = await readPresent(namespace, name, dialog.signal);
  } catch (error) {
    if (!dialog.signal.aborted) dialog.show(alertOf(sentence(error)), buttons(button("Close", dialog.close)));
    return;
  }
  // `present` is what is there by the latest look, null without a Deployment; `heard` is told what that was before.
  const of = { dialog, namespace, name, title, me, present, heard: null };
  const changed = (next) => {
    const before = of.present;
    of.present = next;
    of.heard?.(before);
  };
  ask(of, wish);
  followPresent(namespace, name, present, changed, dialog.signal);
}

function ask(of, wish, wrong) {
  const { dialog, me } = of;
  of.heard = null;
  if (!of.present) return dialog.show(wrong, alertOf(inWords(newsOf(null, null, me))), buttons(button("Close", dialog.close, { autofocus: true })));
  const { detail, now } = of.present;
  const line = el("p", { class: "present" }, presentLine(of.present));
  if (!detail.unread && !detail.bounds) return dialog.show(line, alertOf(me.whyNot), buttons(button("Close", dialog.close, { autofocus: true })));
  const count = el("input", { type: "number", inputmode: "numeric", min: 0, step: 1, autofocus: true, ".value": wish.count ?? now });
  // A count that nobody has typed is the one that is there.
  let typedOne = wish.count !== undefined;
  count.addEventListener("input", () => (typedOne = true));
  const stepBy = (by) => {
    typedOne = true;
    count.value = Math.max(0, Number(count.value) + by);
  };
  const step = (by) => button(by < 0 ? "−" : "+", () => stepBy(by), { "aria-label": by < 0 ? "One fewer" : "One more" });
  el("span", { class: "stepper" }, step(-1), count, step(1));
  const time = el("input", { type: "text", placeholder: "2h, 90m, 1.5h", autocomplete: "off", ".value": wish.time ?? "" });
  const reason = el("input", { type: "text", maxlength: 256, autocomplete: "off", ".value": wish.reason ?? "" });
  const said = el("div", {}, wrong);
  const news = newsLine();
  const told = tellsIn(news);
  const others = el("div", {}, warningsOf(of.present));
  const hint = el("span", {}, detail.unread ? null : allowedInWords(detail.bounds));
  const yes = el("button", { type: "submit", class: "primary" }, "Check");
  of.heard = (before) => {
    told(newsOf(before, of.present, me));
    forbid(yes, of.present ? null : news.textContent);
    if (!of.present) return fill(others);
    fill(line, presentLine(of.present));
    fill(others, warningsOf(of.present));
    setText(hint, of.present.detail.unread ? "" : allowedInWords(of.present.detail.bounds));
    if (typedOne) return;
    count.value = of.present.now;
    // What is typed next replaces it, as at the beginning.
    if (document.activeElement === count) count.select();
  };
  const submit = () => {
    if (!of.present) return announce(yes.title);
    const wished = { count: count.value, time: time.value, reason: reason.value };
    const bad = !/^\d{1,10}$/.test(wished.count.trim())
      ? "The count is a whole number, 0 or more."
      : wished.time.trim() && !(seconds(wished.time) > 0)
        ? `The time is ${WRITTEN}. Leave it empty for a count that stays.`
        : null;
    if (bad) return said.replaceChildren(alertOf(bad));
    check(of, wished);
  };
  dialog.show(
    form(
      submit,
      line,
      news,
      others,
      field("New count", count, hint),
      timeField(time, `Empty: until somebody sets another. Otherwise it goes back by itself. It is ${WRITTEN}.`, me),
      field("Reason", reason, "For the log, the audit trail and the Deployment's Events."),
      said,
      buttons(button("Cancel", dialog.close), yes),
    ),
  );
  count.select();
}

function presentLine({ now, detail: { lastSetBy } }) {
  const owner = ownerInWords(lastSetBy);
  return ["Now ", el("strong", {}, now), owner && ` · set by ${owner}`, owner && lastSetBy.at && [", ", timeOf(lastSetBy.at)]];
}

/** What is to be known before another count is asked for. */
function warningsOf({ detail }) {
  const { lease, unread } = detail;
  return [
    unread && warning(`Bounds aren't known: ${sentence(unread)}`),
    othersInWords(detail).map((words) => warning(words)),
    lease &&
      warning(
        `Leased${byHolder(lease)} until `,
        timeOf(lease.until),
        `, then ${lease.previousReplicaCount} again. A count without a time ends the lease${lease.replicaCount === lease.previousReplicaCount ? "" : ", also the one that is there"}; with a time it is renewed.`,
      ),
  ];
}

/** The request of a wish, on the condition that the count is that of `base`: a count, or a lease. */
function request(of, base, wish, dryRun) {
  const count = Number(wish.count);
  const leased = wish.time.trim() !== "";
  const path = pathOf(of.namespace, of.name, leased ? "/lease" : "/replicas") + (dryRun ? "?dryRun=true" : "");
  const body = leased ? { replicaCount: count, durationSeconds: seconds(wish.time) } : { replicaCount: count };
  const headers = { "if-match": base.tag, prefer: "return=representation" };
  if (wish.reason.trim()) headers["x-reason"] = headerText(wish.reason.trim());
  // A write goes on when its dialog is closed: a request that is broken off may be carried out all the same.
  return call("PUT", path, { body, headers, signal: dryRun ? of.dialog.signal : undefined });
}

async function check(of, wish) {
  const seen = of.present;
  of.heard = null;
  of.dialog.show(waiting("Asking the server …"));
  try {
    // The lease may have begun or ended while the dialog was open.
    const [{ body }, detail] = await Promise.all([request(of, seen, wish, true), detailOf(of.namespace, of.name, of.dialog.signal).catch(() => seen.detail)]);
    // This look is later than the one that told of the count that was checked.
    if (of.present?.tag === seen.tag) of.present = { ...of.present, detail };
    confirm(of, { ...seen, detail }, wish, body);
  } catch (error) {
    refused(of, seen, wish, error, false);
  }
}

/** What a checked wish would do to the lease that there is, and what is to be known of it; null if nothing is. */
function leaseInWords({ leaseBefore, lease }, from, count) {
  const words = lease
    ? [leaseBefore && `This renews ${whoseLease(leaseBefore)}, from now on.`, `When its time is over the count goes back to ${lease.previousReplicaCount}.`]
    : [
        leaseBefore && `This ends ${whoseLease(leaseBefore)}: ${count} stays${leaseBefore.previousReplicaCount === count ? "" : ` and does not go back to ${leaseBefore.previousReplicaCount}`}.`,
        !leaseBefore && from === count && "It has that count already: nothing will be changed.",
      ];
  return words.filter(Boolean).join(" ") || null;
}

/** `base` is what was there at the check: of another one the confirmation says nothing. */
function confirm(of, base, wish, would) {
  const { dialog, title } = of;
  const count = Number(wish.count);
  const from = would.previousReplicaCount ?? base.now;
  const leased = wish.time.trim() !== "";
  const time = leased ? `, for ${duration(seconds(wish.time))}` : "";
  const lease = leaseInWords(would, from, count);
  const label = `Set to ${count}`;
  const yes = el("button", { type: "submit", class: count === 0 ? "primary danger" : "primary", autofocus: true }, label);
  const news = newsLine();
  of.heard = () => {
    const other = !isSame(base, of.present);
    setText(news, other ? `${inWords(newsOf(base, of.present, of.me))} ${of.present ? "Go back and check anew." : ""}`.trim() : "");
    forbid(yes, news.textContent || null);
  };
  of.heard();
  const confirmed = () => {
    if (news.textContent) return announce(news.textContent);
    if (!yes.disabled) write(of, base, wish);
  };
  const zero = count === 0 && from !== 0 && typed(of.name, `This stops every Pod. Type ${of.name} to go on`, yes);
  dialog.show(
    form(
      confirmed,
      el("p", { class: "fromto" }, `${title}: `, el("strong", {}, from), " → ", el("strong", {}, count), time),
      news,
      lease && warning(lease),
      (would.warnings ?? []).map((words) => warning(`${words[0].toUpperCase()}${words.slice(1)}.`)),
      zero,
      buttons(button("Back", () => ask(of, wish)), yes),
    ),
  );
}

async function write(of, base, wish) {
  of.heard = null;
  const { dialog, title, namespace, name } = of;
  dialog.show(waiting("Setting the count …", LATE));
  let written;
  try {
    written = await request(of, base, wish, false);
  } catch (error) {
    return refused(of, base, wish, error, true);
  }
  const count = Number(wish.count);
  const { previousReplicaCount: from = base.now, lease, leaseBefore } = written.body;
  const until = lease ? ` until ${clock(lease.until)}` : "";
  const ended = !lease && leaseBefore && `${whoseLease(leaseBefore)} has ended`;
  announce((from === count && !lease ? `${title} stays at ${count}` : `${title} set from ${from} to ${count}${until}`) + (ended ? `; ${ended}` : ""));
  if (dialog.signal.aborted) return;
  const bar = rolloutBar();
  const end = el("p", { class: "end", role: "status" });
  dialog.show(
    el("p", { class: "fromto" }, `${title}: `, el("strong", {}, from), " → ", el("strong", {}, count), until),
    ended && warning(`${ended.replace(/^the lease/, "The lease")}${leaseBefore.previousReplicaCount === count ? "" : `: the count does not go back to ${leaseBefore.previousReplicaCount}`}.`),
    (written.body.warnings ?? []).map((words) => warning(`${words[0].toUpperCase()}${words.slice(1)}.`)),
    written.status === 202 && warning("Kubernetes has taken it; this server's copy hasn't caught up yet."),
    bar.element,
    end,
    buttons(button("Close", dialog.close, { autofocus: true, class: "primary" })),
  );
  try {
    const { status, detail } = await followRollout(namespace, name, written.body, ({ rollout }) => bar.show(rollout), dialog.signal);
    if (status === "superseded") {
      const by = ownerInWords(detail.lastSetBy);
      setText(end, `Meanwhile the count is ${detail.replicas.desired}${by && `, set by ${by}`}.`);
    } else if (status === "complete") setText(end, "All Pods are there.");
  } catch (error) {
    if (!dialog.signal.aborted) setText(end, `The count was set. How its rollout goes isn't known: ${sentence(error)}`);
  }
}

/** `sent`: whether it was the write itself, which may have been carried out. */
async function refused(of, base, wish, error, sent) {
  const { dialog, namespace, name, me } = of;
  const unknown = sent && (error instanceof NoAnswer || error.status === 504);
  if (dialog.signal.aborted) return sent && announce(`${of.title}: ${unknown ? "it isn't known whether the count was set. " : ""}${sentence(error)}`, "error");
  if (error.status === 412) return faster(of, base, wish);
  if (!unknown) return ask(of, wish, alertOf(sentence(error)));
  const stands = el("p", { role: "status" }, "Reading how it stands …");
  dialog.show(
    alertOf(`It isn't known whether the count was set. ${sentence(error)}`),
    stands,
    buttons(button("Close", dialog.close), button("Look again", () => (dialog.close(), changeCount(namespace, name, me, wish)), { class: "primary", autofocus: true })),
  );
  // Until there is an answer, whenever the network comes back.
  while (!dialog.signal.aborted) {
    try {
      const detail = await detailOf(namespace, name, dialog.signal);
      const by = ownerInWords(detail.lastSetBy);
      const whose = by === me.principal ? "you" : by;
      setText(stands, `It is ${detail.replicas.desired} now${by && `, set by ${whose}`}. A request that is still on its way may come later.`);
      return;
    } catch (again) {
      if (dialog.signal.aborted) return;
      setText(stands, `How it stands can't be read either. ${sentence(again)} Look again before you set it once more.`);
      await pause(again.retryAfter ?? 3, dialog.signal).catch(() => {});
    }
  }
}

/** Somebody else changed the count between the look and the write. */
async function faster(of, base, wish) {
  const { now } = base;
  const { dialog, namespace, name, me } = of;
  let words = `The count isn't ${now} any more: nothing was changed.`;
  try {
    const present = await readPresent(namespace, name, dialog.signal);
    const { lastSetBy, replicas = { desired: present.now } } = present.detail;
    const by = ownerInWords(lastSetBy) || "Somebody";
    if (isAnother(base, present)) words = `It was deleted and created anew since you looked: it is another Deployment, with ${present.now}. Nothing was changed.`;
    else if (replicas.desired === now) words = `It has changed since you looked, and is ${now} again. Nothing was changed by this request.`;
    else if (by === me.principal) words = `It was set as ${by} meanwhile: it is ${replicas.desired} now, and not ${now} any more. This request changed nothing.`;
    else words = `${by} was faster: it is ${replicas.desired} now, and not ${now} any more. Nothing was changed.`;
  } catch (error) {
    if (dialog.signal.aborted) return;
  }
  dialog.show(
    alertOf(words),
    buttons(button("Cancel", dialog.close), button("Go on from there", () => (dialog.close(), changeCount(namespace, name, me, wish)), { class: "primary", autofocus: true })),
  );
}
