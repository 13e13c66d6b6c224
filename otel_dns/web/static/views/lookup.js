// One lookup: where its time went, query by query, hop by hop.

import { h, lines } from "../dom.js";
import { duration, moment, percent, plural, words } from "../format.js";
import { link } from "../route.js";
import { bar, figures, segmentColour } from "../breakdown.js";

const OPEN_FROM = 0.1; // of the time: the plugins of such a query, and of the longest, are shown at once
export const still = true; // what has happened does not change

export async function show({ askAlone, about, path }) {
  const one = await askAlone(`lookups/${encodeURIComponent(path[0] ?? "")}/${encodeURIComponent(path[1] ?? "")}`);
  return h("article.lookup", { "data-title": one.name },
    title(one, about), breakdown(one, about), waterfall(one, about),
    h("div.columns", null, candidates(one), facts(one, about)), evidence(one));
}

function title(one, about) {
  return h("header.lookup-title", null,
    h("div.neighbours", null,
      neighbour(one.earlier, "← earlier", "data-earlier", "["),
      neighbour(one.later, "later →", "data-later", "]"),
      h("a", { href: link("lookups", around(one), { filters: false }) }, "all around then"),
      one.jaeger_url ? h("a.outward", { href: one.jaeger_url, target: "_blank", rel: "noopener noreferrer" }, "trace in Jaeger ↗") : null),
    h("h1.dns-name", null, one.name),
    h("p.headline", null,
      h(`span.outcome.${one.outcome}`, null, words(one.outcome, about.labels)), h("strong", null, duration(one.duration_ns)),
      h("span", null, `most of it ${words(one.bottleneck, about.labels)}`),
      h("span.quiet", null, moment(one.start_us, { millis: true, day: true }))),
    h("p.quiet", null,
      one.pod ? h("a", { href: link("lookups", { pod: one.pod, namespace: one.namespace }, { filters: false }) }, one.pod) : one.client,
      [one.namespace && ` in ${one.namespace}`, one.node && ` on ${one.node}`, one.service && ` · ${one.service}`, one.api && ` · ${one.api}`].filter(Boolean).join("")),
    h("p.join", null, joined(one)));
}

/** The statement of the join, and how far it can be trusted. */
function joined(one) {
  if (one.method === "none") return "No server trace was found for this lookup: the client's own time is all that is known.";
  const sure = {
    sure: `Joined for sure, by ${words(one.method)}`,
    group: `One of ${one.group_size} interchangeable lookups, by ${words(one.method)}: which server traces are whose nobody can know, the times are right for each`,
    unsure: `Joined by ${words(one.method)}, not for sure`,
  }[one.certainty] ?? `Joined by ${words(one.method)}`;
  return `${sure} (confidence ${percent(one.confidence)}).`;
}

function around(one) {
  const at = Math.floor(one.start_us / 1e6);
  return { from: at - 30, to: at + 31, last: null, pod: one.pod || null, namespace: one.namespace || null, order: "newest" };
}

function neighbour(other, label, mark, key) {
  if (!other) return h("span.quiet", null, label);
  return h("a", { href: link(`lookup/${other.trace_id}/${other.span_id}`), [mark]: true, title: `${other.name} (${key})` }, label);
}

function breakdown(one, about) {
  const plugins = Object.entries(one.plugins).sort((a, b) => b[1] - a[1]);
  return h("section", null, h("h2", null, "Where the time went"),
    bar(about.segments, one.segments), figures(about.segments, one.segments),
    plugins.length ? h("p.plugins", null, h("span.quiet", null, "Plugins, own time over all queries: "),
      plugins.map(([name, ns], at) => [at ? ", " : null, `${name} `, h("span.num", null, duration(ns))])) : null,
    one.after_answer_ns > 0 ? h("p.quiet", null, `After the answer, outside the lookup: ${duration(one.after_answer_ns)} of the servers' spans.`) : null);
}

// -- waterfall ------------------------------------------------------------------------------------

function waterfall(one, about) {
  if (!one.queries_seen.length) return null;
  const first = Math.min(0, ...one.queries_seen.map((query) => query.at_ns));
  const last = Math.max(one.duration_ns, ...one.queries_seen.map((query) => query.at_ns + query.duration_ns));
  const scale = { first, last, total: Math.max(last - first, 1), answered: one.duration_ns, openFrom: 0 };
  const longest = Math.max(...one.queries_seen.map((query) => query.duration_ns));
  if (one.queries_seen.length > 2) scale.openFrom = Math.min(longest, scale.total * OPEN_FROM);
  const shared = sharedLabels(one.queries_seen.map((query) => query.name));
  return h("section", null,
    h("h2", null, "Waterfall", h("span.quiet", null, "solid: own time; pale: waiting for what is below it")),
    h("div.waterfall", { role: "table", "aria-label": "Queries and plugins in time" },
      ruler(scale),
      line({ depth: 0, kind: "total", label: one.name, note: one.api, at: 0, length: one.duration_ns, own: [] , colour: "--muted" }, scale),
      one.queries_seen.map((query) => queryRows(query, shared, scale))));
}

