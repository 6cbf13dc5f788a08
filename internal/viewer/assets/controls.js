// Shows the header, the filter buttons and the status line. input.js handles the
// input of the header.

import { button, byId, element, formatCount } from "./dom.js";
import { LEVELS } from "./levels.js";
import { NO_FILTERS, filtersOf, isFiltered, without } from "./query.js";
import { canBeLive, changeQuery, changeView, reload, state } from "./state.js";
import { parseTime, shortTime } from "./time.js";

/**
 * The levels that have a button even if no entry has the level.
 * @type {readonly Level[]}
 */
const PERMANENT_LEVELS = ["fatal", "error", "unknown"];

const LIVE_TEXT = {
  fixed: "Not live",
  failed: "Not live",
  paused: "Paused",
  waiting: "Connecting",
  live: "Live",
};

const searchInput = byId("search", HTMLInputElement);
const range = byId("range", HTMLSelectElement);
const zone = byId("zone", HTMLButtonElement);
const live = byId("live", HTMLButtonElement);
const liveText = byId("liveText");
const filters = byId("filters");
const status = byId("status");
const announcement = byId("announcement");
const busy = byId("busy");
const entriesBox = byId("entries");
const columns = byId("columns");
const orderNote = byId("orderNote");

/** Updates everything in this module. */
export function showControls() {
  const { query } = state;
  if (document.activeElement !== searchInput) searchInput.value = query.words;
  const searched = query.words || query.q;
  document.title = searched ? `${searched} · Logs` : "Logs";
  range.value = rangeValue(query);
  showBar();
  zone.textContent = query.utc ? "UTC" : "Local";
  showFilters();
  showLive();
}

/**
 * Returns the value of the range select for a query.
 * @param {Query} query
 */
function rangeValue({ since, until }) {
  if (!since && !until) return "";
  const isOption = [...range.options].some((option) => option.value === since);
  return !until && isOption ? since : "custom";
}

function showBar() {
  const { asc, showsKinds, showsFields, wrap, cols } = state.query;
  press("entriesView", !showsKinds);
  press("kindsView", showsKinds);
  press("fieldsButton", showsFields);
  press("wrap", wrap);
  byId("order").textContent = asc ? "Oldest first" : "Newest first";
  document.body.classList.toggle("kinds-view", showsKinds);
  document.body.classList.toggle("fields-view", showsFields);
  document.body.classList.toggle("wrap", wrap);
  entriesBox.style.setProperty("--cols", cols.map(() => "minmax(5em, 11em)").join(" "));
  columns.hidden = !cols.length || showsKinds;
  columns.replaceChildren(
    ...["", "Time", "Level"].map((name) => element("span", "", name)),
    ...cols.map(columnHeader),
    element("span", "", "Message"),
  );
}

/**
 * @param {string} name
 * @param {boolean} isPressed
 */
function press(name, isPressed) {
  byId(name).setAttribute("aria-pressed", String(isPressed));
}

/** @param {string} name */
function columnHeader(name) {
  const cols = state.query.cols.filter((other) => other !== name);
  const remove = button("action", ["×"], () => changeView({ cols }));
  remove.setAttribute("aria-label", `× Remove the column ${name}`);
  return element("span", "cell", name, remove);
}

export function showLive() {
  const mode = liveMode();
  const isOn = mode === "live" || mode === "waiting" || mode === "failed";
  live.className = `control ${mode}`;
  live.setAttribute("aria-pressed", String(isOn));
  liveText.textContent = LIVE_TEXT[mode];
  showStatus();
}

/** @returns {keyof typeof LIVE_TEXT} */
function liveMode() {
  if (!canBeLive()) return "fixed";
  if (state.query.paused) return "paused";
  if (state.tail === "on") return "live";
  return state.tail === "off" ? "failed" : "waiting";
}

/** @param {boolean} isBusy */
export function showBusy(isBusy) {
  state.isBusy = isBusy;
  busy.hidden = !isBusy;
}

// ---- Filter buttons ----

export function showFilters() {
  const focused = focusedFilter();
  /** @type {HTMLElement[]} */
  const chips = [...levelButtons(), ...activeFilters().map(filterChip)];
  if (isFiltered(state.query)) {
    chips.push(filterButton("clear", "chip quiet", ["Clear all"], clearFilters));
  }
  filters.replaceChildren(...chips);
  if (!focused) return;
  // If the focused filter was removed, the last one gets the focus.
  const buttons = [...filters.querySelectorAll("button")];
  (buttons.find((made) => made.dataset.name === focused) ?? buttons[buttons.length - 1]).focus();
}

/** Returns the name of the filter button that has the focus, or "". */
function focusedFilter() {
  const active = document.activeElement;
  if (!(active instanceof HTMLElement) || !filters.contains(active)) return "";
  return active.dataset.name ?? "";
}

