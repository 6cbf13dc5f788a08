// The list of entries. The document contains only the rows in and near the
// visible part.

import { showStatus } from "./controls.js";
import { button, byId, element, formatCount } from "./dom.js";
import { entryPanel } from "./entry.js";
import { showNotice } from "./notice.js";
import { fillHead } from "./row.js";
import { replaceQuery, state } from "./state.js";

/** At most this many entries are sorted by time, and kept while new ones arrive. */
export const MAX_ENTRIES = 10_000;
const ROW_HEIGHT = 32; // --row in style.css
const PHONE_ROW_HEIGHT = 54; // --row in style.css on phones
const ROWS_ABOVE = 10;
const ROWS_BELOW = 15;
const ROWS_TO_END = 30; // rows outside the visible part when more are loaded
const TOP_TOLERANCE = 4; // pixels
const ADD_MS = 250; // between additions of new entries
const HOLD_MS = 2000; // after the pointer has moved
const LATE_MS = 1000;

const list = byId("list");
const sizer = byId("sizer");
const pill = byId("pill", HTMLButtonElement);
const phone = matchMedia("(max-width: 720px)");

/** What the list asks for. app.js sets these functions. */
export const onList = {
  nearEnd() {},
  nearTop() {},
  /** @param {Entry} _gap */
  loadGap(_gap) {},
};

/**
 * The rows in the document, by the entry's id.
 * @type {Map<number, HTMLElement>}
 */
const rows = new Map();

/**
 * By how much rows are higher than others, by the entry's id.
 * @type {Map<number, number>}
 */
const extraHeights = new Map();

/** The top of each row, and the end of the last one. */
let tops = new Float64Array(1);

let hasFrame = false; // whether a frame is requested
let addTimer = 0;
let lastAdded = 0;
let heldUntil = 0;
let isPressed = false;

/** Empties the list and scrolls it to the top. */
export function clearList() {
  if (list.contains(document.activeElement)) list.focus();
  removeRows();
  list.scrollTop = 0;
  pill.hidden = true;
}

/** Removes all rows from the document. The next layout makes them again. */
export function removeRows() {
  for (const row of rows.values()) row.remove();
  rows.clear();
  extraHeights.clear();
  sizes.disconnect();
}

// ---- Positions ----

/** @param {number} id */
function indexOf(id) {
  return state.entries.findIndex((entry) => entry.id === id);
}

/** Returns the height of a closed row that is not wrapped. */
function rowHeight() {
  return phone.matches ? PHONE_ROW_HEIGHT : ROW_HEIGHT;
}

function computeTops() {
  const { entries } = state;
  const height = rowHeight();
  tops = new Float64Array(entries.length + 1);
  for (let i = 0; i < entries.length; i++) {
    tops[i + 1] = tops[i] + height + (extraHeights.get(entries[i].id) ?? 0);
  }
  sizer.style.height = `${tops[entries.length]}px`;
}

/**
 * Returns the index of the row at a position.
 * @param {number} y
 */
function indexAt(y) {
  let low = 0;
  let high = tops.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (tops[middle] <= y) low = middle;
    else high = middle - 1;
  }
  return low;
}

/**
 * Changes the entries, and keeps the first visible one in place.
 * @param {() => void} change
 */
export function keepPlace(change) {
  const { scrollTop } = list;
  const index = indexAt(scrollTop);
  const id = state.entries[index]?.id ?? 0;
  const offset = scrollTop - tops[index];
  change();
  computeTops();
  const moved = indexOf(id);
  if (moved >= 0 && !(state.following && isAtTop())) list.scrollTop = tops[moved] + offset;
  layout();
}

// ---- Layout ----

/** Runs a layout in the next frame. */
export function requestFrame() {
  if (hasFrame) return;
  hasFrame = true;
  requestAnimationFrame(() => {
    hasFrame = false;
    layout();
  });
}

/** Updates the rows in the document to match the state and the scroll position. */
export function layout() {
  computeTops();
  const { entries } = state;
  const top = indexAt(list.scrollTop);
  const bottom = indexAt(list.scrollTop + list.clientHeight);
  const from = Math.max(0, top - ROWS_ABOVE);
  const to = Math.min(entries.length, bottom + ROWS_BELOW);
  removeRowsExcept(entries.slice(from, to));
  placeRows(from, to, top);
  if (entries.length && bottom >= entries.length - ROWS_TO_END) onList.nearEnd();
  if (entries.length && top < ROWS_TO_END) onList.nearTop();
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
    if (ids.has(id) || (row === focused && indexOf(id) >= 0)) continue;
    sizes.unobserve(row);
    row.remove();
    rows.delete(id);
  }
}

/**
 * @param {number} from
 * @param {number} to
 * @param {number} top the index of the first visible row
 */
