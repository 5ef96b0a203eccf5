// The page: what is in its header, which view is shown, and how its parts hear of each other.

import { onUnauthorized, read, sentence } from "./api.js";
import { changeMany, snapshots, undo } from "./batch.js";
import { changeCount } from "./change.js";
import { Details } from "./details.js";
import { button, el, fill, growOlder, setText } from "./dom.js";
import { Grid } from "./grid.js";
import { History } from "./history.js";
import { showKeys, toggleTheme } from "./keys.js";
import { Leases } from "./leases.js";
import { Owners } from "./owners.js";
import { Rows } from "./rows.js";
import { Shown } from "./shown.js";
import { follow } from "./stream.js";
import { clock, duration, serverNow } from "./times.js";

/** More at once would be minutes of writes. */
const MOST_CHOSEN = 1000;
/** Milliseconds between two looks at the server's health. */
const HEALTH = 10_000;
/** Milliseconds between two looks at what a label selector selects. */
const SELECTED = 20_000;

const $ = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en");

const rows = new Rows();
let me;
const who = () => me?.principal ?? undefined;

const shown = new Shown(rows, (before) => {
  grid.relist(before);
  tellSize();
});
const grid = new Grid(rows, shown, {
  open: (row) => open(rows.namespaces[row], rows.names[row]),
  change: (row) => changeCount(rows.namespaces[row], rows.names[row], who()),
  chosen: tellChosen,
  visible: (visible) => owners.see(visible),
  sort,
});
const redraw = () => grid.draw();
const history = new History(rows, who, { open, learnt: redraw });
const leases = new Leases(rows, { open, learnt: () => (redraw(), details.leasesRead()) });
const leaseOf = (namespace, name) => leases.of(namespace, name);
const owners = new Owners(rows, who, redraw);
const details = new Details({
  me: who,
  learn: (namespace, name, detail) => {
    const row = rows.find(namespace, name);
    if (row === undefined) return;
    owners.learn(row, detail);
    redraw();
  },
  closed: () => {
    remember();
    if (view === "deployments") grid.element.focus();
  },
  leases: () => ({ of: leaseOf, readAt: leases.readAt, load: () => leases.load() }),
});
let view = "deployments";

function open(namespace, name) {
  details.open(namespace, name);
  remember();
}

// What changes: taken in one by one, shown at most once a frame.

const into = {
  begin: () => rows.begin(),
  put(list) {
    const first = rows.size === 0;
    rows.put(list);
    // The first rows are there long before the last ones.
    if (first) shown.find();
    else shown.findSoon(150);
  },
  end() {
    rows.end();
    shown.find();
    tellNamespaces();
    history.load();
    leases.load();
  },
  change(event, one) {
    if (event === "deleted") rows.delete(one.namespace, one.name);
    else rows.set(one, event === "changed" ? serverNow() : 0);
    if (event !== "changed" || shown.followsCounts) shown.findSoon();
    if (event !== "changed") tellNamespaces();
    history.soon();
  },
  settled: redraw,
  state,
};

// How it stands with the server.

/** Since when it is so, what the stream is, and its words for why. */
let since = Date.now();
let connection = "connecting";
let why;
/** Why the server's own copy may be old. */
let health = null;
/** The words of a 401: all that comes after it is a connection that fails without any. */
let refusedWords = null;

function state(name, words) {
  if (name !== connection) since = Date.now();
  connection = name;
  why = words;
  if (name === "live") refusedWords = null;
  if (name === "refused") refusedWords = words;
  tellConnection();
}

function tellConnection() {
  const stale = connection === "live" && health;
  const live = stale ? "Not up to date" : why ? `Live, ${why}` : "Live";
  const text = { connecting: "Connecting …", live, refused: "Refused", reconnecting: `Reconnecting, since ${clock(since)}` }[connection];
  $("connection").dataset.state = stale ? "stale" : connection;
  setText($("connection").lastElementChild, text);
  const expired = me && serverNow() > Date.parse(me.certificate.validUntil);
  let trouble = null;
  if (refusedWords) trouble = `The server refuses you: ${refusedWords}`;
  else if (expired) trouble = `Your certificate expired ${clock(me.certificate.validUntil)}: give the browser a new one and load the page again.`;
  else if (connection === "reconnecting" && Date.now() - since > 3000)
    trouble = `What stands here is of ${clock(since)} and may be old: ${why ?? "the server can't be reached"}. The page goes on trying. If the server is up, your certificate may be refused.`;
  else if (connection === "live" && health) trouble = `What stands here may be old: ${health}`;
  $("trouble").hidden = trouble === null;
  if (trouble) setText($("trouble"), trouble);
}

