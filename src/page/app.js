// The page: what is in its header, which view is shown, and how its parts hear of each other.

import { onUnauthorized, reach, read, sentence } from "./api.js";
import { changeMany, snapshots, undo } from "./batch.js";
import { changeCount } from "./change.js";
import { Connection } from "./connection.js";
import { Details } from "./details.js";
import { announce, button, el, fill, focusAgain, forbid, growOlder, home, keepFocus, onceReleased, plain, setAttribute, setText } from "./dom.js";
import { Grid } from "./grid.js";
import { History } from "./history.js";
import { showKeys, toggleTheme } from "./keys.js";
import { Leases } from "./leases.js";
import { Me } from "./me.js";
import { Owners } from "./owners.js";
import { tellOf } from "./present.js";
import { DETAILED, LOCKED, Rows, UNSEEN } from "./rows.js";
import { Shown } from "./shown.js";
import { follow, tryNow } from "./stream.js";
import { clock, duration, serverNow } from "./times.js";

/** More at once would be minutes of writes. */
const MOST_CHOSEN = 1000;
/** Milliseconds between two looks at what a label selector selects. */
const SELECTED = 20_000;
/** Milliseconds after which it is asked again whether a count may still not be set. */
const LOCKS = 60_000;
/** What stands beside the name of who may set nothing. */
const looks = () => (me.readOnly ? "read-only server" : "may only look");

const $ = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en");

const rows = new Rows();
const me = new Me(meChanged);
const who = () => me.principal;
const connection = new Connection(me, tryNow);

const shown = new Shown(rows, (before) => {
  grid.relist(before);
  tellSize();
});
const grid = new Grid(rows, shown, {
  open: (row) => open(rows.namespaces[row], rows.names[row]),
  change,
  chosen: tellChosen,
  visible: (visible) => view === "deployments" && owners.see(visible),
  sort,
});
const redraw = () => grid.draw();
const history = new History(rows, who, { open, learnt });
const leases = new Leases(rows, {
  open,
  learnt: () => {
    me.noLeases = leases.off;
    me.leasesHeard();
    learnt();
    details.leasesRead();
  },
  why: whyLocked,
  visible: (visible) => owners.see(visible),
});
const owners = new Owners(rows, who, () => (learnt(), leases.learnt()));
const details = new Details({
  me,
  learn: (namespace, name, detail) => {
    const row = rows.find(namespace, name);
    if (row === undefined) return;
    owners.learn(row, detail);
    learnt();
  },
  closed: (from) => {
    remember();
    focusAgain(from);
  },
  leases: () => ({ of: (namespace, name) => leases.of(namespace, name), readAt: leases.readAt, load: () => leases.load() }),
});
let view = "deployments";

/** More is known of some rows: those that are filtered by it may be others. */
function learnt() {
  redraw();
  if (shown.filters.size) shown.findSoon(250);
  tellLook();
  tellChosen();
}

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
    tellOf(one, event === "deleted");
  },
  settled: redraw,
  state: (name, words) => {
    // A stream ends when what its caller may do changes.
    if (connection.state(name, words)) me.look();
  },
};

// Who looks, and what they may do.

function meChanged() {
  const { said } = me;
  // Whose rows are whose, and which are locked, was found out for another caller.
  rows.unflag(DETAILED | LOCKED | UNSEEN);
  const rights = me.mayScale ? "" : me.readOnly ? ` ${me.whyNot}` : " You may set no counts.";
  setAttribute($("who"), "title", `${said.certificate.subject}, valid until ${clock(said.certificate.notAfter)}.${said.groups.length ? ` Groups: ${said.groups.join(", ")}.` : ""}${rights}`);
  forbid($("undo"), me.mayScale ? null : me.whyNot);
  tellMe();
  tellChosen();
  details.meChanged();
  leases.meChanged();
  if (rows.size) history.load();
  redraw();
}

function tellMe() {
  const { said, principal, mayScale } = me;
  if (!said) return;
  const left = Date.parse(said.certificate.notAfter) - serverNow();
  const soon = left < 86_400_000 ? ` (${duration(left / 1000)} left)` : "";
  const text = plain(`${principal ?? "nobody"}${soon}`);
  if ($("who").textContent === text + (mayScale ? "" : looks())) return;
  fill($("who"), el("span", {}, text), !mayScale && el("small", {}, looks()));
}

