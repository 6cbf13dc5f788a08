// The histogram: entries over time as stacked bars. Dragging over it selects a
// time range.

import { showFilters } from "./controls.js";
import { button, byId, element, formatCount, svgElement } from "./dom.js";
import { LEVELS } from "./levels.js";
import { filterParams, hasOnlyLevels } from "./query.js";
import { ServerError, errorText, get, isTemporary } from "./server.js";
import { changeQuery, state } from "./state.js";
import { fullTime, isRelative, isoTime, shortTime, stepName } from "./time.js";

const MAX_BUCKETS = 120;
const MAX_NEW_BUCKETS = 500; // an entry further in the future is an outlier
const RELATIVE_RELOAD_MS = 60_000;
const RETRY_MS = 3000;
const REDRAW_MS = 1000;

// Entries are outliers if there are at most MAX_OUTLIERS on a side, 1% of all, and
// the others fill less than a quarter of the chart. The chart then shows the others.
// In a chart of more than ten years, a single entry on a side may be more than 1%.
const MAX_OUTLIERS = 10;
const TEN_YEARS_MS = 3650 * 86_400_000;
const MAX_ZOOMS = 6;

const AXIS_HEIGHT = 18;
const TOP_MARGIN = 12;
const MAX_SLOT_WIDTH = 48;
const MIN_BAR_HEIGHT = 2;
const LABEL_DISTANCE = 118;
const CHARACTER_WIDTH = 6;
const TIP_DISTANCE = 8;

const box = byId("chart");
const bars = byId("bars", SVGSVGElement);
const outliers = byId("outliers");
const note = byId("chartNote");
const tip = byId("tip");

/**
 * What is drawn, and where. A slot is the space of one bucket.
 * @typedef {object} Drawing
 * @property {Chart} chart
 * @property {number} slots
 * @property {number} slotWidth
 * @property {number} height without the axis
 * @property {SVGRectElement} hover marks the slot under the pointer
 * @property {SVGRectElement} selection marks the slots that are dragged over
 */

/** @type {Drawing | null} */
let drawing = null;

/**
 * The starts of the buckets between which the pointer is dragged. They remain
 * valid if another chart is drawn meanwhile.
 * @type {{ from: number, to: number, step: number } | null}
 */
let drag = null;

/**
 * Entries that arrived while a chart is being loaded, null if none is.
 * @type {Entry[] | null}
 */
let uncounted = null;
let reloadTimer = 0;
let reloadAt = 0;
let redrawTimer = 0;

/**
 * Loads and draws the histogram of the query. The last one stays until then.
 * @param {AbortSignal} signal
 */
export async function loadChart(signal) {
  clearTimeout(reloadTimer);
  reloadAt = 0;
  box.classList.add("stale");
  uncounted = [];
  try {
    const chart = await fetchChart(signal, state.tailFrom);
    if (signal.aborted) return;
    state.chart = chart;
    note.textContent = "";
    for (const entry of uncounted) addToChart(chart, entry);
    // A range that is relative to the current time moves.
    if (isRelative(state.query.since)) reloadLater(RELATIVE_RELOAD_MS);
  } catch (error) {
    if (signal.aborted) return;
    const needsKey = error instanceof ServerError && error.status === 401;
    note.textContent = needsKey ? "" : errorText(error);
    state.chart = null;
    if (isTemporary(error)) reloadLater(RETRY_MS);
  }
  uncounted = null;
  box.classList.remove("stale");
  drawChart();
  showFilters();
}

/**
 * Loads the histogram again after a while, unless it will be loaded before.
 * @param {number} ms
 */
function reloadLater(ms) {
  const at = Date.now() + ms;
  if (reloadAt && reloadAt <= at) return;
  clearTimeout(reloadTimer);
  reloadAt = at;
  const { signal } = state.loading;
  reloadTimer = setTimeout(() => {
    reloadAt = 0;
    if (signal.aborted) return;
    if (uncounted) reloadLater(ms); // a histogram is being loaded
    else loadChart(signal);
  }, ms);
}

/** Loads the histogram again soon, because it does not count some new entries. */
export function reloadChartSoon() {
  reloadLater(RETRY_MS);
}

/**
 * @param {AbortSignal} signal
 * @param {number} upTo counts entries up to this id, or all if it is negative
 */
