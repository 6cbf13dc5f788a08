// The histogram: entries over time as stacked bars. Dragging over it selects a
// time range.

import { showFilters } from "./controls.js";
import { byId, element, formatCount, svgElement } from "./dom.js";
import { LEVELS } from "./levels.js";
import { filterParams, hasOnlyLevels } from "./query.js";
import { ServerError, errorText, get } from "./server.js";
import { changeQuery, state } from "./state.js";
import { fullTime, isRelative, isoTime, parseTime, shortTime, stepName } from "./time.js";

/** @import { Level } from "./levels.js" */
/** @import { Chart, Counts, Entry } from "./state.js" */

const MAX_BUCKETS = 120;
const MAX_NEW_BUCKETS = 500; // an entry further in the future is not shown
const RELATIVE_RELOAD_MS = 60_000;
const COUNTS_DELAY_MS = 300;

const AXIS_HEIGHT = 18;
const TOP_MARGIN = 12;
const MAX_SLOT_WIDTH = 48;
const MIN_BAR_HEIGHT = 2;
const LABEL_DISTANCE = 118;
const CHARACTER_WIDTH = 6;
const TIP_DISTANCE = 8;

const box = byId("chart", HTMLElement);
const bars = byId("bars", SVGSVGElement);
const note = byId("chartNote", HTMLElement);
const tip = byId("tip", HTMLElement);

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
let dragFrom = -1; // the slot in which the pointer was pressed
let reloadTimer = 0;
let countsTimer = 0;

/**
 * Loads and draws the histogram of the query.
 * @param {AbortSignal} signal
 */
export async function loadChart(signal) {
  clearTimeout(reloadTimer);
  state.chart = null;
  note.textContent = "";
  try {
    const chart = await fetchChart(signal);
    if (signal.aborted) return;
    state.chart = chart;
    if (isRelative(state.query.since)) reloadLater(signal);
  } catch (error) {
    if (signal.aborted) return;
    const needsKey = error instanceof ServerError && error.status === 401;
    note.textContent = needsKey ? "" : errorText(error);
  }
  drawChart();
  showFilters();
}

/**
 * Loads the histogram again after a while, because a range that is relative to
 * the current time moves.
 * @param {AbortSignal} signal
 */
function reloadLater(signal) {
  reloadTimer = setTimeout(() => {
    if (!signal.aborted) loadChart(signal);
  }, RELATIVE_RELOAD_MS);
}

/**
 * @param {AbortSignal} signal
 * @returns {Promise<Chart>}
 */
async function fetchChart(signal) {
  const { query } = state;
  const params = filterParams(query);
  // The level buttons show the counts of all levels, and the page can select the
  // levels to draw. Only other stored names have to be selected by the server.
  if (hasOnlyLevels(query)) params.delete("level");
  params.set("buckets", String(MAX_BUCKETS));
  const response = await get(`logs/histogram?${params}`, signal);
  const { step: seconds, since, until, levels, buckets } = await response.json();
  const step = seconds * 1000;
  const first = Math.floor(Date.parse(since) / step) * step;
  let end = Date.parse(until);
  if (query.since && !query.until) end = Math.max(end || 0, Date.now());
  return {
    step,
    first,
    end: Math.ceil(end / step) * step,
    levels,
    buckets: countsByTime(buckets),
  };
}

/**
 * @param {{ time: string, levels: Counts }[]} buckets
 * @returns {Map<number, Counts>}
 */
function countsByTime(buckets) {
  return new Map(buckets.map(({ time, levels }) => [Date.parse(time), levels]));
}

/**
 * Adds an entry that the tail delivered. The caller draws the chart.
 * @param {Entry} entry
 */
export function countEntry(entry) {
  const { chart } = state;
  if (!chart) return;
  increment(chart.levels, entry.level);
  const time = parseTime(entry.timestamp);
  if (isNaN(time)) return;
  const start = Math.floor(time / chart.step) * chart.step;
  if (isNaN(chart.first)) {
    chart.first = start;
    chart.end = start + chart.step;
  }
  if (start < chart.first || start > chart.end + MAX_NEW_BUCKETS * chart.step) return;
  chart.end = Math.max(chart.end, start + chart.step);
  const bucket = chart.buckets.get(start) ?? {};
  increment(bucket, entry.level);
  chart.buckets.set(start, bucket);
  if (slotCount(chart) > 2 * MAX_BUCKETS) {
    loadChart(state.loading.signal); // with a larger step
  } else {
    showCountsSoon();
  }
}

