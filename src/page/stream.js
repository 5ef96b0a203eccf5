// Follows all Deployments: a list, then what changes, and comes back when the stream ends.
//
// Over fetch and not EventSource: that tells no status and no Retry-After, and has no way to begin behind a list.

import { NoAnswer, open, pause, Refused } from "./api.js";
import { nextTask } from "./dom.js";

/** The server says something every 15 s at the least. */
const SILENCE = 40_000;
/** The longest wait between two attempts, in seconds. */
const LONGEST = 30;
/** Attempts without any answer after which the server counts as out of reach. */
const LOST_AFTER = 5;
/** For those who may list and not watch. */
const POLL = 5;
/** Rows that are taken in without a break. */
const PORTION = 4_000;

/**
 * `into` has `begin()`, `put(rows)`, `end()` for a whole state, `change(event, row)` and `settled()` for changes, and
 * `state(name, words)`: `connecting`, `live`, `reconnecting`, `refused`, and `lost` when many attempts in a row had no answer.
 */
export async function follow(into, signal) {
  let id = null;
  let failures = 0;
  let silent = 0;
  into.state("connecting");
  while (!signal.aborted) {
    let wait = 0;
    let told = false;
    try {
      if (id === null) {
        id = await list(into, signal);
        silent = 0;
      }
      const watched = await watch(id, into, signal, () => (failures = silent = 0));
      id = watched.id;
      wait = watched.retry;
      told = true;
      if (id !== null) into.state("reconnecting", "the server ended the stream");
    } catch (error) {
      if (signal.aborted) return;
      if (error.at) id = error.at;
      failures += 1;
      const refused = error instanceof Refused;
      silent = refused ? 0 : silent + 1;
      const final = refused && [401, 403].includes(error.status);
      // The id of a time that no server knows, or of another cluster's.
      if (refused && [400, 410].includes(error.status)) id = null;
      into.state(final ? "refused" : silent < LOST_AFTER ? "reconnecting" : "lost", error.message);
      told = (error.retryAfter ?? null) !== null;
      wait = error.retryAfter ?? backoff(final ? 5 : 0.5, failures);
    }
    await woken(wait, signal, told);
  }
}

/** Seconds before the next attempt: ever more, and anything from a half of that to the whole. */
const backoff = (first, failures) => Math.min(LONGEST, first * 2 ** (failures - 1)) * (0.5 + Math.random() / 2);

const asked = new EventTarget();
/** Somebody wants it tried now. */
export const tryNow = () => asked.dispatchEvent(new Event("now"));

/**
 * Waits; not any longer when the browser has a network again, somebody comes back to the page or wants it tried now. A wait that the
 * server told is cut short by the last alone.
 */
async function woken(seconds, signal, told) {
  const over = new AbortController();
  const until = AbortSignal.any([over.signal, signal]);
  const happens = (target, event, holds = () => true) =>
    new Promise((resolve) => target.addEventListener(event, () => holds() && resolve(), { signal: until }));
  const seen = () => !document.hidden;
  const noticed = told ? [] : [happens(window, "online"), happens(document, "visibilitychange", seen)];
  await Promise.race([pause(seconds, until), happens(asked, "now"), ...noticed]).catch(() => {});
  over.abort();
}

/** Opens a stream: its first word may take as long as any other. */
async function begin(path, signal, headers = {}) {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(new NoAnswer("the server doesn't answer")), SILENCE);
  try {
    return await open("GET", path, { signal: AbortSignal.any([signal, late.signal]), deadline: 0, headers });
  } finally {
    clearTimeout(timer);
  }
}

/** Takes in the list as it arrives, and returns the version that a watch goes on from. */
async function list(into, signal) {
  const response = await begin("/deployments?status=true", signal);
  into.begin();
  let rest = "";
  for await (const text of pieces(response, signal)) {
    rest += text;
    // Names have no braces, so this is where an object ends.
    const end = rest.lastIndexOf("},{");
    if (end < 0 || rest.length < 32_768) continue;
    into.put(JSON.parse(`[${rest.slice(rest.startsWith("[") ? 1 : 0, end + 1)}]`));
    rest = rest.slice(end + 2);
    await nextTask();
  }
  const last = rest.startsWith("[") ? rest : `[${rest}`;
  try {
    into.put(JSON.parse(last));
  } catch {
    throw new NoAnswer("the list broke off");
  }
  into.end();
  return response.headers.get("x-resource-version");
}

/** Follows until the stream ends; returns where, and when the server wants us back. */
async function watch(id, into, signal, alive) {
  let response;
  try {
    response = await begin("/deployments?watch=true&status=true", signal, { "last-event-id": id });
  } catch (error) {
    if (error.status !== 403) throw error;
    alive();
    return poll(into, signal, error);
  }
  into.state("live");
  alive();
  let retry = 1;
  let event = "";
  let data = [];
  try {
    for await (const lines of linesOf(response, signal)) {
      for (const line of lines) {
        if (line === "") {
          if (data.length) await tell(into, event, data.join("\n"));
          event = "";
          data = [];
        } else if (line.startsWith("data:")) data.push(line.slice(5));
        else if (line.startsWith("event:")) event = line.slice(6).trim();
        else if (line.startsWith("id:")) id = line.slice(3).trim();
        else if (line.startsWith("retry:")) retry = Number(line.slice(6)) / 1000 || retry;
      }
      into.settled();
    }
  } catch (error) {
    error.at = id;
    throw error;
  }
  return { id, retry };
}

async function tell(into, event, data) {
  const told = JSON.parse(data);
  if (event !== "snapshot") return into.change(event, told);
  into.begin();
  for (let at = 0; at < told.length; at += PORTION) {
    into.put(told.slice(at, at + PORTION));
    await nextTask();
  }
  into.end();
}

/** Without the permission to watch: the list again and again. */
async function poll(into, signal, refused) {
  into.state("live", `every ${POLL} s: ${refused.message}`);
  await pause(POLL, signal);
  return { id: null, retry: 0 };
}

async function* linesOf(response, signal) {
  let parts = [];
  for await (const text of pieces(response, signal)) {
    const lines = text.split("\n");
    // A line of megabytes comes in many pieces: joined once.
    parts.push(lines[0]);
    if (lines.length === 1) continue;
    lines[0] = parts.join("");
    parts = [lines.pop()];
    yield lines;
  }
}

/** The text of a body as it comes; one that falls silent is given up. */
async function* pieces(response, signal) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  // A connection that has lost its network only falls silent: whether it has is tried at once.
  let gone = null;
  const offline = () => {
    gone = new NoAnswer("the browser says that it has no network");
    reader.cancel().catch(() => {});
  };
  addEventListener("offline", offline);
  try {
    for (;;) {
      const { value, done } = await within(reader.read(), signal);
      if (gone) throw gone;
      if (done) return;
      yield value;
    }
  } finally {
    removeEventListener("offline", offline);
    reader.cancel().catch(() => {});
  }
}

function within(reading, signal) {
  let timer;
  const silence = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new NoAnswer("nothing was heard of the server any more")), SILENCE);
  });
  const broken = reading.catch(() => {
    throw signal.aborted ? signal.reason : new NoAnswer("the connection was lost");
  });
  return Promise.race([broken, silence]).finally(() => clearTimeout(timer));
}
