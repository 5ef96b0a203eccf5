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

/** How a time is written, for who wrote it in another way. */
export const WRITTEN = "written 30m, 2h, 1h30m or 1.5h: whole seconds, 10s or more";

const SIZES = [
  ["h(?:ours?|rs?)?", 3_600],
  ["m(?:in(?:ute)?s?)?", 60],
  ["s(?:ec(?:ond)?s?)?", 1],
];
const WHOLE_TIME = new RegExp(`^${SIZES.map(([unit]) => `(?:(\\d+(?:[.,]\\d+)?)\\s*${unit},?\\s*)?`).join("")}$`);

/** The seconds of `90m`, `2h`, `1h30m`, `1.5h` or `PT2H`, as the client in a terminal takes them for a lease. NaN for what is none of these. */
export function seconds(text) {
  const given = text.trim().replace(/^\+/, "").replace(/^(\d+):(\d\d):(\d\d)$/, "$1h$2m$3s");
  const iso = /^pt(?=\d)/i;
  const written = iso.test(given) ? given.replace(iso, "").toLowerCase() : given;
  const counts = WHOLE_TIME.exec(written)?.slice(1);
  if (!counts?.some(Boolean)) return NaN;
  // Only the last may be broken.
  const last = counts.findLastIndex(Boolean);
  if (counts.some((count, at) => at !== last && /[.,]/.test(count ?? ""))) return NaN;
  const sum = counts.reduce((sum, count, at) => sum + Number((count ?? "0").replace(",", ".")) * SIZES[at][1], 0);
  const whole = Math.round(sum);
  return Math.abs(sum - whole) < 1e-6 && whole >= 10 ? whole : NaN;
}

/** A time of the API, or of the clock, as the reader's clock shows it, with its zone; with the day where that isn't today. */
export function clock(time) {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return "at an unknown time";
  const today = date.toDateString() === new Date().toDateString();
  return `${today ? "" : `${dayOf(date)} `}${timeOf(date)} ${zoneOf(date)}`;
}

/** The same in whole, for programs and for who compares it with a log: `2026-11-01T01:30:00-05:00`. */
export function iso(time) {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return "";
  const ahead = -date.getTimezoneOffset();
  const offset = `${ahead < 0 ? "-" : "+"}${two(Math.floor(Math.abs(ahead) / 60))}:${two(Math.abs(ahead) % 60)}`;
  return `${dayOf(date)}T${timeOf(date)}${offset}`;
}

const dayOf = (date) => `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
const timeOf = (date) => `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;

const zones = new Intl.DateTimeFormat("en", { timeZoneName: "short" });
/** The reader's zone as it is at that time, `EST` or `GMT+1`: of an hour that comes twice it tells which. */
const zoneOf = (date) => zones.formatToParts(date).find(({ type }) => type === "timeZoneName")?.value ?? iso(date).slice(19);

const two = (number) => String(number).padStart(2, "0");
