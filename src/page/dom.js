// Elements made by hand. All text becomes text nodes: nothing that comes from a cluster is ever markup. All text and every attribute of
// the page is written here, so that none of it can hide, or turn the text around it.

import { ago, clock, duration, iso, serverNow } from "./times.js";

// As the server's log has it: controls, and what can't be seen or turns the text around it; not what makes a sign an emoji.
const HIDING = /[[\p{Cc}\p{Default_Ignorable_Code_Point}\u2028\u2029\ufff9-\ufffb]--[\t\n\ufe0e\ufe0f]]/gv;

/** The text with whatever could make it look like another one made visible. */
export function plain(text) {
  return String(text).replace(HIDING, "\ufffd");
}

/** An element with attributes, `on…` listeners, properties (`.name`) and children. */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.startsWith(".")) element[name.slice(1)] = value;
    else setAttribute(element, name, value === true ? "" : value);
  }
  put(element, ...children);
  return element;
}

/** Appends children: elements, texts, lists of them; what is null or false is left out. */
export function put(element, ...children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : plain(child));
  }
  return element;
}

/** The same with these children alone. */
export function fill(element, ...children) {
  element.replaceChildren();
  return put(element, ...children);
}

/** Sets a text only where it is another one: the layout of what didn't change stays. */
export function setText(element, text) {
  // What stands there has gone through the same: the same text needn't.
  if (element.textContent === text) return;
  const shown = plain(text);
  if (element.textContent !== shown) element.textContent = shown;
}

/** Sets an attribute, which may be shown or read aloud. */
export const setAttribute = (element, name, value) => element.setAttribute(name, plain(value));

/**
 * Calls `draw` once nothing in the element is held down by a pointer or a key: what is drawn anew between that and its release
 * is clicked in vain.
 */
export function onceReleased(element, draw) {
  if (element.querySelector(":active")) requestAnimationFrame(() => onceReleased(element, draw));
  else draw();
}

/** Attributes of an element that says how long ago a time in milliseconds was; `growOlder` keeps it true. */
export const aged = (then) => ({ "data-then": then });

/** An element with the time that is left, until `ends` of `performance.now()`. */
export const timeLeft = (ends, tag = "span", attributes = {}) => el(tag, { "data-ends": ends, ...attributes }, leftInWords(ends));

const leftInWords = (ends) => {
  const now = performance.now();
  if (ends > now) return duration((ends - now) / 1000);
  return `over since ${clock(serverNow() + ends - now)}`;
};

/** A time as the reader's clock shows it, in whole where it is pointed at. */
export const timeOf = (time) => el("time", { datetime: iso(time), title: iso(time) }, clock(time));

/** Brings all such texts up to date. */
export function growOlder() {
  for (const element of document.querySelectorAll("[data-then]")) setText(element, ago(Number(element.dataset.then)));
  for (const element of document.querySelectorAll("[data-ends]")) setText(element, leftInWords(Number(element.dataset.ends)));
}

/** Where the focus goes when what had it is gone; the page says where that is. */
export const home = { focus: () => {} };

/** Gives the focus back to an element, or to the one that is in its place now; else it goes home. */
export function focusAgain(from) {
  const nameOf = (one) => one.getAttribute("aria-label") ?? one.dataset.action ?? one.textContent;
  const like = () => from && [...document.querySelectorAll("main button")].find((one) => nameOf(one) === nameOf(from) && !one.closest("[hidden]"));
  const there = from?.isConnected ? from : like();
  if (there && !there.closest("[hidden]")) there.focus();
  keepFocus();
}

/** Sees to it that something has the focus. */
export function keepFocus() {
  const { activeElement } = document;
  if (activeElement === document.body || activeElement?.closest("[hidden]")) home.focus();
}

/** A table with these heads, whose rows go into `body`; with roles, since a narrow screen lays it out as something else. */
export const tableOf = (name, heads, body) =>
  el(
    "table",
    { role: "table", class: name },
    el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, heads.map((head) => el("th", { scope: "col", role: "columnheader" }, head)))),
    body,
  );

/** The body of such a table, one of its rows, and a cell. */
export const tableBody = () => el("tbody", { role: "rowgroup" });
export const tableRow = (...cells) => el("tr", { role: "row" }, ...cells);
export const cell = (attributes, ...content) => el("td", { role: "cell", ...attributes }, ...content);

/** A button. `why` is why it can't be used, if it can't: it can still be reached by keys and read, and says that. */
export function button(label, onclick, { why, ...attributes } = {}) {
  const element = el("button", { type: "button", ...attributes }, label);
  element.addEventListener("click", (event) => (isForbidden(element) ? announce(element.title) : onclick(event)));
  forbid(element, why);
  return element;
}

/** Says of a button why it can't be used, or, without a reason, that it can. */
export function forbid(element, why) {
  if (why) {
    element.setAttribute("aria-disabled", "true");
    setAttribute(element, "title", why);
  } else if (isForbidden(element)) {
    element.removeAttribute("aria-disabled");
    element.removeAttribute("title");
  }
}

const isForbidden = (element) => element.getAttribute("aria-disabled") === "true";

/** Comes back when the browser has dealt with what waits: input and painting first. */
export const nextTask = globalThis.scheduler?.yield
  ? () => globalThis.scheduler.yield()
  : () => new Promise((resolve) => setTimeout(resolve));

/** Tells those who don't see the page, and shows it to the others for a while. */
export function announce(text, kind = "info") {
  const region = document.getElementById(kind === "error" ? "alerts" : "status");
  const note = el("p", { class: `note ${kind}` }, text);
  region.append(note);
  while (region.children.length > 4) region.firstChild.remove();
  setTimeout(() => note.remove(), kind === "error" ? 15_000 : 6_000);
}
