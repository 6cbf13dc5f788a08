// Shows the header, the filter buttons and the status line. input.js handles the
// input of the header.

import { button, byId, element, formatCount } from "./dom.js";
import { LEVELS, isLevel } from "./levels.js";
import { NO_FILTERS, isFiltered } from "./query.js";
import { canBeLive, changeQuery, reload, state } from "./state.js";
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
const liveText = byId("liveText", HTMLElement);
const filters = byId("filters", HTMLElement);
const status = byId("status", HTMLElement);
const announcement = byId("announcement", HTMLElement);
const busy = byId("busy", HTMLElement);

/** Updates everything in this module. */
export function showControls() {
  const { query } = state;
  if (document.activeElement !== searchInput) searchInput.value = query.q;
  document.title = query.q ? `${query.q} · Logs` : "Logs";
  range.value = rangeValue(query);
  showZone();
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

function showZone() {
  const { utc } = state.query;
  zone.replaceChildren(utc ? "UTC" : "Local", element("span", "wide", utc ? "" : "time"));
  zone.title = `${utc ? "UTC" : "Local time"}: switch to ${utc ? "local time" : "UTC"} (u)`;
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
  const buttons = [...levelButtons(), ...removeButtons()];
  if (isFiltered(state.query)) {
    buttons.push(filterButton("clear", "chip quiet", ["Clear all"], clearFilters));
  }
  filters.replaceChildren(...buttons);
  // If the focused filter was removed, the next one gets the focus.
  if (focused) (buttons.find((made) => made.dataset.name === focused) ?? buttons[buttons.length - 1]).focus();
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

/** Returns a button for every filter that is not a level. A click removes it. */
function removeButtons() {
  const { levels, fields, since, until } = state.query;
  const buttons = [];
  for (const name of levels) {
    if (isLevel(name)) continue;
    const others = levels.filter((other) => other !== name);
    buttons.push(removeButton(`named ${name}`, `level = ${name}`, { levels: others }));
  }
  for (const field of fields) {
    const [name, value] = field;
    const others = fields.filter((other) => other !== field);
    buttons.push(removeButton(`field ${name}`, `${name} = ${value}`, { fields: others }));
  }
  if (rangeValue(state.query) === "custom") {
    const from = since ? filterTime(since) : "…";
    const to = until ? filterTime(until) : "now";
    buttons.push(removeButton("range", `${from} – ${to}`, { since: "", until: "" }));
  }
  return buttons;
}

/**
 * @param {string} name
 * @param {string} text
 * @param {Partial<Query>} rest the query's parts without the filter
 */
function removeButton(name, text, rest) {
  const remove = element("span", "visually-hidden", ": remove this filter");
  const cross = element("span", "cross", "×");
  cross.setAttribute("aria-hidden", "true");
  const children = [element("span", "name", text), cross, remove];
  return filterButton(name, "chip set", children, () => changeQuery({ ...rest, open: 0 }));
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
  if (state.failure && state.entries.length) {
    status.replaceChildren(
      element("span", "bad", `${state.failure} `),
      linkButton("Try again", reload),
    );
    return;
  }
  status.replaceChildren(listStatus());
  if (state.anchored) {
    status.append(linkButton("Go to newest", () => changeQuery({ open: 0 })));
  }
}

/** Describes the entries in the list. */
function listStatus() {
  const { entries, sorted } = state;
  const order = sorted ? "by time" : "in order of arrival";
  if (state.anchored) return `around entry ${state.query.open || entries[0]?.id}, newest first ${order} `;
  if (!entries.length) return "";
  if (state.atEnd) return `${entryCount(entries.length)}, newest first ${order}`;
  return `newest ${entryCount(entries.length)} ${order}, scroll for older ones`;
}

/**
 * Reports the result of a load to screen readers. New entries are not reported:
 * there may be too many.
 */
export function announceList() {
  const { failure, entries, atEnd } = state;
  const count = entries.length ? entryCount(entries.length) : "No entries";
  announcement.textContent = failure || `${count}${atEnd ? "" : " loaded, more below"}`;
}

/** @param {number} n */
function entryCount(n) {
  return `${formatCount(n)} ${n === 1 ? "entry" : "entries"}`;
}

/**
 * @param {string} text
 * @param {() => void} onClick
 */
function linkButton(text, onClick) {
  return button("link", [text], onClick);
}
