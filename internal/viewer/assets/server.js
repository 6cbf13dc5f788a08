// Sends requests to the server. All addresses are relative, so that the page works
// behind a proxy that serves it under a path.

import { askForKey, apiKey } from "./key.js";
import { levelOf } from "./levels.js";
import { parseTime } from "./time.js";

const DETAILS_KEY = ',"details":';
const LONG_RETRY = 10; // seconds

/** An error response. */
export class ServerError extends Error {
  /**
   * @param {number} status
   * @param {string} message
   * @param {number} retryAfter in seconds
   */
  constructor(status, message, retryAfter) {
    super(message);
    this.status = status;
    this.isTransient = status >= 500 || status === 429;
    this.retryAfter = retryAfter;
  }
}

/**
 * Reports whether the same request may succeed after a while. A search that took
 * too long, after which the server asks for a longer pause, would do so again.
 * @param {unknown} error
 */
export function isTemporary(error) {
  return !(error instanceof ServerError) || (error.isTransient && error.retryAfter < LONG_RETRY);
}

/**
 * Sends a GET request. Throws a ServerError if the response is not a success,
 * and asks for the API key if that is the reason.
 * @param {string} path
 * @param {AbortSignal} signal
 * @param {Record<string, string>} [headers]
 */
export async function get(path, signal, headers = {}) {
  const key = apiKey();
  if (key) headers.Authorization = `Bearer ${key}`;
  const response = await fetch(path, { signal, headers, cache: "no-store" });
  if (response.ok) return response;
  const message = await errorMessage(response);
  // A late response may be about a key that has been replaced since.
  if (response.status === 401 && key === apiKey() && !signal.aborted) askForKey();
  throw new ServerError(response.status, message, Number(response.headers.get("Retry-After")));
}

/** @param {Response} response */
async function errorMessage(response) {
  const fallback = `The server returned status ${response.status}.`;
  try {
    return (await response.json()).error || fallback;
  } catch {
    return fallback; // a proxy's response, for example
  }
}

/**
 * Returns the text that the page shows for an error of get.
 * @param {unknown} error
 */
export function errorText(error) {
  if (!(error instanceof ServerError)) return "Cannot reach the server.";
  return error.message.charAt(0).toUpperCase() + error.message.slice(1);
}

/**
 * @param {URLSearchParams} params of /logs
 * @param {AbortSignal} signal
 * @returns {Promise<Entry[]>} the highest id first
 */
export async function getEntries(params, signal) {
  const response = await get(`logs?${params}`, signal, { Accept: "application/x-ndjson" });
  const entries = [];
  for await (const lines of lineChunks(response)) {
    for (const line of lines) entries.push(parseEntry(line));
  }
  return entries;
}

/**
 * @param {string} path
 * @param {AbortSignal} signal
 * @returns {Promise<any>}
 */
export async function getJSON(path, signal) {
  const value = await (await get(path, signal)).json();
  signal.throwIfAborted();
  return value;
}

/**
 * Yields the complete lines of a streamed response, as they arrive.
 * @param {Response} response
 * @returns {AsyncGenerator<string[]>}
 */
export async function* lineChunks(response) {
  if (!response.body) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop() ?? "";
    yield lines;
  }
}

/**
 * Parses an entry as the server writes it. Details are kept as text, because
 * JSON.parse would round large numbers. DETAILS_KEY occurs once in a line: in a
 * JSON string its quotes would be escaped.
 * @param {string} line
 * @returns {Entry}
 */
export function parseEntry(line) {
  const at = line.indexOf(DETAILS_KEY);
  const columns = JSON.parse(line.slice(0, at) + "}");
  return {
    id: columns.id,
    levelName: columns.level,
    level: levelOf(columns.level),
    message: columns.message,
    timestamp: columns.timestamp,
    time: parseTime(columns.timestamp),
    details: line.slice(at + DETAILS_KEY.length, -1),
    isNew: false,
  };
}
