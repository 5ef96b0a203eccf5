// Changing one count: what is there, what is wanted, what the server says to it, a confirmation, the write, the rollout.

import { call, NoAnswer, pathOf, sentence } from "./api.js";
import { alertOf, allowedInWords, buttons, detailOf, field, form, headerText, openDialog, othersInWords, ownerInWords, typed, warning } from "./dialog.js";
import { announce, button, el } from "./dom.js";
import { followRollout, rolloutBar } from "./rollout.js";
import { clock, duration, seconds } from "./times.js";

/** Opens the dialog. `me` is who looks; `wish` what was typed already. */
export async function changeCount(namespace, name, me, wish = {}) {
  const title = `${namespace}/${name}`;
  const dialog = openDialog(title);
  dialog.show(el("p", { class: "loading" }, "Reading the present count …"));
  try {
    const options = { signal: dialog.signal };
    const [count, detail] = await Promise.all([
      call("GET", pathOf(namespace, name, "/replicas"), options),
      // Bounds and warnings are worth having, and the count can be changed without them.
      detailOf(namespace, name, dialog.signal).catch((error) => ({ unread: error })),
    ]);
    const tag = count.headers.get("etag");
    ask({ dialog, namespace, name, title, me, tag, detail, now: count.body.replicaCount }, wish);
  } catch (error) {
    if (!dialog.signal.aborted) dialog.show(alertOf(sentence(error)), buttons(button("Close", dialog.close)));
  }
}

function ask(of, wish, wrong) {
  const { dialog, detail, now, me } = of;
  const owner = ownerInWords(detail.lastSetBy);
  const at = detail.lastSetBy?.at ? `, ${clock(detail.lastSetBy.at)}` : "";
  const present = el("p", { class: "present" }, "Now ", el("strong", {}, now), owner && ` · set by ${owner}${at}`);
  if (!detail.unread && !detail.bounds) return dialog.show(present, alertOf(me.whyNot), buttons(button("Close", dialog.close, { autofocus: true })));
  const count = el("input", { type: "number", inputmode: "numeric", min: 0, step: 1, autofocus: true, ".value": wish.count ?? now });
  const step = (by) => button(by < 0 ? "−" : "+", () => (count.value = Math.max(0, Number(count.value) + by)), { "aria-label": by < 0 ? "One fewer" : "One more" });
  el("span", { class: "stepper" }, step(-1), count, step(1));
  const time = el("input", { type: "text", placeholder: "2h, 90m, 1d", autocomplete: "off", ".value": wish.time ?? "" });
  const reason = el("input", { type: "text", maxlength: 256, autocomplete: "off", ".value": wish.reason ?? "" });
  const said = el("div", {}, wrong);
  const submit = () => {
    const wished = { count: count.value, time: time.value, reason: reason.value };
    const bad = !/^\d{1,10}$/.test(wished.count.trim())
      ? "The count is a whole number, 0 or more."
      : wished.time.trim() && !(seconds(wished.time) > 0)
        ? "The time is written 2h, 90m or 1d; leave it empty for a count that stays."
        : null;
    if (bad) return said.replaceChildren(alertOf(bad));
    check(of, wished);
  };
  dialog.show(
    form(
      submit,
      present,
      detail.unread && warning(`Bounds aren't known: ${sentence(detail.unread)}`),
      othersInWords(detail).map((words) => warning(words)),
      detail.lease &&
        warning(
          `Leased by ${detail.lease.holder} until ${clock(detail.lease.until)}, then ${detail.lease.previousReplicaCount} again. A count without a time ends the lease, also the one that is there; with a time it is renewed.`,
        ),
      field("New count", count, detail.unread ? null : allowedInWords(detail.bounds)),
      field("For how long", time, "Empty: until somebody sets another. Otherwise it goes back by itself."),
      field("Reason", reason, "For the log, the audit trail and the Deployment's Events."),
      said,
      buttons(button("Cancel", dialog.close), el("button", { type: "submit", class: "primary" }, "Check")),
    ),
  );
  count.select();
}

/** The request of a wish: a count, or a lease. */
function request(of, wish, dryRun) {
  const count = Number(wish.count);
  const leased = wish.time.trim() !== "";
  const path = pathOf(of.namespace, of.name, leased ? "/lease" : "/replicas") + (dryRun ? "?dryRun=true" : "");
  const body = leased ? { replicaCount: count, durationSeconds: seconds(wish.time) } : { replicaCount: count };
  const headers = { "if-match": of.tag, prefer: "return=representation" };
  if (wish.reason.trim()) headers["x-reason"] = headerText(wish.reason.trim());
  // A write goes on when its dialog is closed: a request that is broken off may be carried out all the same.
  return call("PUT", path, { body, headers, signal: dryRun ? of.dialog.signal : undefined });
}

async function check(of, wish) {
  of.dialog.show(el("p", { class: "loading" }, "Asking the server …"));
  try {
    // The lease may have begun or ended while the dialog was open.
    const [{ body }, detail] = await Promise.all([request(of, wish, true), detailOf(of.namespace, of.name, of.dialog.signal).catch(() => of.detail)]);
    confirm({ ...of, detail }, wish, body);
  } catch (error) {
    refused(of, wish, error, false);
  }
}

