// The buttons next to a value: filter by it, exclude it, show it in a column.

import { button, element } from "./dom.js";
import { withField } from "./query.js";
import { changeQuery, state } from "./state.js";

const MAX_TITLE = 100;

/**
 * Returns the buttons for the value of a field.
 * @param {string} name
 * @param {string} value
 */
export function valueActions(name, value) {
  const title = `= Show only entries with ${name} = ${value.slice(0, MAX_TITLE)}`;
  const only = action("=", title, () => ({ ...withField(state.query, name, value, false), open: 0 }));
  const box = element("span", "value-actions", only, excludeAction(name, value));
  if (name !== "level") {
    const { cols } = state.query;
    const others = cols.filter((other) => other !== name);
    const isColumn = others.length < cols.length;
    const label = isColumn ? "− column" : "+ column";
    const title = `${label}: ${isColumn ? "hide" : "show"} ${name} in each row`;
    box.append(action(label, title, () => ({ cols: isColumn ? others : [...cols, name] })));
  }
  return box;
}

/**
 * Returns the button that excludes a value.
 * @param {string} name
 * @param {string} value
 */
export function excludeAction(name, value) {
  const title = `≠ Exclude entries with ${name} = ${value.slice(0, MAX_TITLE)}`;
  return action("≠", title, () => ({ ...withField(state.query, name, value, true), open: 0 }));
}

/**
 * @param {string} label
 * @param {string} title
 * @param {() => Partial<Query>} change
 */
function action(label, title, change) {
  const made = button("action", [label], () => changeQuery(change()));
  made.title = title;
  made.setAttribute("aria-label", title);
  return made;
}
