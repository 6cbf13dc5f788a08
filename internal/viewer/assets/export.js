// Takes the results elsewhere: a curl command, and a file.

import { element } from "./dom.js";
import { apiKey } from "./key.js";
import { filterParams } from "./query.js";
import { get, lineChunks } from "./server.js";
import { state } from "./state.js";

const PAGE = 10_000; // entries, the largest that the server allows
const MAX_PAGES = 10;

/**
 * Returns a command for a shell.
 * @param {string} path
 * @param {string[]} options of curl
 */
export function curlCommand(path, options) {
  const quoted = (/** @type {string} */ text) => `'${text.replaceAll("'", "'\\''")}'`;
  const key = apiKey() ? ["-H", quoted("Authorization: Bearer YOUR-KEY")] : [];
  const base = location.origin + location.pathname;
  return ["curl", ...key, quoted(base + path), ...options.map((o) => (o[0] === "-" ? o : quoted(o)))].join(" ");
}

/** Returns a command that gets the entries of the query. */
export function resultsCommand() {
  return curlCommand(`logs?${filterParams(state.query)}`, []);
}

/**
 * Saves the entries of the query as NDJSON. Returns whether there may be more than the
 * newest MAX_PAGES * PAGE, which it saves.
 */
export async function download() {
  const { signal } = new AbortController(); // a change of the query does not end it
  const params = filterParams(state.query);
  params.set("limit", String(PAGE));
  const lines = [];
  let isLimited = true;
  let before = Number.MAX_SAFE_INTEGER;
  for (let pages = 0; pages < MAX_PAGES; pages++) {
    params.set("before", String(before));
    const response = await get(`logs?${params}`, signal, { Accept: "application/x-ndjson" });
    const from = lines.length;
    for await (const chunk of lineChunks(response)) for (const line of chunk) lines.push(`${line}\n`);
    isLimited = lines.length - from === PAGE;
    if (!isLimited) break;
    before = JSON.parse(lines[lines.length - 1]).id;
  }
  const url = URL.createObjectURL(new Blob(lines, { type: "application/x-ndjson" }));
  const link = element("a", "");
  link.href = url;
  link.download = "logs.ndjson";
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
  return isLimited;
}
