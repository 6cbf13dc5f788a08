// Handles input from the header, the dialogs and the keyboard.

import { drawChart } from "./chart.js";
import { clearFilters, showControls, showError, showLive } from "./controls.js";
import { byId, copyFor } from "./dom.js";
import { download, resultsCommand } from "./export.js";
import { loadFields } from "./fields.js";
import { apiKey, forgetKey } from "./key.js";
import { focusKind } from "./kinds.js";
import {
  follow,
  keepPlace,
  moveSelection,
  pageRows,
  removeRows,
  reveal,
  select,
  toggle,
} from "./list.js";
import { isFiltered, parseSearch, withField } from "./query.js";
import { errorText } from "./server.js";
import { canBeLive, changeQuery, changeView, onView, reload, replaceQuery, state } from "./state.js";
import { resumeTail, stopTail } from "./tail.js";
import { inputTime, isoTime, zoneName } from "./time.js";

const SEARCH_DELAY_MS = 60;
const DEFAULT_RANGE_MS = 3_600_000;
const FOCUS_MS = 100;

/** The element that had the focus last. @type {Element | null} */
let focused = null;

const list = byId("list");

const searchForm = byId("searchForm", HTMLFormElement);
const searchInput = byId("search", HTMLInputElement);
const range = byId("range", HTMLSelectElement);
const rangeDialog = byId("rangeDialog", HTMLDialogElement);
const rangeForm = byId("rangeForm", HTMLFormElement);
const rangeSince = byId("rangeSince", HTMLInputElement);
const rangeUntil = byId("rangeUntil", HTMLInputElement);
const rangeError = byId("rangeError");
const helpDialog = byId("helpDialog", HTMLDialogElement);
const useKeys = byId("useKeys", HTMLInputElement);
const downloadButton = byId("download", HTMLButtonElement);
const forgetKeyButton = byId("forgetKey", HTMLButtonElement);

// ---- Search ----

let searchTimer = 0;

searchInput.addEventListener("input", () => {
  clearTimeout(searchTimer);
  searchTimer = setTimeout(() => {
    const { words } = parseSearch(searchInput.value);
    if (words === state.query.words) return;
    replaceQuery({ words, open: 0 }); // no step in the history for every letter
    reload();
  }, SEARCH_DELAY_MS);
});

searchForm.addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(searchTimer);
  const { words, fields } = parseSearch(searchInput.value);
  let { query } = state;
  for (const { key, value, isExcluded } of fields) query = withField(query, key, value, isExcluded);
  focusList();
  if (fields.length || words !== query.words) changeQuery({ ...query, words, open: 0 });
});

// ---- Time range ----

range.addEventListener("change", () => {
  if (range.value === "custom") openRangeDialog();
  else changeQuery({ since: range.value, until: "", open: 0 });
});

function openRangeDialog() {
  const { utc } = state.query;
  const now = Date.now();
  const since = state.chart?.first || now - DEFAULT_RANGE_MS;
  const until = state.chart?.end || now;
  byId("rangeZone").textContent = utc
    ? "Times are in UTC."
    : `Times are in local time (${zoneName(now)}).`;
  rangeSince.value = inputTime(since, utc);
  rangeUntil.value = inputTime(until, utc);
  rangeError.hidden = true;
  rangeDialog.showModal();
}

/**
 * Returns the time of an input, NaN if it is empty.
 * @param {HTMLInputElement} input
 */
function timeOf({ value }) {
  return Date.parse(value && state.query.utc ? `${value}Z` : value);
}

rangeForm.addEventListener("submit", (event) => {
  event.preventDefault();
  const since = timeOf(rangeSince);
  const until = timeOf(rangeUntil);
  if (since >= until) {
    rangeError.textContent = "From must be before To.";
    rangeError.hidden = false;
    return;
  }
  rangeDialog.close();
  changeQuery({
    since: isNaN(since) ? "" : isoTime(since),
    until: isNaN(until) ? "" : isoTime(until),
    open: 0,
  });
});

rangeDialog.addEventListener("close", showControls); // resets the select

// ---- Time zone, live, help ----

const toggleZone = () => changeView({ utc: !state.query.utc });

onView(() => {
  showControls();
  drawChart();
  keepPlace(removeRows);
});

/** Pauses or resumes the tail. If the list cannot be live, loads one that can. */
function toggleLive() {
  if (!canBeLive()) {
    changeQuery({ until: "", asc: false, showsKinds: false, paused: false, open: 0 });
    return;
  }
  replaceQuery({ paused: !state.query.paused });
  stopTail();
  resumeTail();
  showLive();
}

function showHelp() {
  forgetKeyButton.hidden = !apiKey();
  useKeys.checked = !state.query.noKeys;
  helpDialog.showModal();
  helpDialog.scrollTop = 0; // the first control is at the end
}

