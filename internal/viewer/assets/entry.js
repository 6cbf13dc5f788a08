// Makes the panel of an opened entry, with its message, level, times, details and
// actions.

import { ageElement, button, copyButton, element } from "./dom.js";
import { indentedJSON, isContainer, parseJSON } from "./json.js";
import { NO_FILTERS, addressOf } from "./query.js";
import { textBlock } from "./stack.js";
import { changeQuery, marked, state } from "./state.js";
import { fullTime, isRelative } from "./time.js";
import { fieldActions, valueActions } from "./values.js";

const MAX_TREE_DEPTH = 20;
const MAX_TREE = 200_000; // characters
const MAX_SAME = 2;
const ID_NAME = /(^|[._-])(request|req|trace|correlation|session|transaction)[._-]?(id)?$/i;
const INDENT = "  ";

/**
 * @param {Entry} entry
 * @returns {HTMLElement}
 */
export function entryPanel(entry) {
  const panel = element("div", "panel");
  if (entry.message) {
    const message = textBlock(entry.message);
    message.classList.add("message");
    panel.append(message);
  }
  panel.append(metaLine(entry));
  const fields = detailFields(entry.details);
  if (fields.childElementCount) panel.append(fields);
  panel.append(actions(entry));
  return panel;
}

/** @param {Entry} entry */
function metaLine(entry) {
  const level = element("b", `lv-${entry.level}`, entry.levelName || "(none)");
  const value = element("span", "value", level, valueActions("level", "level", entry.levelName));
  const meta = element("div", "meta", value);
  const { time: ms } = entry;
  if (!isNaN(ms)) {
    meta.append(element("span", "", fullTime(ms, false), " (", ageElement(ms), ")"));
  }
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
  const around = { ...NO_FILTERS, asc: false, open: entry.id };
  const context = [button("", ["Around this"], () => changeQuery(around))];
  for (const field of idsOf(entry.details).slice(0, MAX_SAME)) {
    const same = { ...NO_FILTERS, fields: [field], open: entry.id };
    context.push(button("", [`Same ${field[0]}`], () => changeQuery(same)));
  }
  box.prepend(...context);
  return box;
}

/**
 * Returns the fields that have the id of a request, a trace or a session.
 * @param {string} details JSON text
 */
function idsOf(details) {
  /** @type {Field[]} */
  const ids = [];
  const visit = (/** @type {JSONNode} */ node, /** @type {string} */ path) => {
    if (node.type === "object") {
      for (const { name, node: value } of node.members) visit(value, path ? `${path}.${name}` : `${name}`);
    } else if (!isContainer(node) && node.value && ID_NAME.test(path)) {
      ids.push([path, node.value]);
    }
  };
  try {
    visit(parseJSON(details), "");
  } catch {
    // Nested too deep.
  }
  return ids;
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
 * Returns the entry as indented JSON. Values in details are kept as written.
 * @param {Entry} entry
 */
function entryJSON(entry) {
  const { id, levelName: level, message, timestamp } = entry;
  const columns = JSON.stringify({ id, level, message, timestamp }, null, INDENT);
  const withoutEnd = columns.slice(0, -"\n}".length);
  let { details } = entry;
  try {
    details = indentedJSON(parseJSON(details), INDENT);
  } catch {
    // Nested too deep: the text is valid JSON as it is.
  }
  return `${withoutEnd},\n${INDENT}"details": ${details}\n}`;
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
 * Returns an element that shows a JSON value, with buttons next to a scalar that
 * has a path.
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
  const isLarge = depth > MAX_TREE_DEPTH || node.text.length > MAX_TREE;
  if (!node.members.length || isLarge) return element("span", "", node.text);
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
  const isText = node.type === "string";
  const text = isText && depth > 0 ? JSON.stringify(node.value) : node.value;
  const isBlock = isText && node.value.includes("\n");
  const children = isBlock ? [textBlock(node.value)] : marked(text || "(empty)");
  const shown = element("span", `json-${node.type}`, ...children);
  if (!path) return shown;
  return element("span", "value", shown, fieldActions(path, node.value));
}
