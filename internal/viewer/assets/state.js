// The state of the page. Everything that can change and that more than one
// module needs is here.

import { addressOf, parseQuery } from "./query.js";

/** @import { Level } from "./levels.js" */
/** @import { Query } from "./query.js" */

/**
 * A log entry.
 * @typedef {object} Entry
 * @property {number} id
 * @property {string} levelName the level as stored
 * @property {Level} level
 * @property {string} message
 * @property {string} timestamp as stored
 * @property {string} details as stored: JSON text, "null" if there are none
 * @property {boolean} isNew whether the tail delivered it and it was not shown yet
 */

/**
 * The number of entries of each level.
 * @typedef {Partial<Record<Level, number>>} Counts
 */

/**
 * The histogram: counts of entries over time.
 * @typedef {object} Chart
 * @property {number} step the width of a bucket in ms
 * @property {number} first the start of the first bucket, NaN if there is none
 * @property {number} end the end of the last bucket
 * @property {Counts} levels counts of all entries, also of those without a time
 * @property {Map<number, Counts>} buckets by their start
 */

/**
 * The state of the live tail. It is "off" if a retry would not help, or if no
 * tail was started.
 * @typedef {"on" | "connecting" | "off"} TailStatus
 */

/**
 * @typedef {object} State
 * @property {Query} query
 * @property {AbortController} loading aborted by the next load, ends all its requests
 * @property {boolean} isBusy whether entries are being loaded
 * @property {boolean} isLoadingMore whether older entries are being loaded
 * @property {string} failure why loading failed, or ""
 * @property {Entry[]} entries the loaded entries, the highest id first
 * @property {boolean} atEnd whether entries includes the oldest one
 * @property {boolean} anchored whether entries starts at query.open and not at the newest
 * @property {number} selected the id of the entry that the keyboard acts on, or 0
 * @property {Set<number>} opened the ids of opened entries
 * @property {Chart | null} chart
 * @property {AbortController} tailing ends the live tail when aborted
 * @property {TailStatus} tail
 * @property {boolean} tailHeard whether a tail has sent anything since the last load
 * @property {number} tailFrom the tail resumes after this id; -1 until it is known
 * @property {Entry[]} pending entries that the tail delivered, not yet in entries
 * @property {number} newest the highest id that the tail added to entries
 * @property {number} skipped how many entries the tail skipped
 * @property {number} unseen how many new entries are above the visible part of the list
 */

/** Returns the part of the state that a load starts from. */
function emptyList() {
  return {
    isBusy: true,
    isLoadingMore: false,
    failure: "",
    entries: [],
    atEnd: false,
    anchored: false,
    selected: 0,
    opened: new Set(),
    tailHeard: false,
    tailFrom: -1,
    pending: [],
    newest: 0,
    skipped: 0,
    unseen: 0,
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
 * until the new one is requested, and the tail's state for a moment, so that a
 * quick load changes neither on the screen.
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

/**
 * Reports whether new entries belong at the top of the list: not if the time
 * range ends, and not if the list starts further down.
 */
export function canBeLive() {
  return !state.query.until && !state.anchored;
}