onUnauthorized.tell = (refused) => {
  refusedWords = refused.message;
  tellConnection();
};

async function lookAtHealth() {
  try {
    await read("/health");
    health = null;
  } catch (error) {
    // Only what the server itself says of its copy: that it can't be reached is known already.
    health = error.status === 503 ? sentence(error) : null;
  }
  tellConnection();
  setTimeout(lookAtHealth, HEALTH);
}

async function lookAtMe() {
  try {
    ({ body: me } = await read("/whoami"));
    $("who").title = me.groups.length ? `Groups: ${me.groups.join(", ")}` : "";
    tellMe();
  } catch {
    setTimeout(lookAtMe, 5000);
  }
}

function tellMe() {
  if (!me) return;
  const left = Date.parse(me.certificate.validUntil) - serverNow();
  const soon = left < 86_400_000 ? ` (${duration(left / 1000)} left)` : "";
  const text = `${me.principal ?? "nobody"}${soon}`;
  if ($("who").textContent === text) return;
  fill($("who"), el("span", { title: `${me.certificate.subject}, valid until ${clock(me.certificate.validUntil)}` }, text));
}

// What is filtered and sorted by.

function sort(by) {
  const same = shown.sort.by === by;
  shown.sort = { by, reversed: same && !shown.sort.reversed };
  grid.sorted(shown.sort);
  shown.find();
}

function tellSize() {
  const [found, all] = [shown.list.length, rows.size];
  setText($("size"), found === all ? `${number.format(all)} Deployments` : `${number.format(found)} of ${number.format(all)}`);
  grid.element.classList.toggle("nothing", all > 0 && found === 0);
}

let namespacesTold = "";
function tellNamespaces() {
  const { value } = $("namespace");
  // One that has no Deployments any more is still what is asked for.
  const names = [...new Set([...rows.namespaceNames(), value])].filter(Boolean).sort();
  if (names.join() === namespacesTold) return;
  namespacesTold = names.join();
  fill($("namespace"), el("option", { value: "" }, "All namespaces"), names.map((name) => el("option", { value: name }, name)));
  $("namespace").value = value;
}

function tellChosen() {
  const count = rows.chosenCount;
  const many = count > MOST_CHOSEN;
  $("chosen").hidden = count === 0;
  fill(
    $("chosen"),
    el("strong", { role: "status" }, `${number.format(count)} selected`),
    many && el("span", {}, `at most ${number.format(MOST_CHOSEN)} at once`),
    button("Set count…", changeChosen, { class: "primary", disabled: many }),
    button("Select none", () => grid.chooseAll(false)),
  );
}

function changeChosen() {
  const items = rows.allChosen().map((row) => ({ namespace: rows.namespaces[row], name: rows.names[row], replicaCount: rows.desired[row] }));
  if (items.length && items.length <= MOST_CHOSEN) changeMany(items, tellUndo, leaseOf);
}

const tellUndo = () => {
  $("undo").dataset.count = snapshots().length;
  history.soon();
  leases.load();
};

let selecting = null;
/** The selector that the rows are of; nothing is shown of another one, so that nobody selects what it doesn't. */
let selectedBy = "";
function unselect() {
  selectedBy = null;
  shown.selected = new Set();
  shown.find();
}

async function select() {
  clearTimeout(select.timer);
  selecting?.abort();
  const selector = $("labels").value.trim();
  if (selector !== selectedBy) unselect();
  const wrong = $("labels-wrong");
  if (!selector) {
    shown.selected = null;
    selectedBy = "";
    wrong.hidden = true;
    return shown.find();
  }
  selecting = new AbortController();
  const { signal } = selecting;
  try {
    const { body } = await read(`/deployments?labelSelector=${encodeURIComponent(selector)}`, { signal });
    shown.selected = new Set(body.map(({ namespace, name }) => `${namespace}/${name}`));
    selectedBy = selector;
    wrong.hidden = true;
    shown.find();
  } catch (error) {
    if (signal.aborted) return;
    // What can't be asked for just now is what it was.
    if (error.status >= 400 && ![429, 503].includes(error.status)) unselect();
    wrong.hidden = false;
    setText(wrong, sentence(error));
  }
  select.timer = setTimeout(select, SELECTED);
}