/** Why the caller may not set this count; null if it may, or nobody knows yet. */
function whyLocked(row) {
  return !me.mayScale || (row !== undefined && rows.flags[row] & LOCKED) ? me.whyNot : null;
}

function change(row) {
  const why = whyLocked(row);
  if (why) announce(why);
  else changeCount(rows.namespaces[row], rows.names[row], me);
}

// What is filtered and sorted by.

function sort(by) {
  const same = shown.sort.by === by;
  shown.sort = { by, reversed: same && !shown.sort.reversed };
  grid.sorted(shown.sort);
  shown.find();
}

function tellSize() {
  const [found, all, unknown] = [shown.list.length, rows.size, shown.unknown.count];
  const text = found === all ? `${number.format(all)} Deployments` : `${number.format(found)} of ${number.format(all)}`;
  setText($("size"), unknown ? `${number.format(found)} of ${number.format(shown.unknown.known)} looked at` : text);
  tellLook();
  grid.element.classList.toggle("nothing", all > 0 && found === 0);
}

/** What a filter can't tell of some rows can be asked for. */
function tellLook() {
  const { count, some } = shown.unknown;
  const left = owners.left;
  const why = reach.lost ? "The server can't be reached." : count && !some.length ? 'Details take the permission "get".' : null;
  if ((left || !count) && document.activeElement === $("look")) grid.element.focus();
  $("look").hidden = count === 0;
  $("look").disabled = left > 0;
  setText($("look"), left ? `Looking at ${number.format(left)} …` : `Look at ${number.format(some.length || count)} more`);
  forbid($("look"), why);
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
  onceReleased($("chosen"), drawChosen);
}

function drawChosen() {
  const count = rows.chosenCount;
  const locked = count ? rows.allChosen().filter((row) => whyLocked(row)).length : 0;
  const why = whyNotChosen(count, locked);
  const some = locked > 0 && locked < count ? `${number.format(locked)} of them you may not set` : null;
  const told = JSON.stringify([count, why, some]);
  // Drawn only when it says something else: whoever is in it stays there.
  if (told === chosenTold) return;
  chosenTold = told;
  const inside = $("chosen").contains(document.activeElement);
  $("chosen").hidden = count === 0;
  fill(
    $("chosen"),
    el("strong", { role: "status" }, `${number.format(count)} selected`),
    (why ?? some) && el("span", { id: "chosen-why" }, why ?? some),
    button("Set count…", changeChosen, { class: "primary", why, "aria-describedby": (why ?? some) ? "chosen-why" : null }),
    button("Select none", () => grid.chooseAll(false)),
  );
  if (inside && count) $("chosen").querySelector("button").focus();
  else if (inside) grid.element.focus();
}

let chosenTold = "";
function whyNotChosen(count, locked) {
  if (count > MOST_CHOSEN) return `at most ${number.format(MOST_CHOSEN)} at once`;
  return count > 0 && locked === count ? me.whyNot : null;
}

function changeChosen() {
  const chosen = rows.allChosen();
  if (!chosen.length) return announce("Select some first: with Space, or with the boxes.");
  const why = whyNotChosen(chosen.length, chosen.filter((row) => whyLocked(row)).length);
  if (why) return announce(why);
  const items = chosen.map((row) => ({ namespace: rows.namespaces[row], name: rows.names[row], replicaCount: rows.desired[row] }));
  changeMany(items, tellUndo, me);
}

const undoSome = () => (me.mayScale ? undo(tellUndo) : announce(me.whyNot));

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
  select.timer = setTimeout(selectAgain, SELECTED);
}

const selectAgain = () => (reach.lost ? (select.timer = setTimeout(selectAgain, SELECTED)) : select());

// Views, and the address that brings them back.

function show(name) {
  const other = view !== name;
  view = name;
  $("deployments").hidden = name !== "deployments";
  leases.element.hidden = name !== "leases";
  history.element.hidden = name !== "history";
  for (const tab of document.querySelectorAll("nav button")) {
    if (tab.dataset.view === name) setAttribute(tab, "aria-current", "page");
    else tab.removeAttribute("aria-current");
  }
  ({ leases, history })[name]?.show();
  if (name === "deployments") redraw();
  remember(other);
  keepFocus();
}

