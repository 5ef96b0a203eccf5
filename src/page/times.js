// Times and durations as people say and write them.

const UNITS = [
  ["d", 86_400],
  ["h", 3_600],
  ["m", 60],
  ["s", 1],
];

/** What the server's clock is ahead of this page's own count of milliseconds; null before an answer. */
let ahead = null;

/** Takes in the `Date` of an answer, which has whole seconds. */
export function heardTime(date) {
  const time = Date.parse(date);
  if (!Number.isNaN(time)) ahead = time + 500 - performance.now();
}

/** Now, by the server's clock: whoever looks may have one that is wrong by minutes. */
export const serverNow = () => (ahead === null ? Date.now() : ahead + performance.now());

/** Seconds in words, the two largest units: `1h 30m`. */
export function duration(seconds) {
  let rest = Math.max(0, Math.round(seconds));
  const words = [];
  for (const [unit, size] of UNITS) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count > 0) words.push(`${count}${unit}`);
    if (words.length === 2) break;
  }
  return words.join(" ") || "0s";
}

/** How long ago a time in milliseconds was, in one unit. */
export function ago(then, now = serverNow()) {
  const seconds = Math.max(0, Math.round((now - then) / 1000));
  if (seconds < 2) return "now";
  const [unit, size] = UNITS.find(([, size]) => seconds >= size);
  return `${Math.floor(seconds / size)}${unit} ago`;
}

/** The seconds of `90`, `90m`, `2h`, `1h30m` or `1d`; a bare number is minutes. NaN for what is none of these. */
export function seconds(text) {
  const written = text.trim().toLowerCase();
  if (/^\d+$/.test(written)) return Number(written) * 60;
  if (!/^(\d+\s*[dhms]\s*)+$/.test(written)) return NaN;
  const parts = written.matchAll(/(\d+)\s*([dhms])/g);
  return [...parts].reduce((sum, [, count, unit]) => sum + count * UNITS.find(([name]) => name === unit)[1], 0);
}

/** A time of the API, or of the clock, as the reader's clock shows it; with the day where that isn't today. */
export function clock(time) {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return "at an unknown time";
  const today = date.toDateString() === new Date().toDateString();
  const day = today ? "" : `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} `;
  return `${day}${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

const two = (number) => String(number).padStart(2, "0");
