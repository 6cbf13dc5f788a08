// Loads the entries of the query.

import { loadChart, reloadChartSoon } from "./chart.js";
import { announceList, showBusy, showControls, showLive, showStatus } from "./controls.js";
import { MAX_ENTRIES, addPending, clearList, keepPlace, layout, reveal, sortEntries } from "./list.js";
import { loadFields } from "./fields.js";
import { hideKinds, loadKinds } from "./kinds.js";
import { hideNotice } from "./notice.js";
import { filterParams } from "./query.js";
import { errorText, getEntries, isTemporary } from "./server.js";
import { canBeLive, reload, resetList, state } from "./state.js";
import { gapEntry, resumeTail, startTail, stopTail } from "./tail.js";

const PAGE_SIZE = 300;
const AROUND = 25; // entries on each side of an entry
const MIN_RETRY_MS = 1000;
const MAX_RETRY_MS = 10_000;

let retryMs = MIN_RETRY_MS;

/** Loads the newest entries of the query and starts the tail. */
export async function load() {
  resetList();
  clearList();
  hideNotice();
  hideKinds();
  showBusy(true);
  showControls();
  const { signal } = state.loading;
  try {
    // The tail starts after the entry that is the newest now. It therefore misses
    // no entry, no matter how long it takes to connect.
    if (!state.query.until) state.tailFrom = await newestID(signal);
    const chart = loadChart(signal);
    if (state.query.showsKinds) {
      await chart; // the sparklines use the chart's range
      await loadKinds(signal);
    } else {
      await loadFirstPage(signal);
      chart.then(() => loadAllIfFew(signal));
    }
    retryMs = MIN_RETRY_MS;
    loadFields(signal);
  } catch (error) {
    if (signal.aborted) return;
    fail(error, reload);
    if (state.tailFrom < 0) state.tail = "off";
  }
  showBusy(false);
  if (state.selected) reveal(state.selected, true);
  layout();
  showControls();
  announceList();
}

/** @param {AbortSignal} signal */
async function loadFirstPage(signal) {
  if (canBeLive() && !state.query.paused) startTail();
  const { open, asc } = state.query;
  let page = await getPage(signal, asc ? { order: "asc" } : {});
  state.atEnd = page.length < PAGE_SIZE;
  if (open && !includesID(page, open)) {
    const around = await getPage(signal, { around: open, limit: 2 * AROUND + 1 });
    if (includesID(around, open)) {
      page = around;
      state.atEnd = page.filter(({ id }) => (asc ? id > open : id < open)).length < AROUND;
      anchorList();
    } else {
      state.missing = open;
    }
  }
  state.sorted = state.atEnd && !state.anchored;
  setEntries(page);
  if (includesID(page, open)) {
    state.opened.add(open);
    state.selected = open;
    state.following = false;
  }
  addPending(false);
}

/**
 * Puts entries in the list, each of them once. Pending entries that they include are
 * no longer pending.
 * @param {Entry[]} entries
 */
function setEntries(entries) {
  state.entries = [...new Map(entries.map((entry) => [entry.id, entry])).values()];
  sortEntries();
  for (const { id } of state.entries) state.newest = Math.max(state.newest, id);
  state.pending = state.pending.filter((entry) => entry.id > state.newest);
}

/**
 * Marks the list as starting further down. It then shows no new entries, because
 * the entries in between are missing.
 */
function anchorList() {
  stopTail();
  state.anchored = true;
  state.tail = "off";
  state.pending = [];
}

/**
 * Loads all entries and sorts them by time, if there are not too many.
 * @param {AbortSignal} signal
 */
async function loadAllIfFew(signal) {
  const { chart, query } = state;
  if (signal.aborted || !chart || state.atEnd || state.anchored || state.failure) return;
  let total = 0;
  for (const [level, count] of Object.entries(chart.levels)) {
    if (!query.levels.length || query.levels.includes(level)) total += count;
  }
  if (total >= MAX_ENTRIES) return;
  state.isLoadingMore = true;
  try {
    const page = await getPage(signal, { limit: MAX_ENTRIES });
    keepPlace(() => {
      const newer = state.entries.filter((entry) => entry.id > (page[0]?.id ?? 0));
      state.atEnd = page.length < MAX_ENTRIES;
      state.sorted = state.atEnd;
      setEntries(page.concat(newer));
    });
  } catch {
    // The list stays in order of arrival.
  }
  if (signal.aborted) return;
  state.isLoadingMore = false;
  showStatus();
}