/** What of the view takes the focus: what the keys move in. */
home.focus = () => {
  if (details.of && matchMedia("(max-width: 720px)").matches) return details.element.focus();
  const { element } = { leases, history }[view] ?? {};
  (element?.querySelector(".scroll") ?? grid.element).focus();
};

/** By a key: whoever works without a mouse is in the view then. */
const goTo = (name) => (show(name), home.focus());

/** While the address is taken in it isn't written. */
let recalling = false;

/** Writes the address: `#leases`, `#history`, and what is searched and open. Another view is a step that the browser goes back by. */
function remember(step = false) {
  if (recalling) return;
  const said = new URLSearchParams();
  if ($("search").value) said.set("q", $("search").value);
  if (details.of) said.set("open", `${details.of.namespace}/${details.of.name}`);
  const address = `#${[view === "deployments" ? "" : view, said].map(String).filter(Boolean).join("&")}`;
  if (step) window.history.pushState(null, "", address);
  else window.history.replaceState(null, "", address);
}

function recall() {
  const said = new URLSearchParams(location.hash.slice(1));
  recalling = true;
  const words = said.get("q") ?? "";
  if (words !== $("search").value) search(($("search").value = words));
  // As it was written before views had addresses of their own.
  show(["leases", "history"].find((name) => said.has(name) || said.get("view") === name) ?? "deployments");
  const [namespace, name] = (said.get("open") ?? "").split("/");
  const open = details.of && `${details.of.namespace}/${details.of.name}`;
  if (!namespace || !name) details.close();
  else if (open !== `${namespace}/${name}`) details.open(namespace, name);
  recalling = false;
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
      setAttribute(chip, "aria-pressed", on);
      shown.find();
    });
  }
  for (const tab of document.querySelectorAll("nav button")) tab.addEventListener("click", () => show(tab.dataset.view));
  // Its address would be taken for that of a view.
  document.querySelector(".skip").addEventListener("click", (event) => (event.preventDefault(), home.focus()));
  $("theme").addEventListener("click", toggleTheme);
  $("keys").addEventListener("click", showKeys);
  $("undo").addEventListener("click", undoSome);
  $("look").addEventListener("click", () => {
    if ($("look").ariaDisabled === "true") return announce($("look").title);
    owners.look(shown.unknown.some);
    tellLook();
  });
  addEventListener("keydown", key);
  // Somebody opened a link in this tab, or went back.
  addEventListener("hashchange", recall);
}

function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const writing = event.target.matches("input:not([type=checkbox]), select, textarea");
  // Left as it is: what the browser itself does would empty the field and not what it finds.
  if (event.key === "Escape" && event.target.matches("#search, #labels")) return (event.preventDefault(), grid.element.focus());
  if (event.key === "ArrowDown" && event.target.matches("#search")) return (grid.element.focus(), grid.move(0));
  if (writing) return;
  if (event.key === "Escape" && details.of) return details.close();
  if (event.key === "Escape") return keepFocus();
  const act = {
    "/": () => (show("deployments"), $("search").focus(), $("search").select()),
    "?": showKeys,
    1: () => goTo("deployments"),
    2: () => goTo("leases"),
    3: () => goTo("history"),
    b: changeChosen,
    u: undoSome,
  }[event.key];
  if (!act) return;
  event.preventDefault();
  act();
  keepFocus();
}

$("table").append(grid.element);
$("main").append(leases.element, history.element, details.element);
onUnauthorized.tell = (refused) => connection.refused(refused.message);
grid.sorted(shown.sort);
tellUndo();
listen();
recall();
remember();
me.look();
connection.lookAtHealth();
setInterval(() => me.mayScale && rows.unflag(DETAILED, (row) => rows.flags[row] & LOCKED), LOCKS);
// Ages in the table and in the header grow by themselves.
setInterval(() => (redraw(), connection.tell(), tellMe()), 5_000);
setInterval(growOlder, 1_000);
follow(into, new AbortController().signal);