/**
 * @param {Counts} counts
 * @param {Level} level
 */
function increment(counts, level) {
  counts[level] = (counts[level] ?? 0) + 1;
}

function showCountsSoon() {
  countsTimer ||= setTimeout(() => {
    countsTimer = 0;
    showFilters();
  }, COUNTS_DELAY_MS);
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
}

/**
 * @param {Chart} chart
 * @param {Level[]} levels
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
      group.append(svgElement("rect", { class: `bar-${level}`, ...size }));
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
    const label = slotTime(chart, slot);
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
 * @param {number} slot
 */
function slotTime(chart, slot) {
  return shortTime(slotStart(chart, slot), chart.step / 1000, state.query.utc);
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
  let total = 0;
  for (const sum of sums.values()) total += sum;
  const range = `from ${fullTime(chart.first, utc)} to ${fullTime(chart.end, utc)}`;
  const counts = `${formatCount(total)} entries ${range}, ${maxLabel(chart, max)}.`;
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

/**
 * Returns the first and the last slot of the range that is dragged over.
 * @param {number} slot under the pointer
 */
function draggedSlots(slot) {
  return { first: Math.min(dragFrom, slot), last: Math.max(dragFrom, slot) };
}

/**
 * @param {number} slot under the pointer
 * @param {Drawing} drawing
 */
function showSelection(slot, { slotWidth, selection }) {
  const { first, last } = draggedSlots(slot);
  selection.setAttribute("x", String(first * slotWidth));
  selection.setAttribute("width", String((last - first + 1) * slotWidth));
}

/**
 * Shows the time range and the counts of a slot, or the range dragged over.
 * @param {number} slot under the pointer
 * @param {Drawing} drawing
 */
function showTip(slot, { chart, slotWidth, hover }) {
  const isDragging = dragFrom >= 0;
  const { first, last } = isDragging ? draggedSlots(slot) : { first: slot, last: slot };
  const range = `${slotTime(chart, first)} – ${slotTime(chart, last + 1)}`;
  const counts = isDragging ? [] : countLines(chart, slot);
  tip.replaceChildren(element("strong", "", range), ...counts);
  tip.hidden = false;
  placeTip(slot * slotWidth, slotWidth);
  hover.setAttribute("x", String(slot * slotWidth));
  hover.setAttribute("width", String(slotWidth));
}

/**
 * @param {Chart} chart
 * @param {number} slot
 */
function countLines(chart, slot) {
  const lines = [];
  const counts = chart.buckets.get(slotStart(chart, slot)) ?? {};
  for (const level of shownLevels()) {
    const count = counts[level];
    if (!count) continue;
    lines.push(element("div", "", element("span", `lv-${level}`, level), formatCount(count)));
  }
  return lines;
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
  dragFrom = slotAt(event, drawing);
  bars.setPointerCapture(event.pointerId);
  showSelection(dragFrom, drawing);
});

bars.addEventListener("pointermove", (event) => {
  if (!drawing) return;
  const slot = slotAt(event, drawing);
  if (dragFrom >= 0) showSelection(slot, drawing);
  showTip(slot, drawing);
});

bars.addEventListener("pointerup", (event) => {
  if (dragFrom < 0 || !drawing) {
    dragFrom = -1;
    return;
  }
  const { chart } = drawing;
  const { first, last } = draggedSlots(slotAt(event, drawing));
  dragFrom = -1;
  hideTip();
  changeQuery({
    since: isoTime(slotStart(chart, first)),
    until: isoTime(slotStart(chart, last + 1)),
    open: 0,
  });
});

bars.addEventListener("pointercancel", () => {
  dragFrom = -1;
  drawChart();
  hideTip();
});

bars.addEventListener("pointerleave", () => {
  if (dragFrom < 0) hideTip();
});

new ResizeObserver(drawChart).observe(box);
