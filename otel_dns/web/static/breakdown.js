// Where a lookup's time went, as one bar.

import { h } from "./dom.js";
import { duration, percent } from "./format.js";

/** The style sheet's colour of a segment; those it does not know are grey. */
export function segmentColour(name) {
  return `--segment-${name.replaceAll("_", "-")}`;
}

/**
 * A bar of segments.
 * @param {Array<{name, label}>} segments in order
 * @param {object} times ns by segment name
 */
export function bar(segments, times, { small = false } = {}) {
  const total = segments.reduce((sum, { name }) => sum + (times[name] ?? 0), 0) || 1;
  const parts = segments.filter(({ name }) => times[name] > 0);
  const spoken = parts.map(({ name, label }) => `${label} ${duration(times[name])}`).join(", ");
  return h(small ? "span.bar.small" : "div.bar", { role: "img", "aria-label": spoken, title: spoken },
    parts.map(({ name }) => h("span", {
      style: { flex: `${(times[name] / total) * 1000} 0 0`, background: `var(${segmentColour(name)}, var(--muted))` },
    })));
}

/** The same in figures: each segment that took time, with its share. */
export function figures(segments, times) {
  const total = segments.reduce((sum, { name }) => sum + (times[name] ?? 0), 0) || 1;
  return h("dl.figures", null, segments.filter(({ name }) => times[name] > 0).map(({ name, label }) =>
    h("div", null,
      h("dt", null, h("i", { style: { background: `var(${segmentColour(name)}, var(--muted))` } }), label),
      h("dd", null, duration(times[name]), h("span.quiet", null, percent(times[name] / total))))));
}
