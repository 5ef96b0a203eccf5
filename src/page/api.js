// Calls of the API: an answer, the server's words for why not, or the fact that nobody knows.

import { heardTime } from "./times.js";

const BASE = "/api/v1";
/** How long an answer may take, in milliseconds: a write waits up to some seconds for the cluster. */
const DEADLINE = 40_000;

/** The server answered, and said no; the message is its own. */
export class Refused extends Error {
  constructor(status, message, retryAfter) {
    super(message);
    this.status = status;
    /** Seconds, or null. */
    this.retryAfter = retryAfter;
  }
}

/** No answer came: whatever was asked for may have been done, or not. */
export class NoAnswer extends Error {}

/** Whether the server is out of reach: what only keeps the page up to date waits then, and leaves it to the stream to try. */
export const reach = { lost: false };

/** Called with each 401, which no later call can make good. */
export const onUnauthorized = { tell: () => {} };

/** `…/namespaces/{namespace}/deployments/{name}` and what is below it. */
export const pathOf = (namespace, name, below = "") =>
  `/namespaces/${encodeURIComponent(namespace)}/deployments/${encodeURIComponent(name)}${below}`;

/** Writes that wait for their answers: whoever leaves the page meanwhile would never hear of it. */
let underWay = 0;
addEventListener("beforeunload", (event) => underWay && event.preventDefault());

/** Sends a request and returns the response of a success, unread. */
export async function open(method, path, { body, headers = {}, signal, deadline = DEADLINE } = {}) {
  const signals = [signal, deadline && AbortSignal.timeout(deadline)].filter(Boolean);
  const sent = { ...headers };
  if (body !== undefined) sent["content-type"] = "application/json";
  let response;
  try {
    response = await fetch(BASE + path, {
      method,
      headers: sent,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.any(signals),
      credentials: "same-origin",
      cache: "no-store",
      redirect: "error",
    });
  } catch (error) {
    if (signal?.aborted) throw signal.reason;
    throw new NoAnswer(error.name === "TimeoutError" ? `no answer within ${deadline / 1000} s` : "the server can't be reached");
  }
  heardTime(response.headers.get("date"));
  if (response.ok || response.status === 304) return response;
  throw await refusal(response);
}

async function refusal(response) {
  let words;
  try {
    words = (await response.json()).error;
  } catch {
    // What isn't ours, such as a proxy's page, has no sentence.
  }
  words = typeof words === "string" ? words : `the server answered ${response.status} without saying why`;
  const wait = response.headers.get("retry-after");
  const refused = new Refused(response.status, words, /^\d+$/.test(wait ?? "") ? Number(wait) : null);
  if (response.status === 401) onUnauthorized.tell(refused);
  return refused;
}

/** The JSON of an answer, with its headers. */
export async function call(method, path, options) {
  const writes = method !== "GET" && !path.includes("dryRun=true");
  underWay += Number(writes);
  try {
    return await answered(method, path, options);
  } finally {
    underWay -= Number(writes);
  }
}

async function answered(method, path, options) {
  const response = await open(method, path, options);
  try {
    const body = response.status === 304 ? null : await response.json();
    return { status: response.status, headers: response.headers, body };
  } catch {
    if (options?.signal?.aborted) throw options.signal.reason;
    throw new NoAnswer("the answer broke off");
  }
}

/** A read that is worth asking again while the server is in reach: after the seconds that it names, or ever later, three times in all. */
export async function read(path, options = {}) {
  for (let attempt = 1; ; attempt++) {
    try {
      return await call("GET", path, options);
    } catch (error) {
      const again = error instanceof NoAnswer || [429, 503].includes(error.status);
      if (!again || attempt === 3 || options.signal?.aborted) throw error;
      await pause(error.retryAfter ? Math.min(error.retryAfter, 10) : 0.4 * 2 ** attempt, options.signal);
      if (reach.lost) throw error;
    }
  }
}

/** Some seconds and a little more, so that pages don't come back all at once. */
export function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000 * (1 + Math.random() * 0.2));
    signal?.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });
}

/** What happened, in a sentence. `what` is what was asked for, such as "web/shop is not changed". */
export function sentence(error) {
  if (error instanceof Refused) {
    const again = error.retryAfter ? ` Try again in ${error.retryAfter} s.` : "";
    return error.message.replace(/^./, (letter) => letter.toUpperCase()).replace(/\.?$/, ".") + again;
  }
  if (error instanceof NoAnswer) return `No answer: ${error.message}.`;
  return `The page failed: ${error.message}.`;
}
