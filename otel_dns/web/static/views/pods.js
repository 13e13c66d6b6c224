// Nodes and Pods: who suffers, who is noisy, and what a change of resolv.conf would save.

import { h, later, lines } from "../dom.js";
import { count, duration, percent, plural, rate, words } from "../format.js";
import { here, link } from "../route.js";
import { bar } from "../breakdown.js";

const ORDERS = [["suffering", "Who suffers"], ["noisy", "Who is noisy"], ["waste", "Search waste"]];

export async function show(context) {
  const { ask, about, query } = context;
  const order = query.get("order") ?? "suffering";
  const by = query.get("by") ?? "pod";
  const saving = ask("advice");
  saving.catch(() => {}); // where the first fails, nobody asks for it
  const found = await ask("pods", { order, by });
  const advice = await later(saving, advised, context);
  return h("div.pods", null,
    h("div.bar-tools", null,
      h("div.switch", { role: "group", "aria-label": "Order" }, ORDERS.map(([name, label]) =>
        h("a", { href: here({ order: name }), "aria-current": name === order ? "true" : null }, label))),
      h("div.switch", { role: "group", "aria-label": "By" }, [["pod", "Pods"], ["node", "Nodes"], ["namespace", "Namespaces"]].map(([name, label]) =>
        h("a", { href: here({ by: name }), "aria-current": name === by ? "true" : null }, label)))),
    h("div.scroll", null, h("table.rows.tight", null,
      h("thead", null, h("tr", null, h("th", null, words(by)), h("th.num", null, "lookups"), h("th.num", null, "failed"), h("th.num", null, "p50"), h("th.num", null, "p95"), h("th.num", null, "p99"),
        h("th", null, "where it went"), h("th", null, "most of it"), h("th.num", null, "queries/s"), h("th.num", null, "waste"))),
      h("tbody", null, found.rows.map((one) => podRow(one, by, about))))),
    found.rows.length ? null : h("p.quiet.empty", null, "No lookups in this time."),
    advice);
}

function podRow(one, by, about) {
  const narrowed = { pod: { pod: one.pod, namespace: one.namespace }, node: { node: one.node }, namespace: { namespace: one.namespace } }[by];
  return h("tr", { "data-row": true },
    h("td", null, h("a", { href: link("lookups", narrowed) }, one[by] || "(not told)"),
      by === "pod" ? h("span.quiet.below", null, `${[one.namespace, one.node].filter(Boolean).join(" · ")}`) : null),
    h("td.num", null, count(one.lookups)),
    h("td", { class: one.failed ? "num bad" : "num" }, one.failed ? `${count(one.failed)} (${percent(one.failed / one.lookups)})` : "0"),
    h("td.num", null, duration(one.p50_ns)), h("td.num", null, duration(one.p95_ns)), h("td.num", null, duration(one.p99_ns)),
    h("td.parts", null, bar(about.segments, one.segments, { small: true })),
    h("td", null, words(one.bottleneck, about.labels)),
    h("td.num", null, rate(one.query_rate)),
    h("td.num", null, one.queries ? percent(one.waste_queries / one.queries) : "–"));
}

function advised({ advice }) {
  return h("section", null, h("h2", null, "What a change would save"),
    advice.length ? h("ol.advice-list", null, advice.map((one) => h("li", null,
      h("h3", null, one.title),
      h("p", null, one.text),
      h("div.columns", null, one.ways.map((way) => h("div", null,
        h("p.quiet", null, way.text),
        h("div.paste", null, h("pre", null, lines(way.paste)), copyButton(`${way.paste.join("\n")}\n`)))))))) 
      : h("p.quiet", null, "No Pod loses queries worth mentioning to its search list."));
}

function copyButton(text) {
  return h("button.copy", {
    type: "button",
    onclick: async (event) => {
      const button = event.currentTarget;
      try {
        await navigator.clipboard.writeText(text);
        button.textContent = "copied";
      } catch {
        const range = document.createRange();
        range.selectNodeContents(button.previousElementSibling);
        getSelection().removeAllRanges();
        getSelection().addRange(range);
        button.textContent = "selected: press Ctrl-C";
      }
    },
  }, "copy");
}
