// The list of entries. The document contains only the rows in and near the
// visible part.

import { countEntry, drawChart } from "./chart.js";
import { showStatus } from "./controls.js";
import { button, byId, element, formatCount, highlighted } from "./dom.js";
import { entryPanel } from "./entry.js";
import { previewDetails } from "./json.js";
import { showNotice } from "./notice.js";
import { replaceQuery, state } from "./state.js";
import { rowTime } from "./time.js";

/** @import { Entry } from "./state.js" */

const MAX_ENTRIES = 20_000;
const MAX_MESSAGE = 600; // characters in a row
const ROW_HEIGHT = 32; // --row in style.css
const PHONE_ROW_HEIGHT = 54; // --row in style.css on phones
const ROWS_ABOVE = 10;
const ROWS_BELOW = 15;
const ROWS_TO_END = 30; // rows below the visible part when older entries are loaded
const TOP_TOLERANCE = 4; // pixels
const HIDDEN_FRAME_MS = 500;

const list = byId("list", HTMLElement);
const sizer = byId("sizer", HTMLElement);
const pill = byId("pill", HTMLButtonElement);
const phone = matchMedia("(max-width: 720px)");

/**
 * The rows in the document, by the entry's id.
 * @type {Map<number, HTMLElement>}
 */
const rows = new Map();

/**
 * The heights of the panels of opened entries, by the entry's id.
 * @type {Map<number, number>}
 */
const panelHeights = new Map();

let hasFrame = false; // whether a frame is requested
let nearEnd = () => {};

/** @param {() => void} listener called when the user scrolls near the end of the list */
export function onNearEnd(listener) {
  nearEnd = listener;
}

/** Empties the list and scrolls it to the top. */
export function clearList() {
  removeRows();
  panelHeights.clear();
  list.scrollTop = 0;
  pill.hidden = true;
}

/** Removes all rows from the document. The next layout makes them again. */
export function removeRows() {
  for (const row of rows.values()) row.remove();
  rows.clear();
}

// ---- Positions ----

function rowHeight() {
  return phone.matches ? PHONE_ROW_HEIGHT : ROW_HEIGHT;
}

/**
 * Returns the index of the entry with the given id, or -1.
 * @param {number} id
 */
function indexOf(id) {
  const { entries } = state;
  const index = lowestIndex(entries.length, (i) => entries[i].id <= id);
  return entries[index]?.id === id ? index : -1;
}

/**
 * Returns the lowest index below length for which isTrue, or length. If isTrue
 * for an index, it must be for all higher ones.
 * @param {number} length
 * @param {(index: number) => boolean} isTrue
 */
