// How it stands with the server: a word in the header, and a line below it when something is wrong.

import { reach, read, sentence } from "./api.js";
import { setText } from "./dom.js";
import { clock } from "./times.js";

/** Milliseconds between two looks at the server's health. */
const HEALTH = 10_000;
/** Milliseconds for which nobody is alarmed. */
const BRIEF = 3_000;

const $ = (id) => document.getElementById(id);

export class Connection {
  #me;
  #state = "connecting";
  /** The stream's words for why it is so. */
  #why;
  /** Since when it isn't live; when it was live last, unless it never was. */
  #since = Date.now();
  #everLive = false;
  /** Why the server's own copy may be old. */
  #health = null;
  /** The words of a 401: all that comes after it is a connection that fails without any. */
  #refused = null;
  #trying = false;

  /** `tryNow` has the stream try at once. */
  constructor(me, tryNow) {
    this.#me = me;
    $("retry").addEventListener("click", () => {
      this.#trying = true;
      this.tell();
      tryNow();
    });
  }

  /** What the stream is: see `follow`. Returns whether it is back after it was away. */
  state(name, words) {
    if (this.#state === "live" && name !== "live") this.#since = Date.now();
    const back = this.#everLive && this.#state !== "live" && name === "live";
    this.#state = name;
    this.#why = words;
    this.#trying = false;
    reach.lost = name === "lost";
    if (name === "live") this.#everLive = true;
    if (name === "live") this.#refused = null;
    if (name === "refused") this.#refused = words;
    this.tell();
    return back;
  }

  /** The server let the caller in no more, in these words. */
  refused(words) {
    this.#refused = words;
    this.tell();
  }

  async lookAtHealth() {
    try {
      if (!reach.lost) {
        await read("/health");
        if (this.#state === "live") this.#refused = null;
      }
      this.#health = null;
    } catch (error) {
      // Only what the server itself says of its copy: that it can't be reached is known already.
      this.#health = error.status === 503 ? sentence(error) : null;
    }
    this.tell();
    setTimeout(() => this.lookAtHealth(), HEALTH);
  }

  /** Shows it. */
  tell() {
    const stale = this.#state === "live" && this.#health;
    const shown = stale ? "stale" : this.#refused ? "refused" : this.#state;
    $("connection").dataset.state = shown;
    setText($("connection").lastElementChild, this.#trying ? "Trying …" : this.#short(shown));
    const trouble = this.#trouble();
    const away = !["connecting", "live"].includes(this.#state);
    const retry = trouble !== null && away;
    // Whoever has pressed it is not left nowhere.
    if (!retry && document.activeElement === $("retry")) $("main").focus();
    $("trouble").hidden = trouble === null;
    $("retry").hidden = !retry;
    setText($("trouble-words"), trouble ?? "");
  }

  #short(shown) {
    const since = clock(this.#since);
    return {
      connecting: "Connecting …",
      live: this.#why ? `Live, ${this.#why}` : "Live",
      stale: "Not up to date",
      refused: "Refused",
      reconnecting: `Reconnecting, since ${since}`,
      lost: `Out of reach, since ${since}`,
    }[shown];
  }

  #trouble() {
    const since = clock(this.#since);
    const again = "The page tries again by itself, at least every 30 s.";
    const until = this.#me.said && clock(this.#me.said.certificate.notAfter);
    if (this.#me.expired) return `Your certificate expired ${until}: give the browser a new one, restart it and open the page again.`;
    const old = this.#everLive ? ` What stands here is of ${since} and may be old.` : "";
    if (this.#refused) return `The server refuses you: ${this.#refused.replace(/\.?$/, ".")}${old}`;
    if (this.#state === "lost") {
      const valid = until ? ` (yours is valid until ${until}, unless it was revoked)` : "";
      return `The server can't be reached, or no longer takes your certificate: browsers don't tell which.${old} If others reach it, it is the certificate${valid}: give the browser a new one, restart it and open the page again. Otherwise look at the server, and at your network. ${again}`;
    }
    if (this.#state === "reconnecting" && Date.now() - this.#since > BRIEF) {
      const why = this.#why ?? "the server can't be reached";
      return `${why.replace(/^./, (letter) => letter.toUpperCase()).replace(/\.?$/, ".")}${old} The page goes on trying.`;
    }
    return this.#state === "live" && this.#health ? `What stands here may be old: ${this.#health}` : null;
  }
}
