// Fills the head of a row: time, level, columns and text of an entry in one line.

import { element, visibleControls } from "./dom.js";
import { fieldValue, previewDetails, unescaped } from "./json.js";
import { searchPattern } from "./query.js";
import { marked, state } from "./state.js";
import { rowTime } from "./time.js";

const MAX_MESSAGE = 600; // characters
const VISIBLE = 90; // characters that are visible in most windows
const SNIPPET_BEFORE = 30;
const SNIPPET = 120;

/**
 * @param {HTMLElement} head
 * @param {Entry} entry
 */
export function fillHead(head, entry) {
  const { utc, cols } = state.query;
  const time = element("span", "time", rowTime(entry.timestamp, utc));
  time.title = entry.timestamp;
  const level = element("span", `level lv-${entry.level}`, entry.levelName || "(none)");
  head.append(time, level);
  for (const name of cols) {
    const value = fieldValue(entry.details, name);
    const cell = element("span", "cell", ...markedLine(value));
    cell.title = value;
    head.append(cell);
  }
  const message = element("span", "msg", ...markedLine(messageOf(entry)));
  const extra = element("span", "extra", ...markedLine(previewDetails(entry.details)));
  head.append(element("span", "text", message, " ", extra));
}

/**
 * Returns the message. If what the query searches for is outside the visible part
 * of the row, its surroundings follow the start of the message.
 * @param {Entry} entry
 */
function messageOf({ message, details }) {
  const text = message.trim() ? message.slice(0, MAX_MESSAGE) : "(no message)";
  const pattern = searchPattern(state.query);
  if (!pattern) return text;
  const start = text.slice(0, VISIBLE);
  const preview = previewDetails(details).slice(0, Math.max(0, VISIBLE - message.length));
  if (start.search(pattern) >= 0 || preview.search(pattern) >= 0) return text;
  for (const source of [message, unescaped(details)]) {
    const at = source.search(pattern);
    if (at < 0) continue;
    const from = Math.max(0, at - SNIPPET_BEFORE);
    return `${text.slice(0, VISIBLE / 2)} … ${source.slice(from, from + SNIPPET)} …`;
  }
  return text;
}

/**
 * Returns text with its matches marked and its control characters made visible.
 * @param {string} text
 */
function markedLine(text) {
  const parts = marked(text);
  for (const [i, part] of parts.entries()) {
    if (part instanceof Node) part.textContent = visibleControls(part.textContent ?? "");
    else parts[i] = visibleControls(part);
  }
  return parts;
}
