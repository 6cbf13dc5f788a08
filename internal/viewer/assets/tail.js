// The live tail: new entries as server-sent events. EventSource cannot send an
// API key, so this module reads the stream with fetch.

import { countEntry, reloadChartSoon } from "./chart.js";
import { showLive } from "./controls.js";
import { addSoon } from "./list.js";
import { filterParams } from "./query.js";
import { ServerError, get, lineChunks, parseEntry } from "./server.js";
import { canBeLive, reload, state } from "./state.js";

const MIN_RETRY_MS = 500;
const MAX_RETRY_MS = 10_000;
const LOST_AFTER_MS = 2000; // shorter interruptions are not shown
const SILENCE_MS = 40_000; // the server sends something every 15 seconds
const HIDDEN_MS = 5000; // until a hidden page ends its tail
const MAX_PENDING = 5000; // entries that wait to be added to the list

/**
 * A server-sent event. Every field is optional.
 * @typedef {object} TailEvent
 * @property {number} [id]
 * @property {string} [name]
 * @property {string} [data]
 */

/** Starts the tail after state.tailFrom. It ends at the next load or pause. */
export function startTail() {
  state.tailing = new AbortController();
  const signal = AbortSignal.any([state.loading.signal, state.tailing.signal]);
  new Tail(signal).run();
  endIfHidden();
}

/** Ends the tail. */
export function stopTail() {
  state.tailing.abort();
}

// A browser opens only six connections to a server for all its tabs, if it uses HTTP/1.1.
// Hidden tabs must not hold them, nor pages that were left and are kept for the back button.
let hideTimer = 0;
addEventListener("pagehide", stopTail);
addEventListener("visibilitychange", () => {
  endIfHidden();
  if (!document.hidden && state.tailing.signal.aborted) resumeTail();
});

/** Ends the tail after a while, if the page is hidden. */
function endIfHidden() {
  clearTimeout(hideTimer);
  if (document.hidden) hideTimer = setTimeout(stopTail, HIDDEN_MS);
}

/** Starts the tail where the last one ended, unless new entries are not shown. */
export function resumeTail() {
  // While tailFrom is not known, the list is being loaded, and load starts the tail.
  if (canBeLive() && !state.query.paused && state.tailFrom >= 0) startTail();
}

class Tail {
  /** @param {AbortSignal} signal */
  constructor(signal) {
    this.signal = signal;
    this.retry = MIN_RETRY_MS;
    this.lostTimer = 0;
  }

  /** Keeps the tail connected. */
  async run() {
    this.showLost();
    while (!this.signal.aborted) {
      try {
        await this.receive();
      } catch (error) {
        if (!this.signal.aborted && isPermanent(error)) {
          this.show("off");
          return;
        }
      }
      if (this.signal.aborted) return;
      this.showLost();
      await delay(this.retry);
      this.retry = Math.min(this.retry * 2, MAX_RETRY_MS);
    }
  }

  /** Receives events until the connection ends. */
  async receive() {
    const silence = new AbortController();
    const watch = () => setTimeout(() => silence.abort(), SILENCE_MS);
    let timer = watch();
    try {
      const headers = { Accept: "text/event-stream", "Last-Event-ID": String(state.tailFrom) };
      const signal = AbortSignal.any([this.signal, silence.signal]);
      const response = await get(`logs/tail?${filterParams(state.query)}`, signal, headers);
      const parser = new EventParser();
      for await (const lines of lineChunks(response)) {
        clearTimeout(timer);
        timer = watch();
        for (const event of parser.parse(lines)) this.handle(event);
        if (this.signal.aborted) return;
        addSoon();
      }
    } finally {
      clearTimeout(timer);
    }
  }

  /** @param {TailEvent} event */
  handle(event) {
    if (this.signal.aborted) return;
    if (isOfAnotherDatabase(event)) {
      reload();
      return;
    }
    state.tailHeard = true;
    applyEvent(event);
    this.retry = MIN_RETRY_MS;
    this.show("on");
  }

  /** @param {TailStatus} status */
  show(status) {
    clearTimeout(this.lostTimer);
    this.lostTimer = 0;
    if (state.tail === status) return;
    state.tail = status;
    showLive();
  }

  /** Shows that the tail is not connected, after a delay if it was connected. */
  showLost() {
    if (state.tail !== "on") {
      this.show("connecting");
      return;
    }
    this.lostTimer ||= setTimeout(() => {
      if (!this.signal.aborted) this.show("connecting");
    }, LOST_AFTER_MS);
  }
}

/** Collects the lines of a stream into events. */
class EventParser {
  constructor() {
    /** @type {TailEvent} */
    this.event = {};
  }

  /**
   * Yields the events that these lines complete.
   * @param {string[]} lines
   * @returns {Generator<TailEvent>}
   */
  *parse(lines) {
    for (const line of lines) {
      if (line.startsWith("id: ")) this.event.id = Number(line.slice(4));
      else if (line.startsWith("event: ")) this.event.name = line.slice(7);
      else if (line.startsWith("data: ")) this.event.data = line.slice(6);
      if (line !== "") continue;
      yield this.event;
      this.event = {};
    }
  }
}

/**
 * Reports whether the server has replaced its database. Ids only increase, so an
 * event with a lower id is from another database, which has none of the entries
 * in the list. This ignores the first event after a load: behind a load balancer
 * the list and the tail may come from different servers, and reloading would
 * never end.
 * @param {TailEvent} event
 */
function isOfAnotherDatabase(event) {
  return state.tailHeard && event.id !== undefined && event.id < state.tailFrom;
}

/**
 * Applies a complete event. Only then may the tail resume after its id: the
 * connection can break between an id and its data.
 * @param {TailEvent} event
 */
function applyEvent({ id, name, data }) {
  if (id !== undefined) state.tailFrom = id;
  if (!data) return;
  if (name === "skipped") {
    const { after, before } = JSON.parse(data);
    state.pending.push(gapEntry(after, before));
    state.tailFrom = before - 1;
    reloadChartSoon();
    return;
  }
  const entry = parseEntry(data);
  countEntry(entry);
  if (entry.id <= state.newest) return;
  state.pending.push(entry);
  if (state.pending.length > MAX_PENDING) dropOldestPending();
}

/** Replaces the older half of the pending entries by a gap. */
function dropOldestPending() {
  const { pending } = state;
  const [first] = pending;
  const dropped = pending.splice(0, MAX_PENDING / 2);
  const after = first.gap ? first.gap.after : first.id - 1;
  pending.unshift(gapEntry(after, dropped[dropped.length - 1].id + 1));
}

/**
 * Returns the row for a gap.
 * @param {number} after
 * @param {number} before
 * @returns {Entry}
 */
export function gapEntry(after, before) {
  return {
    id: before - 0.5,
    levelName: "",
    level: "unknown",
    message: "",
    timestamp: "",
    time: NaN,
    details: "null",
    isNew: false,
    gap: { after, before },
  };
}

/**
 * Reports whether a retry would fail the same way.
 * @param {unknown} error
 */
function isPermanent(error) {
  return error instanceof ServerError && !error.isTransient;
}

/** @param {number} ms */
function delay(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
