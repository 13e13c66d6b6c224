// The frame around the views: where we are, the time range, the filters, keys.

import { h, fill } from "./dom.js";
import { ask, ApiError, setToken, takeToken } from "./api.js";
import { current, filters, go, here, link, range, seconds, FILTERS, RANGES } from "./route.js";
import { duration, minute, moment, plural, span, words, zone } from "./format.js";
import { redraw, sweep } from "./chart.js";
import * as overview from "./views/overview.js";
import * as lookups from "./views/lookups.js";
import * as lookup from "./views/lookup.js";
import * as servers from "./views/servers.js";
import * as pods from "./views/pods.js";

const VIEWS = { "": overview, lookups, lookup, servers, pods };
const TABS = [["", "Overview"], ["lookups", "Lookups"], ["servers", "Servers"], ["pods", "Pods"]];
const NAMES = { min_ms: "took at least", max_ms: "took less than", bottleneck: "most of it", method: "joined by" };
const REFRESH_MS = 15_000;

const header = document.getElementById("header");
const chips = document.getElementById("filters");
const main = document.getElementById("main");

let about = null;
let running = null; // AbortController of the view that is being made
let timer = 0;
let stale = null; // why what is shown could not be made anew, and since when it is as it is
let answered = 0; // when the view was made, ms

/** What a view gets: see each view's `show`. */
function context(signal, quiet) {
  const { query, path } = current();
  const end = endOfTime();
  const time = range(end);
  return {
    about, path: path.slice(1), query, filters: filters(), time,
    ask: (where, parameters = {}) => ask(where, { from: time.from, to: time.to, ...filters(), ...parameters }, signal),
    askAlone: (where, parameters = {}) => ask(where, parameters, signal),
    signal, quiet, patience: quiet ? 60_000 : 500, // what comes again may take its time: what is there stays
    onRange: (from, to) => go(here({ from, to })),
  };
}

/** Where "the last hour" ends: now; or, where a history is no longer written, at its end. */
function endOfTime() {
  // In steps, so that all who look at one range ask the same, and are answered once.
  const length = seconds(current().query.get("last")) ?? 3600;
  const step = Math.max(5, Math.round(length / 240));
  const now = Math.ceil(Date.now() / 1000 / step) * step;
  const last = about?.last_us ? Math.ceil(about.last_us / 1e6) + 1 : now;
  return about?.ended ? last : Math.max(now, Math.min(last, now + 60));
}

async function show({ quiet = false } = {}) {
  running?.abort();
  clearTimeout(timer);
  const controller = running = new AbortController();
  const { path } = current();
  const view = VIEWS[path[0] ?? ""];
  if (!quiet) main.setAttribute("aria-busy", "true");
  try {
    about = await ask("about", {}, controller.signal);
    drawHeader();
    drawFilters();
    if (!view) throw new ApiError(404, "There is no such page.");
    const made = await view.show(context(controller.signal, quiet));
    if (controller.signal.aborted) return;
    answered = Date.now();
    if (stale) { stale = null; drawHeader(); }
    const at = window.scrollY, focused = focusIn(main);
    fill(main, made);
    if (quiet) focused?.();
    sweep();
    document.title = `${made.dataset?.title ?? TABS.find(([name]) => name === (path[0] ?? ""))?.[1] ?? "otel-dns"} · otel-dns`;
    if (quiet) scrollTo(0, at);
    else if (!current().query.get("stay")) scrollTo(0, 0);
  } catch (error) {
    if (error.name === "AbortError") return;
    if (error.status === 401) { drawHeader(); fill(main, tokenForm()); return; }
    if (!(error instanceof ApiError)) console.error(error);
    if (quiet) { // what is there stays, and is not taken for what is now
      stale ??= { since: answered };
      stale.why = error.message;
      drawHeader();
    } else fill(main, problem(error));
  } finally {
    if (running === controller) {
      main.removeAttribute("aria-busy");
      if (!view?.still && !range(0).fixed) timer = setTimeout(refresh, REFRESH_MS);
    }
  }
}

function refresh() {
  // Not under somebody's hands: who types, presses, selects text or goes over a map by keys.
  const busy = main.querySelector("input:focus, canvas:focus, :active, details[open].keep") || !getSelection().isCollapsed;
  if (document.hidden || busy) timer = setTimeout(refresh, REFRESH_MS);
  else show({ quiet: true });
}

/** How to give the focus back to what has it in here, once that is made anew. */
function focusIn(element) {
  const has = document.activeElement;
  if (has === element || !element.contains(has)) return null;
  const all = () => [...element.querySelectorAll("a, button, select")].filter((one) => one.tagName === has.tagName);
  const same = (one) => one.textContent === has.textContent && one.getAttribute("href") === has.getAttribute("href");
  const place = all().filter(same).indexOf(has), number = all().indexOf(has);
  return () => (all().filter(same)[place] ?? all()[number])?.focus({ preventScroll: true });
}

function problem(error) {
  return h("section.notice", { role: "alert" },
    h("h1", null, error.status === 404 ? "Not found" : "No answer"),
    h("p", null, error instanceof ApiError ? error.message : `The page failed: ${error.message}`),
    h("p", null, h("button", { type: "button", onclick: () => show() }, "Try again"), " ", h("a", { href: link("", {}, { filters: false }) }, "Overview")));
}

function tokenForm() {
  const input = h("input", { type: "password", autocomplete: "off", "aria-label": "Token", placeholder: "Token", required: true });
  return h("section.notice", null,
    h("h1", null, "A token is needed"),
    h("p", null, "This page is served beyond the machine that it runs on. Whoever runs otel-dns has the tokens; they are kept for this tab only."),
    h("form", { onsubmit: (event) => { event.preventDefault(); setToken(input.value.trim()); show(); } },
      input, h("button", { type: "submit" }, "Open")));
}