/** What a wish does to the lease that there is, and what is to be known of it; null if nothing is. */
function leaseInWords({ detail }, from, count, leased, then) {
  // A lease whose count isn't there any more is over.
  const lease = detail.lease?.replicaCount === from ? detail.lease : null;
  const back = then !== undefined && `When its time is over the count goes back to ${then}.`;
  const words = leased
    ? [lease && `This renews ${lease.holder}'s lease, from now on.`, back]
    : [
        lease && `This ends ${lease.holder}'s lease: ${count} stays and does not go back to ${lease.previousReplicaCount}.`,
        !lease && from === count && "It has that count already: nothing will be changed.",
        detail.unread && "Whether it is leased isn't known: if it is, this ends the lease.",
      ];
  return words.filter(Boolean).join(" ") || null;
}

function confirm(of, wish, would) {
  const { dialog, title } = of;
  const count = Number(wish.count);
  const from = would.previousReplicaCount ?? of.now;
  const leased = wish.time.trim() !== "";
  const time = leased ? `, for ${duration(seconds(wish.time))}` : "";
  const lease = leaseInWords(of, from, count, leased, would.lease?.previousReplicaCount);
  const label = `Set to ${count}`;
  const yes = el("button", { type: "submit", class: count === 0 ? "primary danger" : "primary", autofocus: true }, label);
  const zero = count === 0 && from !== 0 && typed(of.name, `This stops every Pod. Type ${of.name} to go on`, yes);
  dialog.show(
    form(
      () => yes.disabled || write(of, wish),
      el("p", { class: "fromto" }, `${title}: `, el("strong", {}, from), " → ", el("strong", {}, count), time),
      lease && warning(lease),
      (would.warnings ?? []).map((words) => warning(`${words[0].toUpperCase()}${words.slice(1)}.`)),
      zero,
      buttons(button("Back", () => ask(of, wish)), yes),
    ),
  );
}

async function write(of, wish) {
  const { dialog, title, namespace, name } = of;
  dialog.show(el("p", { class: "loading" }, "Setting the count …"));
  let written;
  try {
    written = await request(of, wish, false);
  } catch (error) {
    return refused(of, wish, error, true);
  }
  const count = Number(wish.count);
  const { previousReplicaCount: from = of.now, lease } = written.body;
  const until = lease ? ` until ${clock(lease.until)}` : "";
  const was = of.detail.lease;
  const ended = !lease && was?.replicaCount === from ? `; ${was.holder}'s lease has ended` : "";
  announce((from === count && !lease ? `${title} stays at ${count}` : `${title} set from ${from} to ${count}${until}`) + ended);
  if (dialog.signal.aborted) return;
  const bar = rolloutBar();
  const end = el("p", { class: "end", role: "status" });
  dialog.show(
    el("p", { class: "fromto" }, `${title}: `, el("strong", {}, from), " → ", el("strong", {}, count), until),
    ended && warning(`${was.holder}'s lease has ended: the count does not go back to ${was.previousReplicaCount}.`),
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
      end.textContent = `Meanwhile the count is ${detail.replicas.desired}${by && `, set by ${by}`}.`;
    } else if (status === "complete") end.textContent = "All Pods are there.";
  } catch (error) {
    if (!dialog.signal.aborted) end.textContent = `The count was set. How its rollout goes isn't known: ${sentence(error)}`;
  }
}

/** `sent`: whether it was the write itself, which may have been carried out. */
async function refused(of, wish, error, sent) {
  const { dialog, namespace, name, me } = of;
  const unknown = sent && (error instanceof NoAnswer || error.status === 504);
  if (dialog.signal.aborted) return sent && announce(`${of.title}: ${unknown ? "it isn't known whether the count was set. " : ""}${sentence(error)}`, "error");
  if (error.status === 412) return faster(of, wish);
  if (!unknown) return ask(of, wish, alertOf(sentence(error)));
  dialog.show(
    alertOf(`It isn't known whether the count was set. ${sentence(error)}`),
    el("p", { class: "loading" }, "Reading how it stands …"),
  );
  let stands;
  try {
    const detail = await detailOf(namespace, name, dialog.signal);
    const by = ownerInWords(detail.lastSetBy);
    const whose = by === me.principal ? "you" : by;
    stands = `It is ${detail.replicas.desired} now${by && `, set by ${whose}`}. A request that is still on its way may come later.`;
  } catch (again) {
    if (dialog.signal.aborted) return;
    stands = `How it stands can't be read either. ${sentence(again)} Look again before you set it once more.`;
  }
  dialog.show(
    alertOf(`It isn't known whether the count was set. ${sentence(error)}`),
    el("p", { role: "status" }, stands),
    buttons(button("Close", dialog.close), button("Look again", () => (dialog.close(), changeCount(namespace, name, me, wish)), { class: "primary", autofocus: true })),
  );
}

/** Somebody else changed the count between the look and the write. */
async function faster(of, wish) {
  const { dialog, namespace, name, me, now } = of;
  let words = `The count isn't ${now} any more: nothing was changed.`;
  try {
    const { replicas, lastSetBy } = await detailOf(namespace, name, dialog.signal);
    const by = ownerInWords(lastSetBy) || "Somebody";
    if (replicas.desired === now) words = `It has changed since you looked, and is ${now} again. Nothing was changed by this request.`;
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
