// The kinds of entries: entries grouped by level and by the pattern of their
// messages.

import { button, byId, element, formatCount, svgElement, visibleControls } from "./dom.js";
import { levelOf } from "./levels.js";
import { filterParams } from "./query.js";
import { getJSON } from "./server.js";
import { changeQuery, state } from "./state.js";
import { ago, fullTime, isoTime } from "./time.js";

const MAX_KINDS = 50;
const NEW_MS = 3_600_000;
const SPARK_HEIGHT = 18;
const BAR_WIDTH = 4;

/**
 * A kind as the server describes it.
 * @typedef {object} Kind
 * @property {string} kind the pattern
 * @property {string} level
 * @property {number} count
 * @property {string} first
 * @property {string} last
 * @property {number} last_id
 * @property {number[]} spark
 */

const list = byId("kinds");

/**
 * Loads and shows the kinds of the query. Returns how many there are.
 * @param {AbortSignal} signal
 */
export async function loadKinds(signal) {
  const params = filterParams(state.query);
  params.set("limit", String(MAX_KINDS));
  const { chart } = state;
  if (chart && chart.end > chart.first) {
    params.set("from", isoTime(chart.first));
    params.set("to", isoTime(chart.end));
  }
  const { kinds, since, other } = await getJSON(`logs/kinds?${params}`, signal);
  const start = Date.parse(since);
  list.replaceChildren(...kinds.map((/** @type {Kind} */ kind) => kindRow(kind, start)));
  if (other) list.append(element("li", "gap", `${formatCount(other)} entries of other kinds`));
  list.hidden = false;
  return kinds.length;
}

export function hideKinds() {
  list.hidden = true;
  list.replaceChildren();
}

/**
 * @param {Kind} kind
 * @param {number} start the time of the first entry that was counted
 */
function kindRow({ kind, level: name, count, first, last, last_id: lastID, spark }, start) {
  const level = levelOf(name);
  const { query } = state;
  const firstSeen = Date.parse(first);
  // A kind is new only if entries from before its first one were counted.
  const isNew = !query.since && Date.now() - firstSeen < NEW_MS && start < firstSeen;
  const seen = element("span", "seen", `${ago(firstSeen)} – ${ago(Date.parse(last))}`);
  seen.title = `${fullTime(firstSeen, query.utc)} – ${fullTime(Date.parse(last), query.utc)}`;
  const badge = isNew ? [element("span", "badge", "new")] : [];
  const row = button(
    "kind",
    [
      element("span", `level lv-${level}`, name || "(none)"),
      element("b", "count", formatCount(count)),
      sparkline(spark, level),
      seen,
      element("span", "text", ...badge, visibleControls(kind) || "(no message)"),
    ],
    // No filter selects entries without a message, so open the last of them.
    () => changeQuery({ kind, levels: [name], showsKinds: false, open: kind ? 0 : lastID }),
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