async function fetchChart(signal, upTo) {
  const params = filterParams(state.query);
  // The level buttons show the counts of all levels, and the page can select the
  // levels to draw. Only other stored names have to be selected by the server.
  if (hasOnlyLevels(state.query)) params.delete("level");
  params.set("buckets", String(MAX_BUCKETS));
  if (upTo >= 0) params.set("before", String(upTo + 1));
  let chart = await fetchBuckets(signal, params, upTo);
  for (let zooms = 0; zooms < MAX_ZOOMS; zooms++) {
    const bulk = bulkOf(chart, zooms > 0);
    if (!bulk) break;
    if (!state.query.since) params.set("since", isoTime(bulk.first));
    if (!state.query.until) params.set("until", isoTime(bulk.end));
    const { levels } = chart;
    chart = { ...(await fetchBuckets(signal, params, upTo)), ...bulk, levels };
  }
  if (chart.earlier || chart.later) {
    const starts = [...chart.buckets.keys()];
    chart.first = Math.min(...starts);
    chart.end = Math.max(...starts) + chart.step;
  }
  return chart;
}

/**
 * @param {AbortSignal} signal
 * @param {URLSearchParams} params
 * @param {number} upTo
 * @returns {Promise<Chart>}
 */
async function fetchBuckets(signal, params, upTo) {
  const response = await get(`logs/histogram?${params}`, signal);
  const { step: seconds, since, until, levels, buckets } = await response.json();
  const step = seconds * 1000;
  const { query } = state;
  let end = Date.parse(until);
  if (query.since && !query.until) end = Math.max(end || 0, Date.now());
  return {
    step,
    first: Math.floor(Date.parse(since) / step) * step,
    end: Math.ceil(end / step) * step,
    earlier: 0,
    later: 0,
    levels,
    buckets: new Map(buckets.map(bucketPair)),
    upTo,
  };
}

/** @param {{ time: string, levels: Counts }} bucket @returns {[number, Counts]} */
const bucketPair = ({ time, levels }) => [Date.parse(time), levels];

/**
 * Returns the part of a chart without its outliers, null if it has none.
 * @param {Chart} chart
 * @param {boolean} isZoomed whether the chart is such a part already
 */
function bulkOf(chart, isZoomed) {
  const sums = [...bucketSums(chart, LEVELS)].sort((a, b) => a[0] - b[0]);
  const min = chart.end - chart.first > TEN_YEARS_MS ? 1 : 0;
  const limit = Math.max(min, Math.min(MAX_OUTLIERS, Math.floor(totalOf(sums) / 100)));
  const earlier = state.query.since ? [] : outliersOf(sums, limit);
  const later = state.query.until ? [] : outliersOf(sums.reverse(), limit);
  const bulk = sums.slice(later.length, sums.length - earlier.length);
  if (!bulk.length || (!isZoomed && !earlier.length && !later.length)) return null;
  const first = bulk[bulk.length - 1][0];
  const end = bulk[0][0] + chart.step;
  if (chart.step <= 1000 || (end - first) * (isZoomed ? 2 : 4) > chart.end - chart.first) return null;
  return { first, end, earlier: chart.earlier + totalOf(earlier), later: chart.later + totalOf(later) };
}

/** @param {Iterable<[number, number]>} sums of buckets */
function totalOf(sums) {
  let total = 0;
  for (const [, count] of sums) total += count;
  return total;
}

/**
 * Returns the buckets at the start of sums that have at most limit entries together.
 * @param {[number, number][]} sums
 * @param {number} limit
 */
function outliersOf(sums, limit) {
  let sum = 0;
  const end = sums.findIndex(([, count]) => (sum += count) > limit);
  return sums.slice(0, Math.max(0, end));
}

/**
 * Counts an entry that the tail delivered.
 * @param {Entry} entry
 */
export function countEntry(entry) {
  uncounted?.push(entry);
  if (uncounted || !state.chart) return;
  addToChart(state.chart, entry);
  if (slotCount(state.chart) > 2 * MAX_BUCKETS) loadChart(state.loading.signal); // with a larger step
  redrawTimer ||= setTimeout(() => {
    redrawTimer = 0;
    drawChart();
    showFilters();
  }, REDRAW_MS);
}

/**
 * @param {Chart} chart
 * @param {Entry} entry
 */
function addToChart(chart, { id, level, time }) {
  if (id <= chart.upTo) return;
  chart.levels[level] = (chart.levels[level] ?? 0) + 1;
  if (isNaN(time)) return;
  const start = Math.floor(time / chart.step) * chart.step;
  if (isNaN(chart.first)) {
    chart.first = start;
    chart.end = start + chart.step;
  }
  if (start < chart.first) {
    chart.earlier++;
  } else if (start > chart.end + MAX_NEW_BUCKETS * chart.step) {
    chart.later++;
  } else {
    chart.end = Math.max(chart.end, start + chart.step);
    const bucket = chart.buckets.get(start) ?? {};
    bucket[level] = (bucket[level] ?? 0) + 1;
    chart.buckets.set(start, bucket);
  }
}

/** @param {Chart} chart */
function slotCount(chart) {
  return (chart.end - chart.first) / chart.step;
}

