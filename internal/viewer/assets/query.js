// The query: which entries the page shows, and how. It is stored in the page's
// address, so that a link or a bookmark shows the same entries.

import { isLevel } from "./levels.js";

const FIELD_PREFIX = "details.";
const NOT_FIELD_PREFIX = "not.details.";
const WORD = /(-?)(?:([\w.@/-]+)=)?(?:"([^"]*)"?|([^\s"]+))/g;

/**
 * The query without filters.
 * @satisfies {Partial<Query>}
 */
export const NO_FILTERS = {
  q: "",
  words: "",
  kind: "",
  levels: [],
  notLevels: [],
  since: "",
  until: "",
  fields: [],
  notFields: [],
  open: 0,
};

/**
 * @param {string} search the address from the question mark on
 * @returns {Query}
 */
export function parseQuery(search) {
  const params = new URLSearchParams(search);
  const text = (/** @type {string} */ name) => params.get(name) ?? "";
  return {
    q: text("q"),
    words: text("words"),
    kind: text("kind"),
    levels: params.getAll("level"),
    notLevels: params.getAll("not.level"),
    since: text("since"),
    until: text("until"),
    fields: parseFields(params, FIELD_PREFIX),
    notFields: parseFields(params, NOT_FIELD_PREFIX),
    asc: text("order") === "asc",
    showsKinds: text("view") === "kinds",
    showsFields: text("fields") === "1",
    cols: params.getAll("cols"),
    wrap: text("wrap") === "1",
    utc: text("zone") === "utc",
    paused: text("live") === "0",
    open: Number(text("open")) || 0,
    noKeys: text("keys") === "0",
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
    if (query[name]) params.set(name, query[name]);
  }
  for (const level of query.levels) params.append("level", level);
  for (const level of query.notLevels) params.append("not.level", level);
  for (const [name, value] of query.fields) params.append(FIELD_PREFIX + name, value);
  for (const [name, value] of query.notFields) params.append(NOT_FIELD_PREFIX + name, value);
  return params;
}

/**
 * Returns the page's address for a query, without the origin.
 * @param {Query} query
 */
export function addressOf(query) {
  const params = filterParams(query);
  if (query.asc) params.set("order", "asc");
  if (query.showsKinds) params.set("view", "kinds");
  if (query.showsFields) params.set("fields", "1");
  for (const name of query.cols) params.append("cols", name);
  if (query.wrap) params.set("wrap", "1");
  if (query.utc) params.set("zone", "utc");
  if (query.paused) params.set("live", "0");
  if (query.open) params.set("open", String(query.open));
  if (query.noKeys) params.set("keys", "0");
  return location.pathname + (params.size ? `?${params}` : "");
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

// ---- Fields ----

/**
 * Returns the parts of a query that selects a value, or excludes it. The value of
 * a level is its stored name.
 * @param {Query} query
 * @param {string} name
 * @param {string} value
 * @param {boolean} isExcluded
 * @returns {Partial<Query>}
 */
export function withField(query, name, value, isExcluded) {
  const { fields, notFields, levels, notLevels } = withoutField(query, name, value);
  if (name === "level") {
    return isExcluded ? { levels, notLevels: [...notLevels, value] } : { levels: [value], notLevels };
  }
  if (isExcluded) return { fields, notFields: [...notFields, [name, value]] };
  return { fields: [...fields.filter((field) => field[0] !== name), [name, value]], notFields };
}

/**
 * @param {Query} query
 * @param {string} name
 * @param {string} value
 */
export function withoutField(query, name, value) {
  const others = (/** @type {Field[]} */ fields) =>
    fields.filter((field) => field[0] !== name || field[1] !== value);
  const { levels, notLevels } = query;
  return {
    fields: others(query.fields),
    notFields: others(query.notFields),
    levels: name === "level" ? levels.filter((level) => level !== value) : levels,
    notLevels: name === "level" ? notLevels.filter((level) => level !== value) : notLevels,
  };
}

/**
 * Returns the filters of a query, except those that have buttons of their own: the
 * levels, the search box and the time range.
 * @param {Query} query
 * @returns {Filter[]}
 */
export function filtersOf(query) {
  /** @type {Filter[]} */
  const filters = [];
  const add = (/** @type {string} */ name, /** @type {string} */ value, /** @type {boolean} */ isExcluded) =>
    filters.push({
      text: `${name} ${isExcluded ? "≠" : "="} ${value}`,
      without: withoutField(query, name, value),
      inverted: withField(query, name, value, !isExcluded),
    });
  if (query.q) filters.push({ text: `text = ${query.q}`, without: { q: "" } });
  if (query.kind) filters.push({ text: `kind = ${query.kind}`, without: { kind: "" } });
  for (const level of query.levels) if (!isLevel(level)) add("level", level, false);
  for (const level of query.notLevels) add("level", level, true);
  for (const [name, value] of query.fields) add(name, value, false);
  for (const [name, value] of query.notFields) add(name, value, true);
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
    if (name) fields.push({ name, value, isExcluded: minus === "-" });
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
  const escaped = terms.map((term) => term.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&"));
  return new RegExp(escaped.join("|"), "giu");
}
