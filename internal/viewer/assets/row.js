// Fills the head of a row: time, level and text of an entry in one line.

import { element, highlighted, visibleControls } from "./dom.js";
import { previewDetails } from "./json.js";
import { state } from "./state.js";
import { rowTime } from "./time.js";

const MAX_MESSAGE = 600; // characters

/**
 * @param {HTMLElement} head
 * @param {Entry} entry
 */
export function fillHead(head, entry) {
  const { query } = state;
  const time = element("span", "time", rowTime(entry.timestamp, query.utc));
  time.title = entry.timestamp;
  const level = element("span", `level lv-${entry.level}`, entry.levelName || "(none)");
  const message = entry.message.slice(0, MAX_MESSAGE) || "(no message)";
  const text = element("span", "text", element("span", "msg", ...marked(message)), " ");
  text.append(element("span", "extra", visibleControls(previewDetails(entry.details))));
  head.append(time, level, text);
}

/**
 * Returns text with its matches marked and its control characters made visible.
 * @param {string} text
 */
function marked(text) {
  const parts = highlighted(text, state.query.q);
  for (const [i, part] of parts.entries()) {
    if (part instanceof Node) part.textContent = visibleControls(part.textContent ?? "");
    else parts[i] = visibleControls(part);
  }
  return parts;
}
