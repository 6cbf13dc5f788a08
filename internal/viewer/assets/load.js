// Loads the entries of the query.

import { loadChart } from "./chart.js";
import { announceList, showBusy, showControls, showStatus } from "./controls.js";
import { MAX_ENTRIES, addPending, clearList, keepPlace, layout, reveal, sortEntries } from "./list.js";
import { loadFields } from "./fields.js";
import { hideKinds, loadKinds } from "./kinds.js";
import { hideNotice } from "./notice.js";
import { filterParams } from "./query.js";
import { errorText, getEntries, isTemporary } from "./server.js";
import { canBeLive, reload, resetList, state } from "./state.js";
import { startTail, stopTail } from "./tail.js";

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
      state.kinds = await loadKinds(signal);
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
  if (open && !asc && !includesID(page, open)) {
    const around = await getPage(signal, { around: open, limit: 2 * AROUND + 1 });
    if (includesID(around, open)) {
      page = around;
      state.atEnd = page.filter((entry) => entry.id < open).length < AROUND;
      anchorList();
    }
  }
  state.entries = page;
  state.sorted = state.atEnd && !state.anchored;
  state.newest = Math.max(0, ...page.map((entry) => entry.id));
  sortEntries();
  state.pending = state.pending.filter((entry) => entry.id > state.newest);
  if (includesID(page, open)) {
    state.opened.add(open);
    state.selected = open;
    state.following = false;
  }
  addPending(false);
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
      const newer = state.entries.filter((entry) => entry.gap || entry.id > (page[0]?.id ?? 0));
      state.entries = page.concat(newer);
      state.atEnd = page.length < MAX_ENTRIES;
      state.sorted = state.atEnd;
      sortEntries();
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
    const { asc } = state.query;
    const page = await getPage(signal, asc ? { after: last.id, order: "asc" } : { before: last.id });
    state.atEnd = page.length < PAGE_SIZE;
    return page;
  }, loadMore);
}

/** Loads the page of newer entries, if the list does not start at the newest. */
export async function loadNewer() {
  const [first] = state.entries;
  if (!first || !state.anchored) return;
  await loadInto(async (signal) => {
    const page = await getPage(signal, { after: first.id, order: "asc" });
    if (page.length < PAGE_SIZE) state.anchored = false;
    return page;
  }, loadNewer);
}

/**
 * Loads the entries of a gap, the newest first.
 * @param {Entry} entry
 */
export async function loadGap(entry) {
  const { gap } = entry;
  if (!gap) return;
  await loadInto(async (signal) => {
    const page = await getPage(signal, { after: gap.after, before: gap.before, limit: MAX_ENTRIES });
    const oldest = page.at(-1)?.id ?? 0;
    if (page.length === MAX_ENTRIES) gap.before = oldest;
    else state.entries = state.entries.filter((other) => other !== entry);
    return page;
  }, () => loadGap(entry));
}

/**
 * Adds entries to the list, unless entries are being added already.
 * @param {(signal: AbortSignal) => Promise<Entry[]>} getMore
 * @param {() => void} retry
 */
async function loadInto(getMore, retry) {
  if (state.isLoadingMore || state.failure) return;
  const { signal } = state.loading;
  state.isLoadingMore = true;
  showBusy(true);
  try {
    const page = await getMore(signal);
    keepPlace(() => {
      state.entries = state.entries.concat(page);
      sortEntries();
    });
    retryMs = MIN_RETRY_MS;
  } catch (error) {
    if (signal.aborted) return;
    fail(error, retry);
  }
  state.isLoadingMore = false;
  showBusy(false);
  layout();
  showStatus();
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
