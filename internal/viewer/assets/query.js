// The query: which entries the page shows, and how. It is stored in the page's
// address, so that a link or a bookmark shows the same entries.

import { isLevel } from "./levels.js";

export const FIELD_PREFIX = "details.";
const NOT = "not.";
const WORD = /(-?)(?:([\w.@/-]+)=)?(?:"([^"]*)"?|([^\s"]+))/g;

/** The parts of the query that are on or off, each with the parameter and value that turn it on. */
const FLAGS = /** @type {const} */ ([
  ["asc", "order", "asc"],
  ["showsKinds", "view", "kinds"],
  ["showsFields", "fields", "1"],
  ["wrap", "wrap", "1"],
  ["utc", "zone", "utc"],
  ["paused", "live", "0"],
  ["noKeys", "keys", "0"],
]);

/**
 * The query without filters.
 * @satisfies {Partial<Query>}
 */
export const NO_FILTERS = {
  q: "",
  words: "",
  kind: null,
  levels: [],
  notLevels: [],
  since: "",
  until: "",
  fields: [],
  notFields: [],
  open: 0,
};

/**
 * @param {string | URLSearchParams} search the address from the question mark on
 * @returns {Query}
 */
export function parseQuery(search) {
  const params = new URLSearchParams(search);
  const text = (/** @type {string} */ name) => params.get(name) ?? "";
  return {
    q: text("q"),
    words: text("words"),
    kind: params.get("kind"),
    levels: params.getAll("level"),
    notLevels: params.getAll("not.level"),
    since: text("since"),
    until: text("until"),
    fields: parseFields(params, FIELD_PREFIX),
    notFields: parseFields(params, NOT + FIELD_PREFIX),
    cols: params.getAll("cols"),
    open: Number(text("open")) || 0,
    .../** @type {Record<typeof FLAGS[number][0], boolean>} */ (
      Object.fromEntries(FLAGS.map(([flag, name, value]) => [flag, text(name) === value]))
    ),
  };
}

/**
 * @param {URLSearchParams} params
 * @param {string} prefix
 * @returns {Field[]}
 */
function parseFields(params, prefix) {
  /** @type {Field[]} */
  const fields = [];
  for (const [name, value] of params) {
    if (name.startsWith(prefix) && name.length > prefix.length) {
      fields.push([name.slice(prefix.length), value]);
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
  for (const name of /** @type {const} */ (["q", "words", "kind", "since", "until"])) {
    const value = query[name];
    if (value || (name === "kind" && value !== null)) params.set(name, value ?? "");
  }
  for (const level of query.levels) params.append("level", level);
  for (const level of query.notLevels) params.append("not.level", level);
  for (const [name, value] of query.fields) params.append(FIELD_PREFIX + name, value);
  for (const [name, value] of query.notFields) params.append(NOT + FIELD_PREFIX + name, value);
  return params;
}

/**
 * Returns the page's address for a query, without the origin.
 * @param {Query} query
 */
export function addressOf(query) {
  const params = paramsOf(query);
  return location.pathname + (params.size ? `?${params}` : "");
}

/** @param {Query} query */
function paramsOf(query) {
  const params = filterParams(query);
  for (const name of query.cols) params.append("cols", name);
  if (query.open) params.set("open", String(query.open));
  for (const [flag, name, value] of FLAGS) if (query[flag]) params.set(name, value);
  return params;
}

/** @param {Query} query */
export function isFiltered(query) {
  return filterParams(query).size > 0;
}

/**
 * Reports whether the query selects by level only with levels, and not with
 * other stored names. Counts by level then cover its entries exactly.
 * @param {Query} query
 */
export function hasOnlyLevels(query) {
  return query.levels.every(isLevel);
}

// ---- Filters ----

/**
 * Returns a query that selects a value, or excludes it. The value of a level is its
 * stored name.
 * @param {Query} query
 * @param {string} key "level", or the name of a field after FIELD_PREFIX
 * @param {string} value
 * @param {boolean} isExcluded
 */
export function withField(query, key, value, isExcluded) {
  const params = paramsOf(query);
  params.delete(NOT + key, value);
  if (isExcluded) {
    params.delete(key, value);
    params.append(NOT + key, value);
  } else {
    params.set(key, value);
  }
  return parseQuery(params);
}

/**
 * Returns a query without some of its parameters.
 * @param {Query} query
 * @param {Param[]} removed
 */
export function without(query, removed) {
  const params = paramsOf(query);
  for (const [name, value] of removed) params.delete(name, value);
  return parseQuery(params);
}

/**
 * Returns the filters of a query, except those that have controls of their own: the
 * levels, the search box and the time range.
 * @param {Query} query
 * @returns {Filter[]}
 */
export function filtersOf(query) {
  /** @type {Filter[]} */
  const filters = [];
  for (const [key, value] of filterParams(query)) {
    const [, not, field, prefix, name] = /^(not\.)?((details\.)?(.*))/s.exec(key) ?? [];
    const isField = Boolean(prefix) || name === "level";
    if (!isField && name !== "q" && name !== "kind") continue;
    if (key === "level" && isLevel(value)) continue;
    filters.push({
      text: `${name === "q" ? "text" : name} ${not ? "≠" : "="} ${value || "(empty)"}`,
      params: [[key, value]],
      invert: isField ? (query) => withField(query, field, value, !not) : undefined,
    });
  }
  return filters;
}

// ---- Search box ----

/**
 * Splits the text of the search box into words, as the server understands them,
 * and the fields that it names as name=value.
 * @param {string} text
 */
export function parseSearch(text) {
  const words = [];
  const fields = [];
  for (const [, minus, name, phrase, word] of text.matchAll(WORD)) {
    const value = phrase ?? word;
    if (!value || value === "-") continue; // being typed
    const key = name === "level" ? name : FIELD_PREFIX + name;
    if (name) fields.push({ key, value, isExcluded: minus === "-" });
    else words.push(minus + (phrase === undefined ? word : `"${phrase}"`));
  }
  return { words: words.join(" "), fields };
}

/**
 * Returns a pattern of the texts that the query searches for, null if there are
 * none.
 * @param {Query} query
 */
export function searchPattern({ q, words }) {
  const terms = q ? [q] : [];
  for (const [, minus, , phrase, word] of words.matchAll(WORD)) {
    const term = phrase ?? word;
    if (!minus && term) terms.push(term);
  }
  if (!terms.length) return null;
  const escaped = terms.map((term) => term.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&"));
  return new RegExp(escaped.join("|"), "giu");
}
