// How figures are written, everywhere.

/** Nanoseconds as people read them: 312 µs, 5.31 ms, 2.50 s. */
export function duration(ns) {
  if (ns === null || ns === undefined || Number.isNaN(ns)) return "–";
  if (ns === 0) return "0";
  const abs = Math.abs(ns);
  if (abs < 999.5e3) return `${digits(ns / 1e3)} µs`;
  if (abs < 999.5e6) return `${digits(ns / 1e6)} ms`;
  if (abs < 120e9) return `${digits(ns / 1e9)} s`;
  return span(ns / 1e9);
}

/** Three digits that matter. */
export function digits(value) {
  const abs = Math.abs(value);
  if (abs === 0) return "0";
  return abs >= 99.95 ? value.toFixed(0) : abs >= 9.995 ? value.toFixed(1) : value.toFixed(2);
}

/** A count: 812, 12,400, 1.24 M. */
export function count(value) {
  if (value === null || value === undefined) return "–";
  if (value >= 1e6) return `${digits(value / 1e6)} M`;
  return Math.round(value).toLocaleString("en-US");
}

/** A rate in things per second. */
export function rate(value) {
  if (value === null || value === undefined) return "–";
  if (value > 0 && value < 0.1) return `${digits(value * 60)}/min`;
  return `${digits(value)}/s`;
}

/**
 * Counts by column of time as rates, of what of each column is in the time; null where that is less than half.
 * @param {{times, step_s, from_s, to_s}} course seconds
 * @param {number} end until when lookups have been kept, seconds
 */
export function rates({ times, step_s, from_s, to_s }, counts, end = Infinity) {
  return times.map((time, at) => {
    const covered = Math.min(time + step_s, to_s, end) - Math.max(time, from_s);
    return covered < step_s / 2 ? null : counts[at] / covered;
  });
}

/** A share as percent; never "0 %" or "100 %" for what is not quite. */
export function percent(share) {
  if (share === null || share === undefined || Number.isNaN(share)) return "–";
  if (share > 0 && share < 0.0005) return "<0.1 %";
  if (share < 1 && share > 0.9995) return ">99.9 %";
  const value = share * 100;
  return `${value.toFixed(value >= 99.95 || value === 0 ? 0 : 1)} %`;
}

/** Seconds as a stretch of time: 40 s, 15 min, 6 h, 3 d. */
export function span(seconds) {
  if (seconds < 100) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${digits(seconds / 3600).replace(/\.0+$/, "")} h`;
  return `${digits(seconds / 86400).replace(/\.0+$/, "")} d`;
}

const pad = (value, width = 2) => String(value).padStart(width, "0");

/** A moment, microseconds since the epoch, in local time; the day too unless it is today. */
export function moment(us, { millis = false, day } = {}) {
  if (us === null || us === undefined) return "–";
  const date = new Date(us / 1000);
  const clock = `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`
    + (millis ? `.${pad(date.getMilliseconds(), 3)}` : "");
  const today = new Date().toDateString() === date.toDateString();
  return (day ?? !today) ? `${isoDay(date)} ${clock}` : clock;
}

/** Hours and minutes of a moment; the day too unless it is today. */
export function minute(us) {
  return moment(us).replace(/:\d\d$/, "");
}

/** A mark on an axis that is so long, in seconds: with what changes along it. */
export function mark(us, length) {
  const clock = moment(us, { day: false });
  if (length < 600) return clock;
  const day = isoDay(new Date(us / 1000)).slice(5);
  if (length < 86_400) return clock.slice(0, 5);
  return clock === "00:00:00" || length >= 10 * 86_400 ? day : `${day} ${clock.slice(0, 5)}`;
}

/** How far the local time, in which all is shown, is from UTC: "UTC+2". */
export function zone() {
  const minutes = -new Date().getTimezoneOffset(), hours = Math.abs(minutes) / 60;
  return `UTC${minutes ? `${minutes > 0 ? "+" : "−"}${Math.floor(hours)}${hours % 1 ? `:${pad((hours % 1) * 60)}` : ""}` : ""}`;
}

function isoDay(date) {
  return `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
}

/** "1 Pod", "3 Pods". */
export function plural(value, one, many = `${one}s`) {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/** What the code calls it, as people say it: "plugin:cache", "stub_network", "not_found". */
export function words(name, labels = {}) {
  if (!name) return "–";
  if (labels[name]) return labels[name];
  if (name.startsWith("plugin:")) return `plugin ${name.slice(7)}`;
  return /^[a-z_]+$/.test(name) ? name.replaceAll("_", " ") : name;
}