function placeRows(from, to, top) {
  const { entries, selected, opened, atEnd, sorted, query } = state;
  // The Tab key reaches one row, from which the arrow keys lead to the others.
  const hasSelected = entries.slice(from, to).some((entry) => entry.id === selected);
  const tabStop = hasSelected ? selected : entries[Math.min(top, to - 1)]?.id;
  /** @type {HTMLElement | null} */
  let previous = null;
  for (let i = from; i < to; i++) {
    const entry = entries[i];
    /** @type {HTMLElement} */
    const row = rows.get(entry.id) ?? insertRow(entry, previous);
    row.style.transform = `translateY(${tops[i]}px)`;
    row.classList.toggle("current", entry.id === selected);
    const earlier = entries[query.asc ? i - 1 : i + 1]; // has arrived earlier
    row.classList.toggle("late", !sorted && earlier?.time - entry.time > LATE_MS);
    row.setAttribute("aria-posinset", String(i + 1));
    row.setAttribute("aria-setsize", String(atEnd ? entries.length : -1));
    const control = row.querySelector("button");
    if (control) control.tabIndex = entry.id === tabStop ? 0 : -1;
    if (!entry.gap) setOpen(row, entry, opened.has(entry.id));
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
  const row = element("div", entry.isNew ? "row new" : "row");
  entry.isNew = false;
  row.dataset.id = String(entry.id);
  row.setAttribute("role", "listitem");
  row.append(entry.gap ? gapLine(entry, entry.gap) : makeHead(entry));
  rows.set(entry.id, row);
  if (previous) previous.after(row);
  else sizer.prepend(row);
  if (state.query.wrap) sizes.observe(row);
  return row;
}

/** @param {Entry} entry */
function makeHead(entry) {
  const toggleButton = button("toggle", [], () => {});
  toggleButton.setAttribute("aria-label", entry.message.slice(0, 100) || "Entry");
  const head = element("div", "head", toggleButton);
  fillHead(head, entry);
  // The click of a double-click, or at the end of a selection, does not open.
  head.onclick = (event) => {
    if (event.detail > 1 || hasSelection()) return;
    select(entry.id);
    toggle(entry.id);
    toggleButton.focus({ preventScroll: true });
  };
  return head;
}

/**
 * @param {Entry} entry
 * @param {Gap} gap
 */
function gapLine(entry, { after, before }) {
  const count = formatCount(before - after - 1);
  const load = button("link", ["Load them"], () => onList.loadGap(entry));
  return element("div", "gap", `up to ${count} skipped, too many at once `, load);
}

/**
 * Adds the panel to a row, or removes it.
 * @param {HTMLElement} row
 * @param {Entry} entry
 * @param {boolean} isOpen
 */
function setOpen(row, entry, isOpen) {
  const panel = row.querySelector(".panel");
  row.querySelector(".toggle")?.setAttribute("aria-expanded", String(isOpen));
  if (isOpen === Boolean(panel)) return;
  row.classList.toggle("open", isOpen);
  if (panel) panel.remove();
  else row.append(entryPanel(entry));
  measure(row);
  sizes.observe(row);
}

/**
 * Records the height of a row, and reports whether it has changed.
 * @param {HTMLElement} row
 */
function measure(row) {
  const id = Number(row.dataset.id);
  const extra = row.offsetHeight - rowHeight();
  if (!row.offsetHeight || extra === (extraHeights.get(id) ?? 0)) return false;
  if (extra) extraHeights.set(id, extra);
  else extraHeights.delete(id);
  return true;
}

/** Runs a layout when a row changes its height. */
const sizes = new ResizeObserver((changes) => {
  let changed = false;
  keepPlace(() => {
    for (const { target } of changes) {
      if (target instanceof HTMLElement && measure(target)) changed = true;
    }
  });
  if (changed) requestFrame();
});

// ---- New entries ----

/** Adds the tail's entries soon. */
export function addSoon() {
  showPill();
  addTimer ||= setTimeout(
    () => {
      addTimer = 0;
      addPending(false);
    },
    Math.max(0, lastAdded + ADD_MS - Date.now(), state.following ? heldUntil - Date.now() : 0),
  );
}

/**
 * Reports whether new entries must wait, because they would move what the user
 * reads, points at or has selected.
 */
function isHeld() {
  return !state.following || isPressed || Date.now() < heldUntil || hasSelection();
}

function hasSelection() {
  const selection = getSelection();
  return Boolean(selection && !selection.isCollapsed && list.contains(selection.anchorNode));
}

/**
 * Moves the entries that the tail delivered to the list.
 * @param {boolean} isForced whether they are added even if they must wait
 */
export function addPending(isForced) {
  const isFirstLoad = state.isBusy && !state.entries.length && !state.atEnd;
  if (!state.pending.length || isFirstLoad) return;
  if (!isForced && isHeld()) {
    if (state.following) addSoon();
    showPill();
    return;
  }
  lastAdded = Date.now();
  const added = state.pending;
  state.pending = [];
  state.newest = added[added.length - 1].id;
  for (const entry of added) entry.isNew = true;
  keepPlace(() => {
    state.entries = state.entries.concat(added);
    sortEntries();
    dropOldest();
  });
  showStatus();
}

/** Puts the entries in the order in which they are shown. */
export function sortEntries() {
  const { entries, sorted, query } = state;
  entries.sort((a, b) => b.id - a.id);
  if (sorted) sortByTime(entries);
  if (query.asc) entries.reverse();
}

/** @param {Entry[]} entries the newest first */
function sortByTime(entries) {
  // An entry without a time stays above the one that arrived before it.
  const times = new Map();
  let time = -Infinity;
  for (let i = entries.length - 1; i >= 0; i--) {
    if (!isNaN(entries[i].time)) time = entries[i].time;
    times.set(entries[i], time);
  }
  entries.sort((a, b) => times.get(b) - times.get(a) || b.id - a.id);
}

/** Limits the number of entries. */
function dropOldest() {
  if (state.entries.length <= MAX_ENTRIES || !state.following) return;
  state.atEnd = false;
  state.sorted = false;
  sortEntries();
  let end = MAX_ENTRIES;
  while (state.entries[end - 1].gap) end--; // older entries are loaded after the last one
  for (const { id } of state.entries.splice(end)) {
    state.opened.delete(id);
    extraHeights.delete(id);
  }
}

function isAtTop() {
  return list.scrollTop <= TOP_TOLERANCE;
}

/** Shows how many new entries are not in the list yet. */
function showPill() {
  const count = state.pending.filter((entry) => !entry.gap).length;
  pill.hidden = !count || !isHeld();
  pill.textContent = `↑ ${formatCount(count)} new`;
}

/** Scrolls to the newest entry, and adds new entries as they arrive. */
export function follow() {
  state.following = true;
  list.scrollTop = 0;
  addPending(true);
  layout();
  if (document.activeElement === document.body) list.focus({ preventScroll: true });
}

/** Follows if the user is at the top and reads nothing. */
function updateFollowing() {
  if (!isAtTop()) state.following = false;
  else if (!state.opened.size && !state.selected) state.following = true;
  if (state.pending.length) addSoon();
}

// ---- Selecting and opening ----

/**
 * Opens or closes an entry.
 * @param {number} id
 */
export function toggle(id) {
  const { opened } = state;
  if (!opened.delete(id)) {
    opened.add(id);
    state.following = false;
  }
  replaceQuery({ open: [...opened].at(-1) ?? 0 });
  layout(); // makes the panel, which gives its height
  layout();
}

/**
 * Makes an entry the one that the keyboard acts on.
 * @param {number} id or 0 for none
 */
export function select(id) {
  state.selected = id;
  updateFollowing();
  for (const [rowID, row] of rows) row.classList.toggle("current", rowID === id);
}

/**
 * Scrolls to an entry if it is not visible, and gives it the focus.
 * @param {number} id
 * @param {boolean} [isCentred] whether to scroll it to the middle
 */
export function reveal(id, isCentred = false) {
  const index = indexOf(id);
  if (index < 0) return;
  computeTops();
  const { clientHeight } = list;
  const top = tops[index];
  const bottom = Math.min(tops[index + 1], top + clientHeight);
  if (isCentred) list.scrollTop = top - clientHeight / 3;
  else if (top < list.scrollTop) list.scrollTop = top;
  else if (bottom > list.scrollTop + clientHeight) list.scrollTop = bottom - clientHeight;
  layout();
  if (document.querySelector("dialog[open]")) return;
  rows.get(id)?.querySelector("button")?.focus({ preventScroll: true });
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
  const first = indexAt(list.scrollTop + TOP_TOLERANCE);
  const to = from < 0 ? (Math.abs(by) === 1 ? first : first + by) : from + by;
  const { id } = entries[Math.max(0, Math.min(entries.length - 1, to))];
  state.following = false;
  select(id);
  reveal(id);
}

/** Returns how many rows are visible. */
export function pageRows() {
  return Math.max(1, Math.floor(byId("viewport").clientHeight / rowHeight()) - 1);
}

pill.addEventListener("click", follow);
list.addEventListener("scroll", () => {
  updateFollowing();
  requestFrame();
});
list.addEventListener("pointermove", () => {
  heldUntil = Date.now() + HOLD_MS;
});
list.addEventListener("pointerdown", () => {
  isPressed = true;
});
for (const event of ["pointerup", "pointercancel"]) {
  addEventListener(event, () => {
    isPressed = false;
  });
}
phone.addEventListener("change", () => {
  removeRows();
  layout();
});
new ResizeObserver(requestFrame).observe(list);