// How many letters all names begin with in common, whole labels only: candidates of a search list differ behind them.
function sharedLabels(names) {
  const [first, ...others] = names.map((name) => name.split("."));
  const differ = first.findIndex((label, at) => others.some((each) => each[at] !== label));
  return first.slice(0, differ < 0 ? 0 : differ).reduce((letters, label) => letters + label.length + 1, 0);
}

function queryRows(query, shared, scale) {
  const note = `${query.type} ${query.rcode || "no answer"}`;
  const hop = [query.hop && `hop ${query.hop + 1}`, query.cache && `cache ${query.cache}`, query.proto !== "udp" && query.proto, query.source !== "trace" && query.source].filter(Boolean).map((each) => `${each} · `).join("");
  const plugins = h("div", { hidden: query.duration_ns < scale.openFrom },
    query.spans.map((span) => line({
      depth: 2 + query.hop + Math.min(span.depth, 8), kind: "plugin", label: span.name, note: span.peer, at: span.at_ns, length: span.duration_ns,
      own: span.own, ownNs: span.own_ns, colour: segmentColour(span.segment),
    }, scale)));
  const toggle = query.spans.length ? h("button.toggle", {
    type: "button", "aria-expanded": String(!plugins.hidden), "aria-label": "Plugins of this query",
    onclick: (event) => {
      plugins.hidden = !plugins.hidden;
      event.currentTarget.setAttribute("aria-expanded", String(!plugins.hidden));
    },
  }) : null;
  return [
    line({ toggle, depth: 1 + query.hop, kind: "query", label: query.name, shared, note, more: `${hop}${query.server}`, bad: !["NOERROR", ""].includes(query.rcode), at: query.at_ns, length: query.duration_ns, own: query.own, colour: "--segment-server" }, scale),
    plugins,
  ];
}

function line({ toggle, depth, kind, label, shared = 0, note, more, at, length, own, ownNs, colour, bad }, scale) {
  const left = (ns) => `${((ns - scale.first) / scale.total) * 100}%`;
  const wide = (ns) => `${Math.max((ns / scale.total) * 100, 0.15)}%`;
  return h(`div.line.${kind}`, { role: "row" },
    h("span.label", { role: "cell", style: { "--depth": depth }, title: [label, note, more].filter(Boolean).join(" · ") },
      toggle,
      h("b", null, shared ? h("span", null, label.slice(0, shared)) : null, h("span", null, label.slice(shared))), note ? h("span", { class: bad ? "note bad" : "note" }, h("span", null, note)) : null, more ? h("span.more", null, h("span", null, more)) : null),
    h("span.lane", { role: "cell" },
      h("i.whole", { style: { left: left(at), width: wide(length), background: `var(${colour}, var(--muted))` } }),
      own.map(([start, ns]) => h("i.own", { style: { left: left(start), width: wide(ns), background: `var(${colour}, var(--muted))` } })),
      h("i.answered", { style: { left: left(scale.answered) } }),
      h("span.time", { style: { left: left(at + length) } },
        ownNs !== undefined && ownNs !== length ? `${duration(ownNs)} own` : duration(length))));
}

function ruler(scale) {
  const steps = [1, 2, 5].flatMap((digit) => [3, 4, 5, 6, 7, 8, 9, 10].map((power) => digit * 10 ** power)).sort((a, b) => a - b);
  const step = steps.find((each) => scale.total / each <= 6) ?? scale.total;
  const marks = [];
  for (let at = 0; at <= scale.last; at += step) marks.push(at);
  return h("div.line.ruler", { "aria-hidden": "true" }, h("span.label"),
    h("span.lane", null, marks.map((at) => h("span.mark", { style: { left: `${((at - scale.first) / scale.total) * 100}%` } }, duration(at)))));
}

// -- the rest -------------------------------------------------------------------------------------

function candidates(one) {
  return h("section", null, h("h2", null, "Candidates of the search list"),
    h("div.scroll", null, h("table", null,
      h("thead", null, h("tr", null, h("th", null, "name"), h("th", null, "came of it"), h("th.num", null, "queries"), h("th.num", null, "began at"))),
      h("tbody", null, one.candidates.map((each) => h("tr", { class: each.waste ? "waste" : null },
        h("td.dns-name", null, each.name), h("td", null, each.result), h("td.num", null, each.queries || "–"),
        h("td.num", null, each.at_ns === null ? "–" : duration(each.at_ns))))))),
    one.waste_queries ? h("p.quiet", null, `${plural(one.waste_queries, "query", "queries")} and ${duration(one.waste_ns)} went to names that do not exist.`) : null);
}

function facts(one, about) {
  const known = one.facts.filter(({ value }) => value !== "" && value !== null);
  return h("section", null, h("h2", null, "What the client said"),
    h("dl.facts", null, known.map(({ label, value }) => h("div", null, h("dt", null, label), h("dd", null, value)))));
}

function evidence(one) {
  if (!one.evidence.length) return null;
  return h("section", null, h("h2", null, "Evidence, as it came"),
    one.evidence.map((each) => h("details.evidence-item", { open: one.evidence.length <= 2 },
      h("summary", null, each.label), h("pre", null, lines(each.lines)))));
}