// -- header ---------------------------------------------------------------------------------------

function drawHeader() {
  const { path, query } = current();
  const active = path[0] === "lookup" ? "lookups" : path[0] ?? "";
  const time = range(endOfTime());
  const chosen = time.fixed ? "fixed" : query.get("last") ?? "1h";
  const select = h("select", {
    "aria-label": "Time range",
    onchange: (event) => go(here({ last: event.target.value, from: null, to: null })),
  },
  time.fixed ? h("option", { value: "fixed", selected: true }, `${minute(time.from * 1e6)} – ${minute(time.to * 1e6)}`) : null,
  RANGES.map(([name, length]) => h("option", { value: name, selected: name === chosen }, `last ${span(length)}`)),
  !time.fixed && !RANGES.some(([name]) => name === chosen) && seconds(chosen)
    ? h("option", { value: chosen, selected: true }, `last ${span(seconds(chosen))}`) : null);
  fill(header,
    h("a.brand", { href: link("", {}, { filters: false }) }, "otel-dns"),
    h("nav", { "aria-label": "Views" }, TABS.map(([name, label]) =>
      h("a", { href: link(name), "aria-current": name === active ? "page" : null }, label))),
    h("div.tools", null,
      stale ? h("span.stale", { role: "alert", title: stale.why }, `as of ${moment(stale.since * 1e3)}`, h("span.wordy", null, ", no answer since")) : null,
      about?.ended ? h("span.quiet.ended", { title: "The history is no longer written: the page shows its end." }, `ends ${moment(about.last_us, { day: true })}`) : null,
      h("span.quiet.zone", { title: "All times are in your own time zone." }, zone()),
      select,
      h("button.icon", { type: "button", title: "Dark or light (t)", "aria-label": "Dark or light", onclick: switchTheme }, "◐"),
      h("button.icon", { type: "button", title: "Keys (?)", "aria-label": "Keys", onclick: help }, "?")));
}

function drawFilters() {
  const active = current().path[0] === "lookup" ? [] : Object.entries(filters());
  const scoped = about?.namespaces;
  const problems = about?.problems ?? [];
  chips.hidden = !active.length && !scoped && !problems.length;
  fill(chips,
    problems.length ? h("span.chip.fixed.problem", { role: "alert", title: problems.join("\n") },
      problems.length > 1 ? `${plural(problems.length, "file")} of the history are left out` : problems[0]) : null,
    scoped ? h("span.chip.fixed", { title: "Your token sees these namespaces only." }, `your namespaces: ${scoped.join(", ")}`) : null,
    active.map(([key, value]) => h("span.chip", null,
      h("span.quiet", null, `${NAMES[key] ?? words(key)} `), key.endsWith("_ms") ? duration(value * 1e6) : words(value, about?.labels),
      h("button", { type: "button", "aria-label": `Remove ${words(key)} ${value}`, onclick: () => go(here({ [key]: null })) }, "×"))),
    active.length > 1 ? h("a", { href: here(Object.fromEntries(FILTERS.map((key) => [key, null]))) }, "clear all") : null);
}

function switchTheme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  try { localStorage.setItem("otel-dns-theme", root.dataset.theme); } catch { /* for this time only */ }
  redraw();
}

// -- keys -----------------------------------------------------------------------------------------

const KEYS = [
  ["o l s p", "overview, lookups, servers, Pods"], ["/", "search lookups"], ["j k", "down, up a row"],
  ["Enter", "open the row"], ["[ ]", "earlier, later lookup"], ["b", "back"], ["t", "dark or light"], ["r", "ask again"], ["?", "these keys"],
];

function help() {
  const dialog = h("dialog.help", { "aria-label": "Keys" },
    h("h2", null, "Keys"),
    h("dl", null, KEYS.map(([keys, meaning]) => h("div", null, h("dt", null, keys.split(" ").map((key) => h("kbd", null, key))), h("dd", null, meaning)))),
    h("p.quiet", null, `otel-dns ${about?.version ?? ""} · `, h("a", { href: new URL("api/openapi.json", location.href).href, target: "_blank", rel: "noopener" }, "the same as JSON: OpenAPI")),
    h("form", { method: "dialog" }, h("button", { autofocus: true }, "Close")));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

function step(by) {
  const rows = [...main.querySelectorAll("[data-row]")];
  if (!rows.length) return;
  const at = rows.findIndex((row) => row.contains(document.activeElement));
  const next = rows[at < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(Math.max(at + by, 0), rows.length - 1)];
  (next.matches("a,button") ? next : next.querySelector("a,button"))?.focus();
  next.scrollIntoView({ block: "nearest" });
}

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, select, textarea, dialog")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const tabs = { o: "", l: "lookups", s: "servers", p: "pods" };
  if (event.key in tabs) go(link(tabs[event.key]));
  else if (event.key === "/") {
    event.preventDefault();
    const search = document.getElementById("search");
    if (search) search.focus();
    else go(link("lookups", { search: "1" }));
  }
  else if (event.key === "j") step(1);
  else if (event.key === "k") step(-1);
  else if (event.key === "[" || event.key === "]") main.querySelector(event.key === "[" ? "[data-earlier]" : "[data-later]")?.click();
  else if (event.key === "b") history.back();
  else if (event.key === "t") switchTheme();
  else if (event.key === "r") show();
  else if (event.key === "?") help();
});

addEventListener("hashchange", () => { if (location.hash.startsWith("#token=")) takeToken(); show(); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
takeToken();
show();
