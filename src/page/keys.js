// The keys, shown; and dark or light.

import { buttons, openDialog } from "./dialog.js";
import { announce, button, el } from "./dom.js";

const KEYS = [
  ["/", "search"],
  ["↑ ↓, j k", "one row up or down; with Shift, select"],
  ["Page Up, Page Down, Home, End", "further"],
  ["Enter", "details of the row"],
  ["c", "change its count"],
  ["Space", "select the row"],
  ["Ctrl A", "select all that are shown"],
  ["b", "set the count of all that are selected"],
  ["u", "undo a batch"],
  ["1 2 3", "Deployments, leases, history"],
  ["Esc", "close, or leave the search"],
  ["?", "these keys"],
];

/** Shows the keys. */
export function showKeys() {
  const dialog = openDialog("Keys");
  dialog.show(
    el("dl", { class: "keys" }, KEYS.map(([key, what]) => el("div", {}, el("dt", {}, el("kbd", {}, key)), el("dd", {}, what)))),
    buttons(button("Close", dialog.close, { class: "primary" })),
  );
}

/** From the system's theme to the other one, and back; the choice is kept in this browser. */
export function toggleTheme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  try {
    localStorage.setItem("theme", root.dataset.theme);
  } catch {
    // Then it holds for this visit.
  }
  announce(`${root.dataset.theme === "dark" ? "Dark" : "Light"}.`);
}
