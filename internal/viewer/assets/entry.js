// Makes the panel of an opened entry, with its message, level, times, details and
// actions.

import { button, copyButton, element, highlighted } from "./dom.js";
import { isContainer, parseJSON } from "./json.js";
import { NO_FILTERS, addressOf } from "./query.js";
import { changeQuery, state } from "./state.js";
import { ago, fullTime, isRelative, isoTime, parseTime } from "./time.js";

/** @import { Container, JSONNode, Scalar } from "./json.js" */
/** @import { Entry } from "./state.js" */

const MAX_TREE_DEPTH = 20;
const MAX_TITLE = 100;
const INDENT = "  ";
const AROUND_MS = 60_000;

/**
 * @param {Entry} entry
 * @returns {HTMLElement}
 */
export function entryPanel(entry) {
  const panel = element("div", "panel");
  if (entry.message) {
    panel.append(element("div", "message", ...highlighted(entry.message, state.query.q)));
  }
  panel.append(metaLine(entry));
  const fields = detailFields(entry.details);
  if (fields.childElementCount) panel.append(fields);
  panel.append(actions(entry));
  return panel;
}

/** @param {Entry} entry */
function metaLine(entry) {
  const level = button(`value lv-${entry.level}`, [entry.levelName || "(none)"], () =>
    changeQuery({ levels: [entry.levelName], open: 0 }),
  );
  level.title = "Show only this level";
  const meta = element("div", "meta", level);
  const ms = parseTime(entry.timestamp);
  if (!isNaN(ms)) meta.append(element("span", "", `${fullTime(ms, false)} (${ago(ms)})`));
  meta.append(element("span", "", entry.timestamp), element("span", "", `entry ${entry.id}`));
  return meta;
}

/** @param {Entry} entry */
function actions(entry) {
  const box = element(
    "div",
    "actions",
    copyButton("", "Copy message", () => entry.message),
    copyButton("", "Copy as JSON", () => entryJSON(entry)),
    copyButton("", "Copy link", () => entryLink(entry)),
  );
  const ms = parseTime(entry.timestamp);
  if (!isNaN(ms)) {
    box.append(button("", ["Show entries around this time"], () => showAround(ms, entry.id)));
  }
  return box;
}

/**
 * Shows all entries within a minute of a time.
 * @param {number} ms
 * @param {number} id the entry to open
 */
function showAround(ms, id) {
  const since = isoTime(ms - AROUND_MS);
  const until = isoTime(ms + AROUND_MS);
  changeQuery({ ...NO_FILTERS, since, until, open: id });
}

/**
 * Returns a link that opens the entry. A relative start is left out, because
 * the range would have moved on when the link is used.
 * @param {Entry} entry
 */
function entryLink(entry) {
  const { query } = state;
  const since = isRelative(query.since) ? "" : query.since;
  return location.origin + addressOf({ ...query, since, open: entry.id });
}

/**
 * Returns the entry as indented JSON. Numbers in details are kept as written.
 * @param {Entry} entry
 */
function entryJSON(entry) {
  const { id, levelName: level, message, timestamp } = entry;
  const columns = JSON.stringify({ id, level, message, timestamp }, null, INDENT);
  const withoutEnd = columns.slice(0, -"\n}".length);
  return `${withoutEnd},\n${INDENT}"details": ${indentedJSON(entry.details)}\n}`;
}

/**
 * Indents JSON text as the value of a top-level member. Text that is nested too
 * deep is returned unchanged.
 * @param {string} text
 */
function indentedJSON(text) {
  try {
    const node = parseJSON(text);
    return isContainer(node) ? (treeElement(node, "", 1).textContent ?? "") : text;
  } catch {
    return text;
  }
}

// ---- Details ----

/**
 * Returns the details as a list of fields.
 * @param {string} details JSON text
 */
function detailFields(details) {
  const list = element("dl", "facts");
  if (details === "null") return list;
  for (const [name, value] of fieldElements(details)) {
    list.append(element("dt", "", name), element("dd", "", value));
  }
  return list;
}

/**
 * @param {string} details JSON text
 * @returns {[name: string, value: Node | string][]}
 */
function fieldElements(details) {
  try {
    const node = parseJSON(details);
    if (node.type !== "object") return [["details", valueElement(node, "", 0)]];
    return node.members.map(({ name = "", node: value }) => [
      name || '""',
      valueElement(value, name, 0),
    ]);
  } catch {
    return [["details", details]]; // nested too deep
  }
}

/**
 * Returns an element that shows a JSON value. A click on a scalar that has a
 * path filters by it.
 * @param {JSONNode} node
 * @param {string} path names joined by dots; "" if no filter can name the value
 * @param {number} depth
 * @returns {HTMLElement}
 */
function valueElement(node, path, depth) {
  return isContainer(node) ? treeElement(node, path, depth) : scalarElement(node, path, depth);
}

/**
 * @param {Container} node
 * @param {string} path
 * @param {number} depth
 */
function treeElement(node, path, depth) {
  if (!node.members.length || depth > MAX_TREE_DEPTH) return element("span", "", node.text);
  const isObject = node.type === "object";
  const tree = element("span", "", isObject ? "{" : "[");
  let separator = "\n";
  for (const { name, node: value } of node.members) {
    tree.append(separator, INDENT.repeat(depth + 1));
    if (name !== undefined) {
      tree.append(element("span", "json-key", JSON.stringify(name)), ": ");
    }
    const hasPath = name !== undefined && path !== "";
    tree.append(valueElement(value, hasPath ? `${path}.${name}` : "", depth + 1));
    separator = ",\n";
  }
  tree.append("\n", INDENT.repeat(depth), isObject ? "}" : "]");
  return tree;
}

/**
 * @param {Scalar} node
 * @param {string} path
 * @param {number} depth 0 if the value is not part of a tree: a string then has no quotes
 */
function scalarElement(node, path, depth) {
  const text = depth > 0 ? node.text : node.value;
  const children = text === "" ? ["(empty)"] : highlighted(text, state.query.q);
  const className = `json-${node.type}`;
  if (!path) return element("span", className, ...children);
  const made = button(`value ${className}`, children, () => addField(path, node.value));
  made.title = `Show only entries with ${path} = ${node.value.slice(0, MAX_TITLE)}`;
  return made;
}

/**
 * Filters by the value of a field. It replaces a filter on the same field.
 * @param {string} name
 * @param {string} value
 */
function addField(name, value) {
  if (String(getSelection())) return; // the user selected text
  const { fields } = state.query;
  if (fields.some((field) => field[0] === name && field[1] === value)) return;
  const others = fields.filter((field) => field[0] !== name);
  changeQuery({ fields: [...others, [name, value]], open: 0 });
}