/** @returns {Level[]} the levels that the query selects */
function shownLevels() {
  const { levels } = state.query;
  const all = !levels.length || !hasOnlyLevels(state.query);
  return LEVELS.filter((level) => all || levels.includes(level));
}

// ---- Drawing ----

export function drawChart() {
  const { chart } = state;
  const width = bars.clientWidth;
  const height = bars.clientHeight - AXIS_HEIGHT;
  bars.replaceChildren();
  outliers.replaceChildren();
  drawing = null;
  if (width <= 0) return;
  bars.append(axisLine(0, height + 0.5, width, height + 0.5));
  if (!chart || isNaN(chart.first)) return;

  const slots = Math.max(1, Math.round(slotCount(chart)));
  const slotWidth = Math.min(width / slots, MAX_SLOT_WIDTH);
  const hover = svgElement("rect", { class: "hover", height });
  const selection = svgElement("rect", { class: "selection", height });
  drawing = { chart, slots, slotWidth, height, hover, selection };

  const levels = shownLevels();
  const sums = bucketSums(chart, levels);
  const max = Math.max(0, ...sums.values());
  bars.append(hover, barGroup(drawing, levels, sums, max), selection);
  bars.append(...timeLabels(drawing, width));
  const topRight = { x: width, y: 9, "text-anchor": "end" };
  if (max) bars.append(svgElement("text", topRight, maxLabel(chart, max)));
  bars.setAttribute("aria-label", description(chart, sums, max));
  showOutliers(chart);
  showSelection();
}

/** @param {Chart} chart */
function showOutliers({ earlier, later, first, end }) {
  const add = (/** @type {string} */ text, /** @type {Partial<Query>} */ range) =>
    outliers.append(button("link", [text], () => changeQuery({ ...range, open: 0 })));
  if (earlier) add(`◂ ${formatCount(earlier)} earlier`, { until: isoTime(first) });
  if (later) add(`${formatCount(later)} later ▸`, { since: isoTime(end) });
}

/**
 * @param {Chart} chart
 * @param {readonly Level[]} levels
 * @returns {Map<number, number>} the number of entries in each bucket
 */
function bucketSums(chart, levels) {
  const sums = new Map();
  for (const [start, counts] of chart.buckets) {
    let sum = 0;
    for (const level of levels) sum += counts[level] ?? 0;
    sums.set(start, sum);
  }
  return sums;
}

/**
 * @param {Drawing} drawing
 * @param {Level[]} levels
 * @param {Map<number, number>} sums
 * @param {number} max the largest of sums
 */
function barGroup({ chart, slotWidth, height }, levels, sums, max) {
  const gap = barGap(slotWidth);
  const width = Math.max(0.5, slotWidth - gap).toFixed(2);
  const group = svgElement("g", {});
  for (const [start, counts] of chart.buckets) {
    const sum = sums.get(start);
    if (!sum) continue;
    const slot = Math.round((start - chart.first) / chart.step);
    const x = (slot * slotWidth + gap / 2).toFixed(2);
    const full = Math.max(MIN_BAR_HEIGHT, (sum / max) * (height - TOP_MARGIN));
    let y = height;
    for (const level of levels) {
      const count = counts[level];
      if (!count) continue;
      const part = (full * count) / sum;
      y -= part;
      const size = { x, y: y.toFixed(2), width, height: part.toFixed(2) };
      group.append(svgElement("rect", { class: `bar lv-${level}`, ...size }));
    }
  }
  return group;
}

/** @param {number} slotWidth */
function barGap(slotWidth) {
  if (slotWidth > 6) return 2;
  return slotWidth > 3 ? 1 : 0;
}

/**
 * @param {Drawing} drawing
 * @param {number} width of the chart
 * @returns {SVGElement[]}
 */
function timeLabels({ chart, slots, slotWidth, height }, width) {
  const labels = [];
  const every = Math.max(1, Math.ceil(LABEL_DISTANCE / slotWidth));
  for (let slot = 0; slot < slots; slot += every) {
    const x = slot * slotWidth;
    const label = chartTime(chart, slotStart(chart, slot));
    if (slot > 0 && x + label.length * CHARACTER_WIDTH > width) break;
    labels.push(axisLine(x + 0.5, height, x + 0.5, height + 4));
    labels.push(svgElement("text", { x: x + 3, y: height + 14 }, label));
  }
  return labels;
}

/**
 * Returns a line. It is sharp if it runs through the middle of pixels.
 * @param {number} x1
 * @param {number} y1
 * @param {number} x2
 * @param {number} y2
 */
function axisLine(x1, y1, x2, y2) {
  return svgElement("line", { class: "axis", x1, y1, x2, y2 });
}

