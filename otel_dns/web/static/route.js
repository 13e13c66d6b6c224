// Where in the page we are: all of it is in the address, behind the #, so that a link shows a
// colleague the same, and the page works under any prefix (kubectl proxy, a reverse proxy).

export const RANGES = [["5m", 300], ["15m", 900], ["1h", 3600], ["6h", 21600], ["24h", 86400], ["7d", 604800], ["30d", 2592000]];

/** What narrows the lookups, in the order of the chips: the API's own names. */
export const FILTERS = [
  "namespace", "pod", "node", "service", "name", "type", "outcome", "bottleneck", "plugin",
  "upstream", "server", "method", "certainty", "min_ms", "max_ms",
];

/** The route of the address: { path: ["lookups"], query: URLSearchParams }. */
export function current() {
  const [path, query = ""] = location.hash.replace(/^#/, "").split("?");
  return {
    path: path.split("/").filter(Boolean).map(decodeURIComponent),
    query: new URLSearchParams(query),
  };
}

/**
 * An address within the page that keeps the time range, and the filters unless told otherwise.
 * @param {string} path "lookups"
 * @param {object} changes parameters to set; null takes one away
 * @param {{filters?: boolean}} options
 */
export function link(path, changes = {}, { filters = true } = {}) {
  const { query } = current();
  const kept = new URLSearchParams();
  for (const [key, value] of query) {
    const isTime = ["last", "from", "to"].includes(key);
    if (isTime || (filters && FILTERS.includes(key))) kept.set(key, value);
  }
  for (const [key, value] of Object.entries(changes)) {
    if (value === null || value === undefined || value === "") kept.delete(key);
    else kept.set(key, value);
  }
  if (changes.from) kept.delete("last");
  if (changes.last) { kept.delete("from"); kept.delete("to"); }
  const text = kept.toString();
  return `#/${path}${text ? `?${text}` : ""}`;
}

/** This view with some parameters changed. */
export function here(changes, options) {
  const { path, query } = current();
  const own = {};
  for (const [key, value] of query) own[key] = value;
  return link(path.map(encodeURIComponent).join("/"), { ...own, ...changes }, options);
}

/** Go to an address of `link`; "replace" leaves no step behind for the back button. */
export function go(hash, { replace = false } = {}) {
  if (replace) {
    history.replaceState(null, "", hash);
    dispatchEvent(new HashChangeEvent("hashchange"));
  } else location.hash = hash;
}

/** Seconds since the epoch: { from, to, fixed }. `end` is where "the last hour" ends. */
export function range(end) {
  const { query } = current();
  const from = Number(query.get("from")), to = Number(query.get("to"));
  if (from && to && to > from) return { from, to, fixed: true };
  const last = seconds(query.get("last")) ?? 3600;
  return { from: end - last, to: end, fixed: false };
}

/** "15m" as seconds; null when it is no such thing. */
export function seconds(text) {
  const match = /^(\d{1,5})([smhd])$/.exec(text ?? "");
  return match ? Number(match[1]) * { s: 1, m: 60, h: 3600, d: 86400 }[match[2]] : null;
}

/** The filters in force, by name. */
export function filters() {
  const { query } = current();
  return Object.fromEntries(FILTERS.filter((key) => query.get(key)).map((key) => [key, query.get(key)]));
}
