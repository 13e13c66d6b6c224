// Plugins, servers and upstreams: how long they take, over time; two of them, or two times, compared.

import { h } from "../dom.js";
import { count, digits, duration, minute, percent, plural, span, words } from "../format.js";
import { go, here, link } from "../route.js";
import { heatMap, timeChart } from "../chart.js";

export async function show({ ask, about, query, onRange }) {
  const found = await ask("servers");
  const every = [...found.servers, ...found.plugins, ...found.upstreams];
  const subject = query.get("of") ?? every[0]?.subject ?? "";
  const versus = query.get("versus") ?? "";
  const [map, comparison] = subject
    ? await Promise.all([ask("latency", { of: subject }), ask("comparison", { of: subject, versus: versus || "before" })])
    : [null, null];
  return h("div.servers", null,
    h("div.columns", null,
      h("div", null,
        group("DNS servers", "server", found.servers, subject, "A query, from arrival to answer."),
        group("Upstreams", "upstream", found.upstreams, subject, "One exchange.")),
      group("Plugins", "plugin", found.plugins, subject, found.traced < 1 && found.plugins.length
        ? `Own time in one query: an estimate, from the ${percent(found.traced)} that CoreDNS traced.` : "Own time in one query.")),
    map ? detail(map, comparison, every, subject, versus, onRange) : h("p.quiet.empty", null, "No server trace in this time."));
}

function group(title, kind, rows, subject, note) {
  return h("section", null, h("h2", null, title, h("span.quiet", null, note)),
    rows.length ? h("div.scroll", null, h("table.tight", null,
      h("thead", null, h("tr", null, h("th", null, ""), h("th.num", null, "queries"), h("th.num", null, "p50"), h("th.num", null, "p95"), h("th.num", null, "p99"),
        kind === "plugin" ? null : h("th.num", { title: "No answer, or SERVFAIL, REFUSED and the like." }, "failed"))),
      h("tbody", null, rows.map((one) => h("tr", { "data-row": true, "aria-selected": one.subject === subject ? "true" : null },
        h("td", null, h("a", { href: here({ of: one.subject, stay: "1" }), "aria-current": one.subject === subject ? "true" : null }, one.label)),
        h("td.num", null, count(one.queries)), h("td.num", null, duration(one.p50_ns)), h("td.num", null, duration(one.p95_ns)), h("td.num", null, duration(one.p99_ns)),
        kind === "plugin" ? null : h("td", { class: one.failed ? "num bad" : "num" }, one.failed === null ? "–" : count(one.failed)))))))
      : h("p.quiet", null, "None seen."));
}

function detail(map, comparison, every, subject, versus, onRange) {
  const [kind, ...rest] = subject.split(":");
  const value = rest.join(":");
  const label = every.find((one) => one.subject === subject)?.label ?? value;
  return h("section.charts", null,
    h("h2.wide", null, label, h("span.quiet", null, words(kind)),
      h("a.more", { href: link("lookups", { [kind]: value }) }, "its lookups →")),
    heatMap({
      title: "Latency, by time", note: "stronger: more", times: map.times, step: map.step_s, edges: map.edges_ns, counts: map.counts, format: duration,
      onPick: (from, to, low, high) => go(link("lookups", { [kind]: value, from: Math.floor(from), to: Math.ceil(to), order: "slowest" })),
    }),
    timeChart({
      title: "Percentiles", log: true, times: map.times, onRange, format: duration,
      series: [
        { label: "p50", values: map.p50_ns, colour: "--line-1" },
        { label: "p95", values: map.p95_ns, colour: "--line-2" },
        { label: "p99", values: map.p99_ns, colour: "--line-3" },
      ],
    }),
    compare(comparison, every, subject, versus, kind));
}

function compare(comparison, every, subject, versus, kind) {
  const others = every.filter((one) => one.subject !== subject && one.subject.startsWith(`${kind}:`));
  const rows = [["queries", (side) => count(side.queries)], ["p50", (side) => duration(side.p50_ns)], ["p95", (side) => duration(side.p95_ns)], ["p99", (side) => duration(side.p99_ns)], ["failed", (side) => (side.failed === null ? "–" : count(side.failed))]];
  return h("figure.chart.wide", null,
    h("figcaption", null, h("strong", null, "Compared with"),
      h("select", { "aria-label": "Compare with", onchange: (event) => go(here({ versus: event.target.value || null, stay: "1" })) },
        h("option", { value: "", selected: !versus }, "itself, the time before"),
        others.map((one) => h("option", { value: one.subject, selected: one.subject === versus }, one.label)))),
    h("div.comparison", null,
      h("table", null,
        h("thead", null, h("tr", null, h("th", null, ""), h("th.num", null, comparison.a.label), h("th.num", null, comparison.b.label), h("th.num", null, "ratio"))),
        h("tbody", null, rows.map(([label, get], at) => h("tr", null, h("th", null, label), h("td.num", null, get(comparison.a)), h("td.num", null, get(comparison.b)),
          h("td.num", null, ratio(comparison, ["queries", "p50_ns", "p95_ns", "p99_ns", "failed"][at])))))),
      distribution(comparison)));
}

function ratio({ a, b }, key) {
  return a[key] && b[key] ? `× ${digits(a[key] / b[key])}` : "–";
}

/** Two distributions over the same rows of latency, back to back. */
function distribution({ a, b, edges_ns }) {
  const most = Math.max(...a.share, ...b.share, 1e-9);
  const used = edges_ns.map((_, at) => a.share[at] > 0 || b.share[at] > 0);
  const low = used.indexOf(true), high = used.lastIndexOf(true);
  if (low < 0) return null;
  const side = (share, name) => h(`span.${name}`, { title: percent(share) }, h("i", { style: { width: `${(share / most) * 100}%` } }));
  return h("div.distribution", { role: "img", "aria-label": `Distribution of ${a.label} and ${b.label}` },
    h("div.heads", null, h("span.left", null, a.label), h("span"), h("span.right", null, b.label)),
    edges_ns.slice(low, high + 1).map((edge, at) => h("div", null,
      side(a.share[low + at], "left"), h("span.edge", null, duration(edge)), side(b.share[low + at], "right"))).reverse());
}
