// Dialogs: the browser's own, which keep the focus inside and give it back.

import { button, el, fill, focusAgain, setAttribute, setText } from "./dom.js";
import { pathOf, read } from "./api.js";

/** Opens one with a title; its content is what `show` is called with. */
export function openDialog(title, { wide = false } = {}) {
  const heading = el("h2", { id: "dialog-title" }, title);
  const content = el("div", { class: "content" });
  const close = () => element.close();
  // Whoever keeps Enter pressed has not read what comes next.
  const onkeydown = (event) => event.key === "Enter" && event.repeat && event.preventDefault();
  const element = el(
    "dialog",
    { "aria-labelledby": "dialog-title", class: wide ? "wide" : null, tabindex: -1, onkeydown },
    el("header", {}, heading, button("✕", close, { class: "quiet", "aria-label": "Close" })),
    content,
  );
  const ended = new AbortController();
  const from = document.activeElement;
  element.addEventListener("close", () => {
    ended.abort(new DOMException("the dialog was closed", "AbortError"));
    element.remove();
    // What opened it may have been drawn anew meanwhile.
    if (document.activeElement === document.body) focusAgain(from);
  });
  document.body.append(element);
  element.showModal();
  const show = (...children) => {
    fill(content, ...children);
    const wanted = content.querySelector("[autofocus]");
    // What had the focus is gone: the dialog has it, not nobody.
    if (wanted) wanted.focus();
    else if (!element.contains(document.activeElement)) element.focus();
  };
  return { element, close, show, signal: ended.signal };
}

/** A form whose submission stays in the page. */
export function form(onsubmit, ...children) {
  const submit = (event) => {
    event.preventDefault();
    onsubmit();
  };
  return el("form", { onsubmit: submit, novalidate: true }, ...children);
}

/** Milliseconds after which it is said that an answer takes long. */
const LONG = 5_000;

/** That an answer is waited for; `late` is said once it takes long. */
export function waiting(words, late = "No answer yet.") {
  const more = el("p", { class: "hint", role: "status" });
  setTimeout(() => setText(more, late), LONG);
  return [el("p", { class: "loading" }, words), more];
}

/** An input with its label, and what is to be known of it. */
export function field(label, input, hint) {
  const id = input.id || `field-${label.toLowerCase().replaceAll(/\W+/g, "-")}`;
  input.id = id;
  const described = hint && el("p", { class: "hint", id: `${id}-hint` }, hint);
  if (described) setAttribute(input, "aria-describedby", described.id);
  return el("div", { class: "field" }, el("label", { for: id }, label), input.parentElement ?? input, described);
}

/** A lease by its holder, who may have no name and isn't told to everybody. */
export const whoseLease = ({ holder }) => (holder ? `${holder}'s lease` : "the lease");
/** The holder behind "leased". */
export const byHolder = ({ holder }) => (holder ? ` by ${holder}` : "");

/** The field of a lease's time; where there are no leases it isn't offered, and is said why. `me` may hear of that later. */
export function timeField(time, hint, me) {
  const offered = field("For how long", time, hint);
  const none = el("p", { class: "hint" });
  me.leasesHeard = () => {
    const why = me.noLeases;
    offered.hidden = why !== null;
    none.hidden = why === null;
    if (why === null) return;
    time.value = "";
    setText(none, `For how long can't be said here, the count stays until somebody sets another. ${why}`);
  };
  me.leasesHeard();
  return [offered, none];
}

/** What is wrong, told at once to those who can't see it. */
export const alertOf = (...words) => el("p", { class: "wrong", role: "alert" }, ...words);

/** What may go otherwise than meant. */
export const warning = (...words) => el("p", { class: "warning" }, ...words);

/** The row of buttons at a dialog's end; the last one is the one that is meant. */
export const buttons = (...all) => el("footer", {}, ...all);

/** An input that has to be filled with exactly this text before `confirm` is enabled. */
export function typed(text, label, confirm) {
  confirm.disabled = true;
  const input = el("input", { type: "text", autocomplete: "off", autocapitalize: "off", spellcheck: "false", autofocus: true });
  input.addEventListener("input", () => (confirm.disabled = input.value.trim() !== text));
  return field(label, input);
}

/** Which counts may be set, in a sentence; an empty text if all may, or nobody knows. */
export function allowedInWords(bounds) {
  const words = bounds ? boundsInWords(bounds) : "";
  return words && `Allowed: ${words}.`;
}

/** The bounds of the API, in words; an empty text if there are none. */
export function boundsInWords(bounds) {
  const { min, max, maxStep, allowZero } = bounds;
  const words = [];
  if (min !== undefined && max !== undefined) words.push(`${min} to ${max}`);
  else if (max !== undefined) words.push(`up to ${max}`);
  else if (min !== undefined) words.push(`${min} or more`);
  if (allowZero === true) words.push("or 0");
  if (allowZero === false) words.push("not 0");
  if (maxStep !== undefined) words.push(`at most ${maxStep} away from the present count`);
  return words.join(", ");
}

/** Who set a count, in words; an empty text where nobody knows. */
export function ownerInWords(owner) {
  if (!owner) return "";
  return owner.principal ?? owner.manager ?? "";
}

/** What else sets a count, in a sentence each. */
export function othersInWords({ alsoSetBy = [], willStick } = {}) {
  return alsoSetBy.map((one) => {
    const name = one.namespace ? `${one.namespace}/${one.name}` : one.name;
    const range = one.minReplicas === undefined ? "" : ` (${one.minReplicas} to ${one.maxReplicas})`;
    const undone = willStick === false ? " and will undo another one" : "";
    return `${one.kind} ${name}${range} also sets this count${undone}.`;
  });
}

/** A Deployment's detail. */
export const detailOf = (namespace, name, signal) => read(pathOf(namespace, name), { signal }).then(({ body }) => body);

/** A headers' value of any text: bytes of UTF-8, which is what the API reads. */
export const headerText = (text) => String.fromCharCode(...new TextEncoder().encode(text));