/**
 * @param {string} name identifies the button, so that a redraw keeps the focus
 * @param {string} className
 * @param {(Node | string)[]} children
 * @param {() => void} onClick
 */
function filterButton(name, className, children, onClick) {
  const made = button(className, children, onClick);
  made.dataset.name = name;
  return made;
}

function levelButtons() {
  const buttons = [];
  for (const level of LEVELS) {
    const isOn = state.query.levels.includes(level);
    const count = state.chart?.levels[level];
    if (isOn || count || PERMANENT_LEVELS.includes(level)) {
      buttons.push(levelButton(level, isOn, count));
    }
  }
  return buttons;
}

/**
 * @param {Level} level
 * @param {boolean} isOn whether the query selects the level
 * @param {number} [count]
 */
function levelButton(level, isOn, count = 0) {
  const shownCount = state.chart ? formatCount(count) : "…";
  const children = [element("i", ""), element("b", "", level), shownCount];
  const made = filterButton(`level ${level}`, `chip lv-${level}`, children, () => {
    const others = state.query.levels.filter((other) => other !== level);
    changeQuery({ levels: isOn ? others : [...others, level], open: 0 });
  });
  made.setAttribute("aria-pressed", String(isOn));
  return made;
}

/** Returns the active filters that have no control of their own. */
export function activeFilters() {
  const { query } = state;
  const filters = filtersOf(query);
  if (rangeValue(query) === "custom") {
    const from = query.since ? filterTime(query.since) : "…";
    const to = query.until ? filterTime(query.until) : "now";
    filters.push({ text: `${from} – ${to}`, params: [["since", query.since], ["until", query.until]] });
  }
  return filters;
}

/**
 * Returns the buttons of a filter: one that inverts it, if that is possible, and
 * one that removes it.
 * @param {Filter} filter
 */
function filterChip({ text, params, invert }) {
  const label = element("span", "name", text);
  const cross = element("span", "cross", "×");
  cross.setAttribute("aria-hidden", "true");
  const name = element("span", "visually-hidden", `Remove the filter ${text}`);
  const remove = filterButton(`remove ${text}`, "remove", [cross, name], () =>
    changeQuery({ ...without(state.query, params), open: 0 }),
  );
  if (!invert) return element("span", "chip set", label, remove);
  const made = filterButton(`invert ${text}`, "invert", [label], () =>
    changeQuery({ ...invert(state.query), open: 0 }),
  );
  made.title = "Invert this filter";
  return element("span", text.includes(" ≠ ") ? "chip set not" : "chip set", made, remove);
}

/**
 * Formats a since or until parameter, which may be a time or a duration.
 * @param {string} text
 */
function filterTime(text) {
  const ms = parseTime(text);
  return isNaN(ms) ? text : shortTime(ms, 1, state.query.utc);
}

export function clearFilters() {
  searchInput.value = "";
  changeQuery(NO_FILTERS);
}

// ---- Status line ----

export function showStatus() {
  const { entries, sorted } = state;
  orderNote.textContent = !entries.length ? "" : sorted ? "by time" : "in order of arrival";
  if (state.failure && state.entries.length) {
    status.replaceChildren(
      element("span", "bad", `${state.failure} `),
      button("link", ["Try again"], reload),
    );
    return;
  }
  status.replaceChildren(listStatus());
  if (state.anchored) {
    const label = `Go to ${state.query.asc ? "oldest" : "newest"}`;
    status.append(button("link", [label], () => changeQuery({ open: 0 })));
  }
}

/** @param {string} text */
export function showError(text) {
  status.replaceChildren(element("span", "bad", text));
}

/** Describes the entries in the list. */
function listStatus() {
  const { entries, atEnd, anchored, query, kinds, missing } = state;
  if (kinds) return `${formatCount(kinds)} ${kinds === 1 ? "kind" : "kinds"} of entries, the most frequent first`;
  if (anchored) return `around entry ${query.open || entries[0]?.id} `;
  const start = missing ? `entry ${missing} was deleted or does not match these filters; ` : "";
  if (!entries.length) return start;
  if (atEnd) return start + entryCount(entries.length);
  const [first, more] = query.asc ? ["oldest", "newer"] : ["newest", "older"];
  return `${start}${first} ${entryCount(entries.length)}, scroll for ${more} ones`;
}

/**
 * Reports the result of a load to screen readers. New entries are not reported:
 * there may be too many.
 */
export function announceList() {
  announcement.textContent = state.failure || listStatus() || "No entries";
}

/** @param {number} n */
function entryCount(n) {
  return `${formatCount(n)} ${n === 1 ? "entry" : "entries"}`;
}