useKeys.addEventListener("change", () => replaceQuery({ noKeys: !useKeys.checked }));

// ---- Keyboard ----

/** @type {Record<string, () => void>} */
const SHORTCUTS = {
  "/": focusSearch,
  j: () => move(1),
  k: () => move(-1),
  g: selectNewest,
  G: selectOldest,
  m: toggleKinds,
  f: toggleFields,
  w: () => changeView({ wrap: !state.query.wrap }),
  p: toggleLive,
  u: toggleZone,
  c: clearIfFiltered,
  "?": showHelp,
};

/** Keys that move in the list or in the kinds. @type {Record<string, () => void>} */
const MOVES = {
  ArrowDown: () => move(1),
  ArrowUp: () => move(-1),
  PageDown: () => move(pageRows()),
  PageUp: () => move(-pageRows()),
  Home: selectNewest,
};

addEventListener("keydown", (event) => {
  const { key, target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (!(target instanceof HTMLElement) || document.querySelector("dialog[open]")) return;
  // After a dialog was closed, an element in it may keep the focus for a moment.
  const isShown = target.checkVisibility();
  const isInField = isShown && target.closest("input, select, textarea") !== null;
  if (key === "Escape") {
    if (!isInField) closeSelected();
    else focusList();
    if (target === searchInput) event.preventDefault(); // which would clear it
    return;
  }
  if (isInField) return;
  if (key === "Enter") {
    if (!isShown || !target.closest("button, summary")) openSelected(event);
    return;
  }
  const keys = state.query.noKeys ? MOVES : { ...MOVES, ...SHORTCUTS };
  if (!Object.hasOwn(keys, key)) return;
  event.preventDefault();
  keys[key]();
});

function focusSearch() {
  searchInput.focus();
  searchInput.select();
}

/** @param {number} by */
function move(by) {
  if (state.query.showsKinds) focusKind(by);
  else moveSelection(by);
}

function focusList() {
  if (state.query.showsKinds) focusKind(0);
  else list.focus({ preventScroll: true });
}

function selectOldest() {
  if (state.query.showsKinds) focusKind(Infinity);
  else if (state.query.asc && !state.anchored) selectFirst();
  else changeQuery({ asc: true, open: 0 });
}

function selectNewest() {
  if (state.query.showsKinds) focusKind(-Infinity);
  else if (state.query.asc || state.anchored) changeQuery({ asc: false, open: 0 });
  else selectFirst();
}

function selectFirst() {
  follow();
  const [first] = state.entries;
  if (!first) return;
  state.selected = first.id;
  reveal(first.id);
}

function toggleKinds() {
  changeQuery({ showsKinds: !state.query.showsKinds, open: 0 });
}

function toggleFields() {
  changeView({ showsFields: !state.query.showsFields });
  loadFields(state.loading.signal);
}

const CLICKS = {
  zone: toggleZone,
  live: toggleLive,
  help: showHelp,
  rangeCancel: () => rangeDialog.close(),
  forgetKey() {
    forgetKey();
    location.reload(); // removes everything that the key gave access to
  },
  entriesView: () => changeQuery({ showsKinds: false }),
  kindsView: () => changeQuery({ showsKinds: true, open: 0 }),
  order: () => changeQuery({ asc: !state.query.asc, open: 0 }),
  fieldsButton: toggleFields,
  wrap: SHORTCUTS.w,
  download: save,
};
for (const [name, act] of Object.entries(CLICKS)) byId(name).addEventListener("click", act);
async function save() {
  downloadButton.disabled = true;
  try {
    if (await download()) showError("There are more entries. The file has the newest 100,000.");
  } catch (error) {
    showError(errorText(error));
  }
  downloadButton.disabled = false;
}

const curl = byId("curl", HTMLButtonElement);
curl.addEventListener("click", () => copyFor(curl, "Copy as curl", resultsCommand()));

function clearIfFiltered() {
  if (isFiltered(state.query)) clearFilters();
}

/** @param {Event} event */
function openSelected(event) {
  event.preventDefault();
  // The id of a gap is not an integer.
  if (state.selected && Number.isInteger(state.selected)) toggle(state.selected);
}

/** Closes the selected entry, or selects none if it is closed. */
function closeSelected() {
  if (state.opened.has(state.selected)) toggle(state.selected);
  else select(0);
}

// The element with the focus may be removed, for example because the list is
// loaded again. The list or a kind then gets the focus, so that keys still work.
addEventListener("focusin", ({ target }) => {
  focused = target instanceof Element ? target : null;
});
addEventListener("pointerdown", () => {
  focused = null;
});
setInterval(() => {
  if (!focused || focused.isConnected && focused.checkVisibility()) return;
  if (document.activeElement === document.body) focusList();
  if (document.activeElement !== document.body) focused = null; // kinds may be loading
}, FOCUS_MS);