// Views, and the address that brings them back.

function show(name) {
  view = name;
  $("deployments").hidden = name !== "deployments";
  leases.element.hidden = name !== "leases";
  history.element.hidden = name !== "history";
  for (const tab of document.querySelectorAll("nav button")) {
    if (tab.dataset.view === name) tab.setAttribute("aria-current", "page");
    else tab.removeAttribute("aria-current");
  }
  ({ leases, history })[name]?.show();
  if (name === "deployments") redraw();
  remember();
}

function remember() {
  const said = new URLSearchParams();
  if (view !== "deployments") said.set("view", view);
  if ($("search").value) said.set("q", $("search").value);
  if (details.of) said.set("open", `${details.of.namespace}/${details.of.name}`);
  window.history.replaceState(null, "", `#${said}`);
}

function recall() {
  const said = new URLSearchParams(location.hash.slice(1));
  if (said.get("q")) search(($("search").value = said.get("q")));
  show(["leases", "history"].includes(said.get("view")) ? said.get("view") : "deployments");
  const [namespace, name] = (said.get("open") ?? "").split("/");
  if (namespace && name) open(namespace, name);
}

function search(text) {
  shown.words = text.toLowerCase().split(/\s+/).filter(Boolean);
  shown.find();
}

function listen() {
  $("search").addEventListener("input", (event) => search(event.target.value));
  $("search").addEventListener("change", remember);
  $("namespace").addEventListener("change", (event) => {
    shown.namespace = event.target.value;
    shown.find();
  });
  $("labels").addEventListener("input", () => {
    clearTimeout(select.timer);
    if ($("labels").value.trim() !== selectedBy) unselect();
    select.timer = setTimeout(select, 400);
  });
  $("filters").addEventListener("submit", (event) => {
    event.preventDefault();
    grid.element.focus();
  });
  for (const chip of document.querySelectorAll("[data-filter]")) {
    chip.addEventListener("click", () => {
      const on = !shown.filters.has(chip.dataset.filter);
      shown.filters[on ? "add" : "delete"](chip.dataset.filter);
      chip.setAttribute("aria-pressed", on);
      shown.find();
    });
  }
  for (const tab of document.querySelectorAll("nav button")) tab.addEventListener("click", () => show(tab.dataset.view));
  $("theme").addEventListener("click", toggleTheme);
  $("keys").addEventListener("click", showKeys);
  $("undo").addEventListener("click", () => undo(tellUndo, leaseOf));
  addEventListener("keydown", key);
  // Somebody opened a link in this tab.
  addEventListener("hashchange", recall);
}

function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const writing = event.target.matches("input:not([type=checkbox]), select, textarea");
  // Left as it is: what the browser itself does would empty the field and not what it finds.
  if (event.key === "Escape" && event.target.matches("#search, #labels")) return (event.preventDefault(), grid.element.focus());
  if (event.key === "ArrowDown" && event.target.matches("#search")) return (grid.element.focus(), grid.move(0));
  if (writing) return;
  const act = {
    "/": () => (show("deployments"), $("search").focus(), $("search").select()),
    "?": showKeys,
    1: () => show("deployments"),
    2: () => show("leases"),
    3: () => show("history"),
    b: changeChosen,
    u: () => undo(tellUndo, leaseOf),
  }[event.key];
  if (!act) return;
  event.preventDefault();
  act();
}

$("table").append(grid.element);
$("main").append(leases.element, history.element, details.element);
grid.sorted(shown.sort);
tellUndo();
listen();
recall();
lookAtMe();
lookAtHealth();
// Ages in the table and in the header grow by themselves.
setInterval(() => (redraw(), tellConnection(), tellMe()), 5_000);
setInterval(growOlder, 1_000);
follow(into, new AbortController().signal);