/**
 * @param {Chart} chart
 * @param {number} slot
 */
function slotStart(chart, slot) {
  return chart.first + slot * chart.step;
}

/**
 * @param {Chart} chart
 * @param {number} ms
 */
function chartTime(chart, ms) {
  return shortTime(ms, chart.step / 1000, state.query.utc);
}

/**
 * @param {Chart} chart
 * @param {number} max
 */
function maxLabel(chart, max) {
  return `max. ${formatCount(max)} per ${stepName(chart.step / 1000)}`;
}

/**
 * Returns the description of the chart for screen readers.
 * @param {Chart} chart
 * @param {Map<number, number>} sums
 * @param {number} max
 */
function description(chart, sums, max) {
  const { utc } = state.query;
  const range = `from ${fullTime(chart.first, utc)} to ${fullTime(chart.end, utc)}`;
  const counts = `${formatCount(totalOf(sums))} entries ${range}, ${maxLabel(chart, max)}.`;
  return `${counts} Drag to select a time range.`;
}

// ---- Selecting a time range ----

/**
 * @param {PointerEvent} event
 * @param {Drawing} drawing
 */
function slotAt(event, { slots, slotWidth }) {
  const x = event.clientX - bars.getBoundingClientRect().left;
  return Math.max(0, Math.min(slots - 1, Math.floor(x / slotWidth)));
}

/** Returns the range that is dragged over. */
function draggedRange({ from, to, step } = drag ?? { from: 0, to: 0, step: 0 }) {
  return { since: Math.min(from, to), until: Math.max(from, to) + step };
}

function showSelection() {
  if (!drag || !drawing) return;
  const { chart, slotWidth, selection } = drawing;
  const { since, until } = draggedRange();
  const width = slotWidth / chart.step;
  place(selection, (since - chart.first) * width, (until - since) * width);
}

/**
 * @param {SVGRectElement} rect
 * @param {number} x
 * @param {number} width
 */
function place(rect, x, width) {
  rect.setAttribute("x", String(x));
  rect.setAttribute("width", String(width));
}

/**
 * Shows the time range and the counts of a slot, or the range dragged over.
 * @param {number} slot under the pointer
 * @param {Drawing} drawing
 */
function showTip(slot, { chart, slotWidth, hover }) {
  const start = slotStart(chart, slot);
  const { since, until } = drag ? draggedRange() : { since: start, until: start + chart.step };
  const range = `${chartTime(chart, since)} – ${chartTime(chart, until)}`;
  tip.replaceChildren(element("strong", "", range), ...(drag ? [] : countLines(chart, start)));
  tip.hidden = false;
  placeTip(slot * slotWidth, slotWidth);
  place(hover, slot * slotWidth, slotWidth);
}

/**
 * @param {Chart} chart
 * @param {number} start of a bucket
 */
function countLines(chart, start) {
  const counts = chart.buckets.get(start) ?? {};
  return shownLevels()
    .filter((level) => counts[level])
    .map((level) =>
      element("div", "", element("span", `lv-${level}`, level), formatCount(counts[level] ?? 0)),
    );
}

/**
 * Places the tip to the right of a slot, or to the left if the right has no space.
 * @param {number} x of the slot
 * @param {number} slotWidth
 */
function placeTip(x, slotWidth) {
  const right = x + slotWidth + TIP_DISTANCE;
  const fits = right + tip.offsetWidth <= box.clientWidth;
  tip.style.left = `${fits ? right : Math.max(0, x - tip.offsetWidth - TIP_DISTANCE)}px`;
}

function hideTip() {
  tip.hidden = true;
  drawing?.hover.removeAttribute("width");
}

bars.addEventListener("pointerdown", (event) => {
  if (event.button !== 0 || !drawing) return;
  const start = slotStart(drawing.chart, slotAt(event, drawing));
  drag = { from: start, to: start, step: drawing.chart.step };
  bars.setPointerCapture(event.pointerId);
  showSelection();
});

bars.addEventListener("pointermove", (event) => {
  if (!drawing) return;
  const slot = slotAt(event, drawing);
  if (drag) {
    drag.to = slotStart(drawing.chart, slot);
    drag.step = drawing.chart.step;
  }
  showSelection();
  showTip(slot, drawing);
});

bars.addEventListener("pointerup", () => {
  if (!drag) return;
  const { since, until } = draggedRange();
  drag = null;
  hideTip();
  changeQuery({ since: isoTime(since), until: isoTime(until), open: 0 });
});

bars.addEventListener("pointercancel", () => {
  drag = null;
  drawChart();
  hideTip();
});

bars.addEventListener("pointerleave", () => {
  if (!drag) hideTip();
});

new ResizeObserver(drawChart).observe(box);
