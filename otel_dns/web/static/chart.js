// Charts over time: uPlot, dressed for this page. Legends are made here, of text nodes.

import { h, fill } from "./dom.js";
import { mark } from "./format.js";

const charts = new Set();
const sync = () => uPlot.sync("time");

/** A colour of the style sheet, as it is now: charts are drawn again when the theme changes. */
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Draw every chart again: the theme has changed. */
export function redraw() {
  for (const chart of [...charts]) chart.draw();
}

/** Let go of the charts that are no longer on the page: the view has changed. */
export function sweep() {
  for (const chart of [...charts]) {
    if (chart.place.isConnected) continue;
    chart.drop();
    charts.delete(chart);
  }
}

/**
 * A chart of values over time.
 * @param {object} options
 *   times: seconds since the epoch; series: [{label, values, colour: "--css-name", dashed}];
 *   format: value -> text; stacked: draw areas on one another; height: pixels; log: scale;
 *   onRange(from, to): called with seconds when a stretch was chosen with the pointer;
 *   empty: what to say when there is nothing to draw
 */
export function timeChart({ title, note, times, series, format, stacked = false, height = 168, onRange, log = false }) {
  const legend = h("div.legend", { role: "list" });
  const canvas = h("div.canvas");
  const figure = h("figure.chart", { "aria-label": title },
    h("figcaption", null, h("strong", null, title), note ? h("span.quiet", null, note) : null, legend), canvas);
  const readouts = series.map((one) => {
    const value = h("span.value");
    legend.append(h("span.key", { role: "listitem" },
      h("i", { style: { background: `var(${one.colour}, var(--muted))` } }), one.label, value));
    return value;
  });
  const known = series.some((one) => one.values.some((value) => value !== null && value !== undefined));
  if (!known) {
    fill(canvas, h("p.quiet.empty", null, "Nothing in this time."));
    return figure;
  }

  const length = times.at(-1) - times[0];
  const columns = stacked ? stack(series) : series.map((one) => one.values);
  const chart = { plot: null, place: figure, draw, drop };

  function readout(index) {
    series.forEach((one, at) => {
      const value = index === null || index === undefined ? null : one.values[index];
      fill(readouts[at], value === null || value === undefined ? "" : format(value));
    });
  }

  function draw() {
    chart.plot?.destroy();
    const width = Math.max(canvas.clientWidth, 120);
    const order = series.map((one, index) => index);
    if (stacked) order.reverse(); // the highest first, the lower ones over it
    const axis = {
      stroke: colour("--muted"), font: "11px system-ui, sans-serif",
      grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false },
    };
    // On a logarithmic scale, a line and a label for each power of ten.
    const powers = (_plot, splits) => splits.map((split) => (split > 0 && Number.isInteger(Math.log10(split)) ? split : null));
    chart.plot = new uPlot({
      width, height, padding: [8, 8, 0, 0],
      legend: { show: false },
      cursor: { sync: { key: sync().key }, points: { show: !stacked, size: 6 }, drag: { x: Boolean(onRange), y: false, setScale: false }, y: false },
      scales: { x: { time: true }, y: log ? { distr: 3 } : { range: (_plot, _low, high) => [0, high > 0 ? high * 1.08 : 1] } },
      axes: [
        { ...axis, space: length < 86_400 ? 72 : 96, values: (_plot, splits) => splits.map((split) => mark(split * 1e6, length)) },
        { ...axis, size: 58, space: 34, ...(log ? { filter: powers, grid: { ...axis.grid, filter: powers } } : {}), values: (_plot, splits) => splits.map((split) => (split === null ? "" : format(split))) },
      ],
      series: [{}, ...order.map((index) => ({
        stroke: colour(series[index].colour),
        fill: stacked ? colour(series[index].colour) : series[index].fill ? mix(series[index].colour) : undefined,
        width: stacked ? 0 : 1.5,
        dash: series[index].dashed ? [4, 4] : undefined,
        points: { show: lonely(columns[index]), size: 5, fill: colour(series[index].colour) },
        spanGaps: false,
      }))],
      hooks: {
        setCursor: [(plot) => readout(plot.cursor.idx)],
        setSelect: [(plot) => {
          const { left, width: wide } = plot.select;
          if (wide < 4 || !onRange) return;
          const from = plot.posToVal(left, "x"), to = plot.posToVal(left + wide, "x");
          plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
          onRange(Math.floor(from), Math.ceil(to));
        }],
      },
    }, [times, ...order.map((index) => columns[index])], canvas);
  }

  const observer = new ResizeObserver(() => {
    if (!canvas.isConnected) return;
    if (!chart.plot) draw();
    else if (Math.abs(chart.plot.width - canvas.clientWidth) > 1) chart.plot.setSize({ width: Math.max(canvas.clientWidth, 120), height });
  });
  observer.observe(canvas);
  function drop() {
    observer.disconnect();
    chart.plot?.destroy();
  }
  charts.add(chart);
  return figure;
}

