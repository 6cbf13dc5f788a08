// Loads the entries of the query.

import { loadChart } from "./chart.js";
import { showBusy, showControls, showStatus } from "./controls.js";
import { addPending, clearList, layout, reveal } from "./list.js";
import { hideNotice } from "./notice.js";
import { filterParams } from "./query.js";
import { errorText, getEntries } from "./server.js";
import { canBeLive, resetList, state } from "./state.js";
import { startTail, stopTail } from "./tail.js";

/** @import { Entry } from "./state.js" */

const PAGE_SIZE = 300;

/** Loads the newest entries of the query and starts the tail. */
export async function load() {
  resetList();
  clearList();
  hideNotice();
  showBusy(true);
  showControls();
  const { signal } = state.loading;
  loadChart(signal);
  try {
    await loadFirstPage(signal);
  } catch (error) {
    if (signal.aborted) return;
    state.failure = errorText(error);
    if (state.tailFrom < 0) state.tail = "off";
  }
  showBusy(false);
  layout();
  if (state.selected) reveal(state.selected);
  showControls();
}

/** @param {AbortSignal} signal */
async function loadFirstPage(signal) {
  // The tail starts after the entry that is the newest now. It therefore misses
  // no entry, no matter how long it takes to connect.
  if (!state.query.until) state.tailFrom = await newestID(signal);
  if (canBeLive() && !state.query.paused) startTail();
  const { open } = state.query;
  let page = await getPage(signal);
  if (open && !includesID(page, open)) {
    const older = await getPage(signal, open + 1);
    if (older[0]?.id === open) {
      page = older;
      anchorList();
    }
  }
  setEntries(page);
  if (includesID(page, open)) {
    state.opened.add(open);
    state.selected = open;
  }
  addPending();
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
  state.skipped = 0;
}

/** Loads the page of entries after the last one. */
export async function loadMore() {
  const last = state.entries.at(-1);
  if (!last || state.atEnd || state.isLoadingMore || state.failure) return;
  const { signal } = state.loading;
  state.isLoadingMore = true;
  showBusy(true);
  try {
    const page = await getPage(signal, last.id);
    setEntries(page, state.entries);
  } catch (error) {
    if (signal.aborted) return;
    state.failure = errorText(error);
  }
  state.isLoadingMore = false;
  showBusy(false);
  layout();
  showStatus();
}

/**
 * @param {Entry[]} page the entries that were loaded last
 * @param {Entry[]} above the entries that were loaded before
 */
function setEntries(page, above = []) {
  state.entries = above.concat(page);
  state.atEnd = page.length < PAGE_SIZE;
}

/**
 * Returns a page of entries with ids below before, or the newest ones. Throws
 * if the signal is aborted, even after the response.
 * @param {AbortSignal} signal
 * @param {number} [before]
 */
async function getPage(signal, before) {
  const params = filterParams(state.query);
  params.set("limit", String(PAGE_SIZE));
  if (before !== undefined) params.set("before", String(before));
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
