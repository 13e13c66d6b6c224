// The first page: is DNS healthy, how much of it is seen, who suffers, what changed; then the charts.

import { h } from "../dom.js";
import { count, duration, minute, moment, percent, plural, rate, rates, words } from "../format.js";
import { here, link, FILTERS } from "../route.js";
import { timeChart } from "../chart.js";
import { segmentColour } from "../breakdown.js";

export async function show({ ask, about, onRange, filters, quiet }) {
  // The charts are cheap: on a machine that is too busy for the rest they are there. What is shown already stays.
  const judged = ask("state").catch((error) => { if (error.status !== 503 || quiet) throw error; return { error }; });
  const [state, course] = await Promise.all([judged, ask("overview")]);
  if (state.error) return h("div.overview", null, unjudged(state.error), charts(course, about, onRange));
  if (!state.totals.lookups) return h("div.overview", { "data-title": state.sentence }, verdict(state), nothing(about, filters));
  return h("div.overview", { "data-title": state.sentence },
    verdict(state), findings(state, about), 
    h("div.columns", null, sufferers(state, about), changes(state)),
    totals(state), charts(course, about, onRange));
}

function unjudged(error) {
  return h("section.verdict.unknown", { role: "alert" },
    h("div", null, h("h1", null, "Not judged"), h("p.quiet", null, `${error.message}. The charts below are of all of this time.`)));
}

/** What to do where there is nothing to show. */
function nothing(about, filters) {
  if (Object.keys(filters).length) return h("p", null, h("a", { href: here(Object.fromEntries(FILTERS.map((key) => [key, null]))) }, "Clear the filters"), " or choose a longer time.");
  if (about.last_us === null) return h("p", null, "Nothing has been kept in this history yet. Lookups are here half a minute after they ended, once applications or DNS servers send their spans, dnstap or logs to otel-dns serve.");
  const end = Math.ceil(about.last_us / 1e6) + 1;
  return h("p", null, `The latest lookup was kept at ${moment(about.last_us, { day: true })}. `, h("a", { href: link("", { from: end - 3600, to: end }) }, "Show the hour up to it"), " or choose a longer time.");
}

function verdict(state) {
  return h(`section.verdict.${state.verdict}`, { "aria-live": "polite" },
    h("div", null, h("h1", null, state.sentence), h("p.quiet", null, state.reason)),
    h("dl.coverage", { "aria-label": "How much is seen" }, state.coverage.map((one) =>
      h("div", { class: one.enough ? null : "short", title: one.explanation },
        h("dt", null, one.label), h("dd", null, one.value)))));
}

/** A finding, with its evidence; everything leads on to the lookups that show it. */
function findings(state) {
  if (!state.findings.length) return null;
  return h("section", null, h("h2", null, "Findings"),
    h("ol.findings", null, state.findings.map((finding) =>
      h(`li.${finding.severity}`, { "data-row": true },
        h("a.title", { href: link(finding.view, finding.filters) }, finding.title),
        finding.since_us ? h("span.since", null, `since ${minute(finding.since_us)}`) : null,
        h("p", null, finding.detail),
        h("dl.evidence", null, finding.evidence.map((one) => h("div", null, h("dt", null, one.label), h("dd", null, one.value)))),
        finding.advice ? h("p.advice", null, finding.advice) : null))));
}

function sufferers(state, about) {
  if (!state.sufferers.length) return h("section", null, h("h2", null, "Who suffers"), h("p.quiet", null, "No Pod stands out."));
  return h("section", null, h("h2", null, "Who suffers"),
    h("div.scroll", null, h("table.tight", null,
      h("thead", null, h("tr", null, h("th", null, "Pod"), h("th.num", null, "lookups"), h("th.num", null, "failed"), h("th.num", null, "p95"), h("th", null, "most of it"), h("th", null, "since"))),
      h("tbody", null, state.sufferers.map((one) => h("tr", { "data-row": true },
        h("td", null, h("a", { href: link("lookups", { namespace: one.namespace, pod: one.pod }) }, one.pod || "(no Pod)"),
          h("span.quiet.below", null, `${[one.namespace, one.node].filter(Boolean).join(" · ")}`)),
        h("td.num", null, count(one.lookups)),
        h("td.num", { class: one.failed ? "num bad" : "num" }, count(one.failed)),
        h("td.num", null, duration(one.p95_ns)),
        h("td", null, words(one.bottleneck, about.labels)),
        h("td", null, one.since_us ? minute(one.since_us) : "–")))))));
}

function changes(state) {
  return h("section", null, h("h2", null, "What changed"),
    state.changes.length
      ? h("ul.changes", null, state.changes.map((one) => h("li", { "data-row": true },
        h("a", { href: link("lookups", one.filters) }, one.label), h("span", null, one.text))))
      : h("p.quiet", null, state.changes_reason));
}

function totals(state) {
  const all = state.totals;
  const figures = [
    ["lookups", count(all.lookups), rate(all.rate)],
    ["failed", count(all.failed), percent(all.failed / all.lookups)],
    ["median", duration(all.p50_ns), null],
    ["p95", duration(all.p95_ns), null],
    ["p99", duration(all.p99_ns), null],
    ["queries a lookup", all.joined ? (all.queries / all.joined).toFixed(1) : "–", all.queries ? `${percent(all.waste_queries / all.queries)} waste` : null],
  ];
  return h("dl.totals", null, figures.map(([label, value, more]) => h("div", null, h("dt", null, label), h("dd", null, value, more ? h("span.quiet", null, more) : null))));
}

function charts(course, about, onRange) {
  // What was asked for in the last minute may not have been kept yet: that is no fall.
  const kept = about.last_us / 1e6, end = Date.now() / 1000 - kept < 60 ? kept : Infinity;
  const seconds = (value) => duration(value);
  const times = course.times;
  return h("section.charts", null,
    timeChart({
      title: "Latency", note: "of lookups, as the applications saw them", times, log: true, onRange, format: seconds,
      series: [
        { label: "p50", values: course.p50_ns, colour: "--line-1" },
        { label: "p95", values: course.p95_ns, colour: "--line-2" },
        { label: "p99", values: course.p99_ns, colour: "--line-3" },
      ],
    }),
    timeChart({
      title: "Lookups", note: "a second", times, onRange, format: rate,
      series: [
        { label: "all", values: rates(course, course.lookups, end), colour: "--line-1", fill: true },
        { label: "failed", values: rates(course, course.failed, end), colour: "--bad", fill: true },
      ],
    }),
    timeChart({
      title: "Where the time goes", note: "of an average joined lookup", times, onRange, stacked: true, format: seconds,
      series: about.segments.filter(({ name }) => course.segments[name]?.some((value) => value)).map(({ name, label }) => ({
        label, values: course.segments[name], colour: segmentColour(name),
      })),
    }),
    timeChart({
      title: "Joins", note: "share of lookups, by how sure", times, onRange, stacked: true, format: percent,
      series: about.certainties.filter(({ name }) => course.joins[name]?.some((value) => value)).map(({ name, label }) => ({
        label, values: course.joins[name], colour: `--certainty-${name}`,
      })),
    }));
}
