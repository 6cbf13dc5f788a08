// The kinds of entries: entries grouped by level and by the pattern of their
// messages.

import { showError } from "./controls.js";
import { ageElement, button, byId, element, formatCount, svgElement, visibleControls } from "./dom.js";
import { levelOf } from "./levels.js";
import { filterParams } from "./query.js";
import { errorText, getJSON } from "./server.js";
import { changeQuery, state } from "./state.js";
import { fullTime, isoTime } from "./time.js";

const FIRST_KINDS = 50;
const MAX_KINDS = 10_000;
const NEW_MS = 3_600_000;
const SPARK_HEIGHT = 18;
const BAR_WIDTH = 4;

/**
 * A kind as the server describes it.
 * @typedef {object} Kind
 * @property {string} kind the pattern
 * @property {string} level
 * @property {number} count
 * @property {string | null} first
 * @property {string | null} last
 * @property {number[]} spark
 */

const list = byId("kinds");

/**
 * Loads and shows the kinds of the query, and sets state.kinds.
 * @param {AbortSignal} signal
 * @param {number} [limit] how many kinds are shown
 */
export async function loadKinds(signal, limit = FIRST_KINDS) {
  const params = filterParams(state.query);
  params.set("limit", String(limit));
  const { chart } = state;
  if (chart && chart.end > chart.first) {
    params.set("from", isoTime(chart.first));
    params.set("to", isoTime(chart.end));
  }
  const { kinds, since, other, total } = await getJSON(`logs/kinds?${params}`, signal);
  const start = Date.parse(since);
  list.replaceChildren(...kinds.map((/** @type {Kind} */ kind) => kindRow(kind, start)));
  if (total > limit) list.append(element("li", "gap", button("link", ["Show all kinds"], showAll)));
  if (other) list.append(element("li", "gap", `${formatCount(other)} entries of other kinds`));
  list.hidden = false;
  state.kinds = total;
}

async function showAll() {
  const { signal } = state.loading;
  try {
    await loadKinds(signal, MAX_KINDS);
  } catch (error) {
    if (!signal.aborted) showError(errorText(error));
  }
}

/**
 * Gives the focus to the kind a number of rows below the one that has it.
 * @param {number} by negative for above
 */
export function focusKind(by) {
  const rows = [...list.querySelectorAll("button")];
  const from = rows.findIndex((row) => row === document.activeElement);
  rows[Math.max(0, Math.min(rows.length - 1, from + by))]?.focus();
}

export function hideKinds() {
  list.hidden = true;
  list.replaceChildren();
}

/**
 * @param {Kind} kind
 * @param {number} start the time of the first entry that was counted
 */
function kindRow({ kind, level: name, count, first, last, spark }, start) {
  const level = levelOf(name);
  const { query } = state;
  const firstSeen = Date.parse(first ?? "");
  const lastSeen = Date.parse(last ?? "");
  // A kind is new only if entries from before its first one were counted.
  const isNew = !query.since && Date.now() - firstSeen < NEW_MS && start < firstSeen;
  const seen = element("span", "seen");
  if (last) {
    seen.append(ageElement(firstSeen), " – ", ageElement(lastSeen));
    seen.title = `${fullTime(firstSeen, query.utc)} – ${fullTime(lastSeen, query.utc)}`;
  }
  const badge = isNew ? [element("span", "badge", "new")] : [];
  const row = button(
    "kind",
    [
      element("span", `level lv-${level}`, name || "(none)"),
      element("b", "count", formatCount(count)),
      sparkline(spark, level),
      seen,
      element("span", "text", ...badge, visibleControls(kind).trim() || "(no message)"),
    ],
    () => changeQuery({ kind, levels: [name], showsKinds: false, open: 0 }),
  );
  return element("li", "", row);
}

/**
 * @param {number[]} spark
 * @param {Level} level
 */
function sparkline(spark, level) {
  const max = Math.max(...spark);
  const svg = svgElement("svg", {
    class: "spark",
    width: spark.length * BAR_WIDTH,
    height: SPARK_HEIGHT,
    "aria-hidden": "true",
  });
  for (const [i, count] of spark.entries()) {
    if (!count) continue;
    const height = Math.max(1, (count / max) * SPARK_HEIGHT).toFixed(1);
    const place = { x: i * BAR_WIDTH, y: SPARK_HEIGHT - Number(height), width: BAR_WIDTH - 1, height };
    svg.append(svgElement("rect", { class: `bar lv-${level}`, ...place }));
  }
  return svg;
}
