// The state of the page. Everything that can change and that more than one
// module needs is here. types.d.ts describes it.

import { highlighted } from "./dom.js";
import { addressOf, parseQuery, searchPattern } from "./query.js";

/** Returns the part of the state that a load starts from. */
function emptyList() {
  return {
    isBusy: true,
    isLoadingMore: false,
    failure: "",
    entries: [],
    atEnd: false,
    anchored: false,
    sorted: false,
    missing: 0,
    following: true,
    kinds: 0,
    selected: 0,
    opened: new Set(),
    tailHeard: false,
    tailFrom: -1,
    newest: 0,
    pending: [],
  };
}

/** @type {State} */
export const state = {
  query: parseQuery(location.search),
  loading: new AbortController(),
  chart: null,
  tailing: new AbortController(),
  tail: "off",
  ...emptyList(),
};

/**
 * Aborts the requests of the last load and empties the list. The chart stays
 * until the new one is loaded, and the tail's state for a moment, so that a quick
 * load changes neither on the screen.
 */
export function resetList() {
  state.loading.abort();
  state.loading = new AbortController();
  Object.assign(state, emptyList());
}

const RELOAD = "reload";

/** Asks for the entries of the query to be loaded again. */
export function reload() {
  dispatchEvent(new Event(RELOAD));
}

/** @param {() => void} listener */
export function onReload(listener) {
  addEventListener(RELOAD, listener);
}

/**
 * Changes the query and loads its entries. The browser's back button undoes it.
 * @param {Partial<Query>} parts
 */
export function changeQuery(parts) {
  Object.assign(state.query, parts);
  history.pushState(null, "", addressOf(state.query));
  reload();
}

/**
 * Changes the query without loading, and without a step in the browser's
 * history.
 * @param {Partial<Query>} parts
 */
export function replaceQuery(parts) {
  Object.assign(state.query, parts);
  history.replaceState(null, "", addressOf(state.query));
}

const VIEW = "view";

/**
 * Changes how the entries are shown, without loading them.
 * @param {Partial<Query>} parts
 */
export function changeView(parts) {
  replaceQuery(parts);
  dispatchEvent(new Event(VIEW));
}

/** @param {() => void} listener */
export function onView(listener) {
  addEventListener(VIEW, listener);
}

/**
 * Reports whether new entries belong at the top of the list: not if the time
 * range ends, if the list starts further down, or at the oldest entry.
 */
export function canBeLive() {
  const { until, asc, showsKinds } = state.query;
  return !until && !asc && !showsKinds && !state.anchored;
}

/**
 * Returns text split into nodes, with what the query searches for in mark
 * elements.
 * @param {string} text
 */
export function marked(text) {
  return highlighted(text, searchPattern(state.query));
}
