// Lookups: search, filters, slowest first, live tail.

import { h, fill, later } from "../dom.js";
import { count, duration, moment, plural, words } from "../format.js";
import { current, go, here, link, FILTERS } from "../route.js";
import { bar } from "../breakdown.js";

const TAIL_MS = 2000;
const TAIL_ROWS = 200;
const TAIL_BEHIND_S = 120; // a lookup is written after it has ended: one that lasted long comes after later ones
export const still = true; // the tail refreshes by itself; a list that is read stays as it is

export async function show(context) {
  const { ask, about, query, filters, time, signal } = context;
  const live = query.get("order") === "live";
  const order = live ? "newest" : query.get("order") ?? "slowest";
  const values = live ? Promise.resolve({ facets: [] }) : ask("facets");
  values.catch(() => {}); // where the first fails, nobody asks for it
  const found = await ask("lookups", { order, limit: live ? 50 : 100, offset: live ? 0 : query.get("offset") });
  const facets = await later(values, facetList, context);
  const rows = h("tbody", null, found.lookups.map((one) => row(one, about)));
  const status = h("span.quiet", { "aria-live": "polite" }, live ? "waiting for lookups …" : summary(found));
  if (live && !signal.aborted) follow(ask, about, rows, status, found.lookups, signal);
  const orders = [["slowest", "Slowest"], ["newest", "Newest"], ["live", "Live"]];
  return h("div.lookups", null,
    search(filters),
    h("div.bar-tools", null,
      h("div.switch", { role: "group", "aria-label": "Order" }, orders.map(([name, label]) =>
        h("a", { href: here({ order: name, offset: null, search: null }), "aria-current": name === (live ? "live" : order) ? "true" : null }, label))),
      status),
    h("div.with-facets", null,
      facets,
      h("div", null,
        h("div.scroll", null, h("table.rows", null,
          h("thead", null, h("tr", null,
            h("th", null, "time"), h("th", null, "name"), h("th", null, "Pod"), h("th.num", null, "took"), h("th", null, "where it went"),
            h("th", null, "outcome"), h("th", null, "most of it"), h("th.num", null, "queries"), h("th", null, "joined"))), rows)),
        found.lookups.length || live ? null : h("p.quiet.empty", null, "No lookup in this time matches. ", h("a", { href: here(Object.fromEntries(FILTERS.map((key) => [key, null]))) }, "Clear the filters"), " or choose a longer time."),
        pages(found, query))));
}

function summary(found) {
  return found.total > found.lookups.length
    ? `${count(found.offset + 1)}–${count(found.offset + found.lookups.length)} of ${plural(found.total, "lookup")}`
    : plural(found.total, "lookup");
}

function pages(found) {
  const size = 100, next = found.offset + found.lookups.length;
  return h("p.pages", null,
    found.offset > 0 ? h("a", { href: here({ offset: Math.max(0, found.offset - size) || null }) }, "← back") : null,
    next < found.total && found.lookups.length ? h("a", { href: here({ offset: next }) }, "more →") : null);
}

function row(one, about) {
  return h("tr", { "data-row": true, "data-id": `${one.trace_id}/${one.span_id}` },
    h("td.time", null, h("a", { href: link(`lookup/${one.trace_id}/${one.span_id}`) }, moment(one.start_us, { millis: true }))),
    h("td.name", null, filter("name", one.name)),
    h("td.pod", null, one.pod ? filter("pod", one.pod) : h("span.quiet", null, one.service || one.client),
      one.namespace ? h("span.quiet", null, ` ${one.namespace}`) : null),
    h("td.num", null, duration(one.duration_ns)),
    h("td.parts", null, bar(about.segments, one.segments, { small: true })),
    h("td", null, h(`span.outcome.${one.outcome}`, null, words(one.outcome, about.labels))),
    h("td.most", null, filter("bottleneck", one.bottleneck, words(one.bottleneck, about.labels))),
    h("td.num", null, one.queries ? count(one.queries) : "–", one.waste_queries ? h("span.quiet", { title: "queries for names of the search list that do not exist" }, ` ${one.waste_queries} waste`) : null),
    h("td.joined", null, one.method === "none" ? h("span.quiet", null, "not joined") : `${words(one.certainty)} · ${words(one.method)}`));
}

