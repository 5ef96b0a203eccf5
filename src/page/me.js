// Who looks, and what the server lets them do.

import { reach, read } from "./api.js";
import { serverNow } from "./times.js";

/** Milliseconds between two looks, and after one that failed. */
const EVERY = 60_000;
const AGAIN = 5_000;

export class Me {
  /** What the server says of the caller, or null. */
  said = null;
  /** Why no count can be leased here; null where it can, or nobody knows. */
  noLeases = null;
  /** Called when that is heard of: by the dialog that is open. */
  leasesHeard = () => {};
  #changed;
  #timer;

  /** `changed` is called when the server says something else of the caller. */
  constructor(changed) {
    this.#changed = changed;
  }

  /** The caller's name, or undefined. */
  get principal() {
    return this.said?.principal ?? undefined;
  }

  /** Whether the certificate's time is over. */
  get expired() {
    return this.said !== null && serverNow() > Date.parse(this.said.certificate.notAfter);
  }

  /** Whether the caller may set some count. Where the cluster decides only the Deployments tell. */
  get mayScale() {
    const rules = this.said?.permissions;
    if (this.readOnly) return false;
    return !rules || rules.some(({ effect, verbs }) => effect === "allow" && verbs.includes("scale"));
  }

  /** Whether the server sets nothing, whoever asks. */
  get readOnly() {
    return this.said?.readOnly === true;
  }

  /** Why the caller may not set a count. */
  get whyNot() {
    if (this.readOnly) return "This server is read-only: nothing can be set here. Ask another server, or whoever runs this one.";
    return `${this.principal ?? "This certificate"} lacks the permission "scale": ask whoever runs this server.`;
  }

  /** Asks the server, and again from time to time: a policy may be another one by then. */
  async look() {
    clearTimeout(this.#timer);
    let again = AGAIN;
    try {
      if (!reach.lost) {
        const { body } = await read("/whoami");
        const other = JSON.stringify(body) !== JSON.stringify(this.said);
        this.said = body;
        if (other) this.#changed();
        again = EVERY;
      }
    } catch {
      // What was known holds until there is an answer.
    }
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.look(), again);
  }
}
