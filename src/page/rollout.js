// A rollout that moves: its bar and its words, followed until it has ended.

import { call, pause, Refused } from "./api.js";
import { pathOf } from "./api.js";
import { el, setAttribute, setText } from "./dom.js";

/** Seconds between two looks. */
const EVERY = 1;
/** Milliseconds after which nobody is watching any more. */
const LONGEST = 15 * 60_000;

/** A bar of how many Pods there are of those that are wanted. */
export function rolloutBar() {
  const fill = el("span", { class: "fill" });
  const meter = el("div", { class: "progress", role: "progressbar", "aria-label": "Rollout", "aria-valuemin": 0, "aria-valuemax": 100 }, fill);
  const words = el("p", { class: "rollout" });
  const show = ({ status, message, desired, current, ready, updated }) => {
    // Whichever is further from its end: Pods to come, or Pods to go.
    const most = Math.max(desired, current, 1);
    const part = status === "complete" ? 1 : Math.min(ready, updated, desired) / most;
    meter.dataset.state = status;
    setAttribute(meter, "aria-valuenow", Math.round(part * 100));
    setAttribute(meter, "aria-valuetext", message);
    fill.style.transform = `scaleX(${part})`;
    setText(words, `${status[0].toUpperCase()}${status.slice(1)}: ${message}`);
  };
  return { element: el("div", {}, meter, words), show };
}

/** Calls `each` with the detail until the rollout of what was `written` has ended, and returns how: a status, or `superseded`. */
export async function followRollout(namespace, name, { replicaCount, resourceVersion }, each, signal) {
  // A copy that is older than the write would show what was before as somebody else's count.
  const headers = { "x-min-resource-version": resourceVersion };
  const deadline = Date.now() + LONGEST;
  while (Date.now() < deadline) {
    try {
      const { body } = await call("GET", pathOf(namespace, name), { signal, headers });
      if (body.replicas.desired !== replicaCount) return { status: "superseded", detail: body };
      each(body);
      if (body.rollout.status !== "progressing") return { status: body.rollout.status, detail: body };
    } catch (error) {
      if (signal.aborted || (error instanceof Refused && ![429, 503].includes(error.status))) throw error;
    }
    await pause(EVERY, signal);
  }
  return { status: "progressing" };
}