/** A value that narrows the list to itself. */
function filter(key, value, label = value) {
  return h("a.filter", { href: here({ [key]: value, offset: null, search: null }), title: `only this ${words(key)}` }, label);
}

function facetList({ facets }) {
  if (!facets.length) return null;
  return h("details.facets", { open: matchMedia("(min-width: 60rem)").matches },
    h("summary", null, "Narrow down"),
    facets.filter((facet) => facet.values.length > 1 || facet.values[0]?.chosen).map((facet) => h("section", null,
      h("h3", null, facet.label),
      h("ul", null, facet.values.map((one) => h("li", null,
        h("a.filter", { href: here({ [facet.name]: one.chosen ? null : one.value, offset: null }), "aria-current": one.chosen ? "true" : null, title: one.value }, one.label),
        h("span.quiet.num", null, count(one.count))))))));
}

// -- search ---------------------------------------------------------------------------------------

const SHORT = { ns: "namespace", svc: "service", most: "bottleneck", by: "method" };

/** `shop` `pod:api-1` `outcome:timeout` `>50ms`: as filters; null when it cannot be read. */
export function parse(text) {
  const found = {};
  for (const word of text.trim().split(/\s+/).filter(Boolean)) {
    const time = /^([<>])=?(\d+(?:\.\d+)?)(us|µs|ms|s)?$/.exec(word);
    const pair = /^([a-z_]+)[:=](.+)$/.exec(word);
    if (time) found[time[1] === ">" ? "min_ms" : "max_ms"] = Number(time[2]) * { us: 0.001, µs: 0.001, ms: 1, s: 1000 }[time[3] ?? "ms"];
    else if (pair && FILTERS.includes(SHORT[pair[1]] ?? pair[1])) found[SHORT[pair[1]] ?? pair[1]] = pair[2];
    else if (pair && !word.includes(".")) return { problem: `there is no “${pair[1]}”; there are ${FILTERS.join(", ")}` };
    else found.name = word;
  }
  return { filters: found };
}

function search(filters) {
  const input = h("input", {
    id: "search", type: "search", autocomplete: "off", spellcheck: "false", autocapitalize: "off", enterkeyhint: "search",
    placeholder: "name, or pod:api-1  ns:shop  outcome:timeout  upstream:192.0.2.53  >50ms", "aria-label": "Search lookups",
  });
  const problem = h("span.bad", { role: "alert" });
  if (current().query.get("search")) queueMicrotask(() => requestAnimationFrame(() => input.focus()));
  return h("form.search", {
    role: "search",
    onsubmit: (event) => {
      event.preventDefault();
      const read = parse(input.value);
      fill(problem, read.problem ?? "");
      if (read.filters) go(here({ ...filters, ...read.filters, offset: null, search: null }));
    },
  }, input, problem);
}

// -- live tail ------------------------------------------------------------------------------------

function follow(ask, about, rows, status, first, signal) {
  const seen = new Map(first.map((one) => [`${one.trace_id}/${one.span_id}`, one.start_us]));
  let newest = Math.max(0, ...first.map((one) => one.start_us));
  async function look() {
    if (signal.aborted || !current().query.get("order")) return;
    try {
      const now = Math.ceil(Date.now() / 1000) + 1;
      const from = newest ? Math.max(Math.floor(newest / 1e6) - TAIL_BEHIND_S, now - 900) : now - 900;
      const found = await ask("lookups", { order: "newest", limit: 100, from, to: now });
      const fresh = found.lookups.filter((one) => !seen.has(`${one.trace_id}/${one.span_id}`));
      for (const one of fresh.reverse()) {
        seen.set(`${one.trace_id}/${one.span_id}`, one.start_us);
        newest = Math.max(newest, one.start_us);
        const made = row(one, about);
        made.classList.add("fresh");
        rows.prepend(made);
      }
      while (rows.children.length > TAIL_ROWS) rows.lastChild.remove();
      // What is too old to come again; the server rounds times by up to ten seconds.
      for (const [id, start] of seen) if (start < (from - 30) * 1e6) seen.delete(id);
      const live = about.live ? await ask("live") : null;
      fill(status, "live", typeof live?.waiting_lookups === "number" ? ` · ${plural(live.waiting_lookups, "lookup")} being joined` : "");
    } catch (error) {
      if (error.name === "AbortError") return;
      fill(status, error.message);
    }
    setTimeout(look, TAIL_MS);
  }
  setTimeout(look, TAIL_MS);
}