function stack(series) {
  const sums = new Array(series[0]?.values.length ?? 0).fill(0);
  return series.map((one) => one.values.map((value, at) => {
    if (value === null || value === undefined) return null;
    sums[at] += value;
    return sums[at];
  }));
}

/** A line needs two neighbours; where a value has none, points are drawn. */
function lonely(values) {
  return values.some((value, at) => value !== null && (values[at - 1] ?? null) === null && (values[at + 1] ?? null) === null);
}

function mix(name) {
  return `color-mix(in srgb, ${colour(name)} 14%, transparent)`;
}

/**
 * Latency by time: columns of time, rows of latency (logarithmic), colour by how many.
 * @param {object} options
 *   times: seconds at which columns begin; step: their width in seconds; edges: lower edge of each
 *   row in ns; counts[column][row]; onPick(from, to, lowNs, highNs)
 */
export function heatMap({ title, note, times, step, edges, counts, format, onPick }) {
  const readout = h("span.value.heat-told", { "aria-live": "polite" });
  const at = (second) => mark(second * 1e6, times.at(-1) - times[0]);
  const canvas = h("canvas", { tabindex: "0", role: "img", "aria-label": `${title}: arrow keys and Enter` });
  const labels = h("div.heat-axis", { "aria-hidden": "true" });
  const box = h("div.heat", null, labels, canvas);
  const figure = h("figure.chart", null,
    h("figcaption", null, h("strong", null, title), note ? h("span.quiet", null, note) : null, h("div.legend", null, readout)), box,
    h("div.heat-times", { "aria-hidden": "true" }, times.length
      ? [h("span", null, at(times[0])), h("span", null, at(times.at(-1) + step))] : null));
  const height = Math.max(edges.length * 11, 110);
  const most = Math.max(1, ...counts.flat());
  fill(labels, edges.map((edge, at) => (at % 3 === 0
    ? h("span", { style: { bottom: `${(at / edges.length) * 100}%` } }, format(edge)) : null)));

  let chosen = null; // by the keyboard
  function draw() {
    const width = canvas.clientWidth, ratio = devicePixelRatio || 1;
    if (!width) return;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    const wide = width / Math.max(times.length, 1), high = height / edges.length;
    const ink = colour("--heat");
    context.fillStyle = ink;
    counts.forEach((column, x) => column.forEach((value, y) => {
      if (!value) return;
      context.globalAlpha = 0.12 + 0.88 * (Math.log1p(value) / Math.log1p(most));
      context.fillRect(x * wide, height - (y + 1) * high, Math.max(wide - 1, 1), high - 1);
    }));
    context.globalAlpha = 1;
    if (!chosen) return;
    context.strokeStyle = colour("--ink");
    context.lineWidth = 2;
    context.strokeRect(chosen.x * wide, height - (chosen.y + 1) * high, Math.max(wide - 1, 3), high - 1);
  }
  function tell(cell) {
    fill(readout, cell ? `${at(times[cell.x])}  ${format(edges[cell.y])}–${format(edges[cell.y + 1] ?? edges[cell.y] * 2)}: ${counts[cell.x][cell.y]}` : "");
  }
  function pick(cell) {
    if (cell && counts[cell.x][cell.y]) onPick?.(times[cell.x], times[cell.x] + step, edges[cell.y], edges[cell.y + 1] ?? null);
  }
  function choose(cell) {
    chosen = cell;
    tell(cell);
    draw();
  }
  function cell(event) {
    const bounds = canvas.getBoundingClientRect();
    const x = Math.floor(((event.clientX - bounds.left) / bounds.width) * times.length);
    const y = Math.floor((1 - (event.clientY - bounds.top) / bounds.height) * edges.length);
    return times[x] === undefined || edges[y] === undefined ? null : { x, y };
  }
  canvas.style.height = `${height}px`;
  canvas.addEventListener("pointermove", (event) => tell(cell(event)));
  canvas.addEventListener("pointerleave", () => tell(chosen));
  canvas.addEventListener("blur", () => choose(null));
  canvas.addEventListener("keydown", (event) => {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowDown: [0, -1], ArrowUp: [0, 1] }[event.key];
    if (event.key === "Enter") pick(chosen);
    else if (event.key === "Escape") choose(null);
    else if (way && times.length && edges.length) {
      event.preventDefault();
      const from = chosen ?? { x: times.length - 1, y: edges.length - 1 };
      const within = (value, end) => Math.min(Math.max(value, 0), end - 1);
      choose(chosen ? { x: within(from.x + way[0], times.length), y: within(from.y + way[1], edges.length) } : from);
    }
  });
  if (onPick) {
    canvas.classList.add("pick");
    canvas.addEventListener("click", (event) => pick(cell(event)));
  }
  const observer = new ResizeObserver(draw);
  observer.observe(canvas);
  charts.add({ place: figure, draw, drop: () => observer.disconnect() });
  return figure;
}
