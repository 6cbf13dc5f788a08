// The query: which entries the page shows, and how. It is stored in the page's
// address, so that a link or a bookmark shows the same entries.

import { isLevel } from "./levels.js";

const FIELD_PREFIX = "details.";

/**
 * The query without filters.
 * @satisfies {Partial<Query>}
 */
export const NO_FILTERS = { q: "", levels: [], since: "", until: "", fields: [], open: 0 };

/**
 * @param {string} search the address from the question mark on
 * @returns {Query}
 */
export function parseQuery(search) {
  const params = new URLSearchParams(search);
  return {
    q: params.get("q") ?? "",
    levels: params.getAll("level"),
    since: params.get("since") ?? "",
    until: params.get("until") ?? "",
    fields: parseFields(params),
    utc: params.get("zone") === "utc",
    paused: params.get("live") === "0",
    open: Number(params.get("open")) || 0,
    noKeys: params.get("keys") === "0",
  };
}

/**
 * @param {URLSearchParams} params
 * @returns {[name: string, value: string][]}
 */
function parseFields(params) {
  /** @type {[name: string, value: string][]} */
  const fields = [];
  for (const [name, value] of params) {
    if (name.startsWith(FIELD_PREFIX) && name.length > FIELD_PREFIX.length) {
      fields.push([name.slice(FIELD_PREFIX.length), value]);
    }
  }
  return fields;
}

/**
 * Returns the parameters of /logs and its subroutes that select the entries.
 * @param {Query} query
 */
export function filterParams(query) {
  const params = new URLSearchParams();
  if (query.q) params.set("q", query.q);
  for (const level of query.levels) params.append("level", level);
  if (query.since) params.set("since", query.since);
  if (query.until) params.set("until", query.until);
  for (const [name, value] of query.fields) params.append(FIELD_PREFIX + name, value);
  return params;
}

/**
 * Returns the page's address for a query, without the origin.
 * @param {Query} query
 */
export function addressOf(query) {
  const params = filterParams(query);
  if (query.utc) params.set("zone", "utc");
  if (query.paused) params.set("live", "0");
  if (query.open) params.set("open", String(query.open));
  if (query.noKeys) params.set("keys", "0");
  return location.pathname + (params.size ? `?${params}` : "");
}

/** @param {Query} query */
export function isFiltered(query) {
  const { q, levels, fields, since, until } = query;
  return Boolean(q || levels.length || fields.length || since || until);
}

/**
 * Reports whether the query selects by level only with levels, and not with
 * other stored names. Counts by level then cover its entries exactly.
 * @param {Query} query
 */
export function hasOnlyLevels(query) {
  return query.levels.every(isLevel);
}
