// The buttons next to a value: filter by it, exclude it, show it in a column.

import { button, element } from "./dom.js";
import { FIELD_PREFIX, withField } from "./query.js";
import { changeQuery, changeView, state } from "./state.js";

const MAX_TITLE = 100;
const MAX_FILTER = 4000; // the server limits the length of an address

/**
 * Returns the buttons for the value of a field of details.
 * @param {string} name
 * @param {string} value
 */
export function fieldActions(name, value) {
  const box = valueActions(FIELD_PREFIX + name, name, value);
  const { cols } = state.query;
  const others = cols.filter((other) => other !== name);
  const isColumn = others.length < cols.length;
  const label = isColumn ? "− column" : "+ column";
  const title = `${label}: ${isColumn ? "hide" : "show"} ${name} in each row`;
  const column = action(label, title, () => changeView({ cols: isColumn ? others : [...cols, name] }));
  column.classList.add("column");
  box.append(column);
  return box;
}

/**
 * Returns the buttons that filter by a value.
 * @param {string} key as withField has it
 * @param {string} name
 * @param {string} value
 */
export function valueActions(key, name, value) {
  const box = element("span", "value-actions");
  if (value.length <= MAX_FILTER) {
    const title = `= Show only entries with ${name} = ${value.slice(0, MAX_TITLE)}`;
    box.append(action("=", title, () => filterBy(key, value, false)), excludeAction(key, name, value));
  }
  return box;
}

/**
 * Returns the button that excludes a value.
 * @param {string} key as withField has it
 * @param {string} name
 * @param {string} value
 */
export function excludeAction(key, name, value) {
  const title = `≠ Exclude entries with ${name} = ${value.slice(0, MAX_TITLE)}`;
  return action("≠", title, () => filterBy(key, value, true));
}

/**
 * Shows only the entries with a value, or those without it.
 * @param {string} key as withField has it
 * @param {string} value
 * @param {boolean} isExcluded
 */
export function filterBy(key, value, isExcluded) {
  changeQuery({ ...withField(state.query, key, value, isExcluded), open: 0 });
}

/**
 * @param {string} label
 * @param {string} title
 * @param {() => void} onClick
 */
function action(label, title, onClick) {
  const made = button("action", [label], onClick);
  made.title = title;
  made.setAttribute("aria-label", title);
  return made;
}