/** Loads the page of entries after the last one. */
export async function loadMore() {
  const last = state.entries.at(-1);
  if (!last || state.atEnd || state.sorted) return;
  await loadInto(async (signal) => {
    const page = await getPage(signal, state.query.asc ? newerThan(last) : olderThan(last));
    state.atEnd = page.length < PAGE_SIZE;
    return page;
  }, loadMore);
}

/** Loads the page of entries before the first one, if the list does not start there. */
export async function loadNewer() {
  const [first] = state.entries;
  if (!first || !state.anchored) return;
  await loadInto(async (signal) => {
    const page = await getPage(signal, state.query.asc ? olderThan(first) : newerThan(first));
    if (page.length < PAGE_SIZE) endAnchor(page.at(-1) ?? first);
    return page;
  }, loadNewer);
}

const olderThan = (/** @type {Entry} */ { id }) => ({ before: id });
const newerThan = (/** @type {Entry} */ { id }) => ({ after: id, order: "asc" });

/**
 * Marks the list as complete at its start, and adds new entries again.
 * @param {Entry} newest the newest entry in the list
 */
function endAnchor(newest) {
  state.anchored = false;
  state.tailFrom = Math.max(state.tailFrom, newest.id);
  resumeTail();
  reloadChartSoon();
}

/**
 * Loads the entries of a gap, the newest first.
 * @param {Entry} entry
 */
export async function loadGap(entry) {
  const { gap } = entry;
  if (!gap) return;
  await loadInto(async (signal) => {
    const page = await getPage(signal, { ...gap, limit: MAX_ENTRIES });
    if (page.length === MAX_ENTRIES) page.push(gapEntry(gap.after, page[MAX_ENTRIES - 1].id));
    return page;
  }, () => loadGap(entry), entry);
}

/**
 * Adds entries to the list, unless entries are being added already.
 * @param {(signal: AbortSignal) => Promise<Entry[]>} getMore
 * @param {() => void} retry
 * @param {Entry} [replaced] the gap that they fill
 */
async function loadInto(getMore, retry, replaced) {
  if (state.isLoadingMore || state.failure) return;
  const { signal } = state.loading;
  state.isLoadingMore = true;
  showBusy(true);
  try {
    const page = await getMore(signal);
    keepPlace(() => setEntries(state.entries.filter((entry) => entry !== replaced).concat(page)));
    retryMs = MIN_RETRY_MS;
  } catch (error) {
    if (signal.aborted) return;
    fail(error, retry);
  }
  state.isLoadingMore = false;
  showBusy(false);
  layout();
  showLive();
}

/**
 * Shows an error, and retries when the server responds again.
 * @param {unknown} error
 * @param {() => void} retry
 */
async function fail(error, retry) {
  state.failure = errorText(error);
  const { signal } = state.loading;
  for (let last = error; isTemporary(last) && state.failure; ) {
    await new Promise((resolve) => setTimeout(resolve, retryMs));
    retryMs = Math.min(2 * retryMs, MAX_RETRY_MS);
    if (signal.aborted) return;
    try {
      await newestID(signal);
      state.failure = "";
      retry();
      return;
    } catch (error) {
      last = error;
    }
  }
}

/**
 * Returns a page of entries. Throws if the signal is aborted, even after the
 * response.
 * @param {AbortSignal} signal
 * @param {Record<string, string | number>} more parameters besides the filters
 */
async function getPage(signal, more) {
  const params = filterParams(state.query);
  for (const [name, value] of Object.entries({ limit: PAGE_SIZE, ...more })) {
    params.set(name, String(value));
  }
  const page = await getEntries(params, signal);
  signal.throwIfAborted();
  return page;
}

/**
 * Returns the id of the newest entry, regardless of the filters, or 0.
 * @param {AbortSignal} signal
 */
async function newestID(signal) {
  const [newest] = await getEntries(new URLSearchParams({ limit: "1" }), signal);
  signal.throwIfAborted();
  return newest ? newest.id : 0;
}

/**
 * @param {Entry[]} entries
 * @param {number} id
 */
function includesID(entries, id) {
  return entries.some((entry) => entry.id === id);
}