function lowestIndex(length, isTrue) {
  let low = 0;
  let high = length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (isTrue(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** The vertical positions of all rows, computed on the assumption that few are open. */
class Positions {
  constructor() {
    this.rowHeight = rowHeight();
    this.count = state.entries.length;
    this.panels = [...state.opened]
      .map((id) => ({ index: indexOf(id), height: panelHeights.get(id) ?? 0 }))
      .filter(({ index }) => index >= 0);
  }

  /** @param {number} index */
  top(index) {
    let top = index * this.rowHeight;
    for (const panel of this.panels) {
      if (panel.index < index) top += panel.height;
    }
    return top;
  }

  /** Returns the height of all rows together. */
  height() {
    return this.top(this.count);
  }

  /**
   * Returns the index of the row at a position.
   * @param {number} y
   */
  indexAt(y) {
    return Math.max(0, lowestIndex(this.count + 1, (i) => this.top(i) > y) - 1);
  }
}

// ---- Layout ----

/** Runs a layout in the next frame, after adding the tail's entries. */
export function requestFrame() {
  if (hasFrame) return;
  hasFrame = true;
  const run = () => {
    hasFrame = false;
    addPending();
    layout();
  };
  // A hidden tab gets no frames, but the tail's entries must not accumulate.
  if (document.hidden) setTimeout(run, HIDDEN_FRAME_MS);
  else requestAnimationFrame(run);
}

/** Updates the rows in the document to match the state and the scroll position. */
export function layout() {
  const { entries } = state;
  const positions = new Positions();
  sizer.style.height = `${positions.height()}px`;
  const from = Math.max(0, positions.indexAt(list.scrollTop) - ROWS_ABOVE);
  const bottom = positions.indexAt(list.scrollTop + list.clientHeight);
  const to = Math.min(entries.length, bottom + ROWS_BELOW);
  removeRowsExcept(entries.slice(from, to));
  placeRows(from, to, positions);
  if (entries.length && to >= entries.length - ROWS_TO_END) nearEnd();
  showNotice();
  showPill();
}

/**
 * Removes rows from the document, except those of some entries and the row that
 * has the focus.
 * @param {Entry[]} kept
 */
function removeRowsExcept(kept) {
  const ids = new Set(kept.map((entry) => entry.id));
  const focused = document.activeElement?.closest(".row");
  for (const [id, row] of rows) {
    if (ids.has(id) || row === focused) continue;
    panelSizes.unobserve(row);
    row.remove();
    rows.delete(id);
  }
}

/**
 * @param {number} from
 * @param {number} to
 * @param {Positions} positions
 */
function placeRows(from, to, positions) {
  const { entries, selected, opened, atEnd } = state;
  /** @type {HTMLElement | null} */
  let previous = null;
  for (let i = from; i < to; i++) {
    const entry = entries[i];
    /** @type {HTMLElement} */
    const row = rows.get(entry.id) ?? insertRow(entry, previous);
    row.style.transform = `translateY(${positions.top(i)}px)`;
    row.classList.toggle("current", entry.id === selected);
    row.setAttribute("aria-posinset", String(i + 1));
    row.setAttribute("aria-setsize", String(atEnd ? entries.length : -1));
    setOpen(row, entry, opened.has(entry.id));
    previous = row;
  }
}

/**
 * Makes a row. The order of rows in the document is that of the entries.
 * @param {Entry} entry
 * @param {HTMLElement | null} previous
 * @returns {HTMLElement}
 */
function insertRow(entry, previous) {
  const row = makeRow(entry);
  rows.set(entry.id, row);
  if (previous) previous.after(row);
  else sizer.prepend(row);
  return row;
}

/** @param {Entry} entry */
function makeRow(entry) {
  const { query } = state;
  const time = element("span", "time", rowTime(entry.timestamp, query.utc));
  time.title = entry.timestamp;
  const level = element("span", `level lv-${entry.level}`, entry.levelName || "(none)");
  const message = entry.message.slice(0, MAX_MESSAGE) || "(no message)";
  const details = element("span", "extra", previewDetails(entry.details));
  const text = element("span", "text", ...highlighted(message, query.q), " ", details);
  const head = button("head", [time, level, text], () => {
    select(entry.id);
    toggle(entry.id);
  });
  head.tabIndex = -1;
  const row = element("div", entry.isNew ? "row new" : "row", head);
  entry.isNew = false;
  row.dataset.id = String(entry.id);
  row.setAttribute("role", "listitem");
  return row;
}

/**
 * Returns the button in a row that opens the entry.
 * @param {HTMLElement} row
 * @returns {HTMLElement | null}
 */
function headOf(row) {
  return row.querySelector(".head");
}

/**
 * @param {HTMLElement} row
 * @returns {HTMLElement | null}
 */
function panelOf(row) {
  return row.querySelector(".panel");
}

/**
 * Adds the panel to a row, or removes it.
 * @param {HTMLElement} row
 * @param {Entry} entry
 * @param {boolean} isOpen
 */
function setOpen(row, entry, isOpen) {
  const panel = panelOf(row);
  headOf(row)?.setAttribute("aria-expanded", String(isOpen));
  if (isOpen === Boolean(panel)) return;
  row.classList.toggle("open", isOpen);
  if (panel) {
    panelSizes.unobserve(row);
    panel.remove();
    panelHeights.delete(entry.id);
    return;
  }
  const added = entryPanel(entry);
  row.append(added);
  panelHeights.set(entry.id, added.offsetHeight);
  panelSizes.observe(row);
  requestFrame();
}

/** Runs a layout when a panel changes its height. */
const panelSizes = new ResizeObserver((changes) => {
  for (const { target } of changes) {
    if (!(target instanceof HTMLElement)) continue;
    const panel = panelOf(target);
    const id = Number(target.dataset.id);
    if (!panel || panelHeights.get(id) === panel.offsetHeight) continue;
    panelHeights.set(id, panel.offsetHeight);
    requestFrame();
  }
});

// ---- New entries ----

/** Moves the entries that the tail delivered to the top of the list. */
export function addPending() {
  const isFirstLoad = state.isBusy && !state.entries.length && !state.atEnd;
  if (!state.pending.length || isFirstLoad) return;
  const highest = Math.max(state.entries[0]?.id ?? 0, state.newest);
  const added = state.pending.filter((entry) => entry.id > highest).reverse();
  state.pending = [];
  if (!added.length) return;
  state.newest = added[0].id;
  for (const entry of added) {
    entry.isNew = true;
    countEntry(entry);
  }
  // Keep what is visible in place if the user has scrolled down or is reading.
  const keepPlace = !isAtTop() || state.opened.size > 0;
  state.entries = added.concat(state.entries);
  if (keepPlace) {
    sizer.style.height = `${new Positions().height()}px`; // allow scrolling this far
    list.scrollTop += added.length * rowHeight();
    state.unseen += added.length;
  }
  dropOldest();
  drawChart();
  showStatus();
}

/** Limits the number of entries, unless the user has scrolled far down. */
function dropOldest() {
  const { entries } = state;
  if (entries.length <= MAX_ENTRIES || state.isLoadingMore) return;
  if (new Positions().indexAt(list.scrollTop) >= MAX_ENTRIES / 2) return;
  entries.length = MAX_ENTRIES;
  state.atEnd = false;
}

function isAtTop() {
  return list.scrollTop <= TOP_TOLERANCE;
}

/** Shows how many new entries are above the visible part. */
function showPill() {
  if (isAtTop()) state.unseen = 0;
  pill.hidden = !state.unseen;
  pill.textContent = `↑ ${formatCount(state.unseen)} new`;
}

export function scrollToTop() {
  list.scrollTop = 0;
  layout();
}

// ---- Selecting and opening ----

/**
 * Opens or closes an entry.
 * @param {number} id
 */
export function toggle(id) {
  const { opened } = state;
  panelHeights.delete(id);
  if (!opened.delete(id)) opened.add(id);
  replaceQuery({ open: opened.has(id) ? id : 0 });
  layout(); // makes the panel, which gives its height
  layout();
}

/**
 * Makes an entry the one that the keyboard acts on.
 * @param {number} id or 0 for none
 */
export function select(id) {
  state.selected = id;
  for (const [rowID, row] of rows) row.classList.toggle("current", rowID === id);
}

/**
 * Scrolls to an entry if it is not visible, and gives it the focus.
 * @param {number} id
 */
export function reveal(id) {
  const index = indexOf(id);
  if (index < 0) return;
  const positions = new Positions();
  const top = positions.top(index);
  const bottom = Math.min(positions.top(index + 1), top + list.clientHeight);
  if (top < list.scrollTop) list.scrollTop = top;
  else if (bottom > list.scrollTop + list.clientHeight) list.scrollTop = bottom - list.clientHeight;
  layout();
  if (document.querySelector("dialog[open]")) return;
  const row = rows.get(id);
  if (row) headOf(row)?.focus({ preventScroll: true });
}

/**
 * Selects the entry a number of rows below the selected one. If none is
 * selected, it selects the first visible entry.
 * @param {number} by negative for above
 */
export function moveSelection(by) {
  const { entries, selected } = state;
  if (!entries.length) return;
  const from = selected ? indexOf(selected) : -1;
  const to = from < 0 ? new Positions().indexAt(list.scrollTop) : from + by;
  const { id } = entries[Math.max(0, Math.min(entries.length - 1, to))];
  select(id);
  reveal(id);
}

pill.addEventListener("click", scrollToTop);
list.addEventListener("scroll", requestFrame);
phone.addEventListener("change", layout);
new ResizeObserver(requestFrame).observe(list);
