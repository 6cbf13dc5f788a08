// The fields of the entries: their most common values, beside the list.

import { button, byId, element, formatCount } from "./dom.js";
import { FIELD_PREFIX, filterParams } from "./query.js";
import { errorText, getJSON, isTemporary } from "./server.js";
import { changeView, marked, state } from "./state.js";
import { excludeAction, filterBy } from "./values.js";

const TOP = 5;
const MORE = 50;
const RETRY_MS = 3000;

/**
 * A field as the server describes it.
 * @typedef {object} FieldCounts
 * @property {string} name
 * @property {number} count entries that have the field
 * @property {number} distinct
 * @property {{ value: string, count: number }[]} values
 */

const box = byId("fields");

/** The field of which more values are shown. */
let expanded = "";

/**
 * Loads and shows the fields of the query, or hides them.
 * @param {AbortSignal} signal
 */
export async function loadFields(signal) {
  box.hidden = !state.query.showsFields;
  if (box.hidden) return;
  const params = filterParams(state.query);
  params.set("top", String(expanded ? MORE : TOP));
  try {
    const { entries, partial, fields } = await getJSON(`logs/fields?${params}`, signal);
    const scope = partial ? `the newest ${formatCount(entries)} entries` : `${formatCount(entries)} entries`;
    const close = button("link", ["Close"], () => {
      changeView({ showsFields: false });
      box.hidden = true;
    });
    box.replaceChildren(
      element("div", "fields-head", element("h2", "", "Fields"), close),
      element("p", "", `of ${scope}`),
      ...fields.map((/** @type {FieldCounts} */ field) => fieldElement(field, entries)),
    );
  } catch (error) {
    if (signal.aborted) return;
    box.replaceChildren(element("p", "bad", errorText(error)));
    if (isTemporary(error)) setTimeout(() => signal.aborted || loadFields(signal), RETRY_MS);
  }
}

/**
 * @param {FieldCounts} field
 * @param {number} entries
 */
function fieldElement({ name, distinct, values }, entries) {
  const shown = name === expanded ? values : values.slice(0, TOP);
  const list = element("ul", "", ...shown.map(({ value, count }) => valueRow(name, value, count, entries)));
  const made = element("section", "", element("h3", "", name), list);
  if (distinct > TOP) {
    const isExpanded = name === expanded;
    const label = isExpanded ? "less" : `more of ${formatCount(distinct)}`;
    made.append(
      button("link", [label], () => {
        expanded = isExpanded ? "" : name;
        loadFields(state.loading.signal);
      }),
    );
  }
  return made;
}

/**
 * @param {string} name
 * @param {string} value
 * @param {number} count
 * @param {number} entries
 */
function valueRow(name, value, count, entries) {
  const key = FIELD_PREFIX + name;
  const bar = element("span", "share");
  bar.style.width = `${((100 * count) / entries).toFixed(1)}%`;
  const select = button("field-value", [bar, element("span", "name", ...marked(value || "(empty)"))], () =>
    filterBy(key, value, false),
  );
  select.title = value;
  return element("li", "", select, element("span", "count", formatCount(count)), excludeAction(key, name, value));
}
