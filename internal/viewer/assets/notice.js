// The notice that fills the list when there are no entries to show.

import { activeFilters, clearFilters } from "./controls.js";
import { button, byId, copyButton, element } from "./dom.js";
import { curlCommand } from "./export.js";
import { isLevel } from "./levels.js";
import { filterParams, isFiltered } from "./query.js";
import { getEntries } from "./server.js";
import { changeQuery, reload, state } from "./state.js";

const MAX_SUGGESTIONS = 6;

const notice = byId("notice");

/** Shows why the list is empty, if it is. */
export function showNotice() {
  const { query, entries, failure, isBusy } = state;
  const hasFilters = isFiltered(query);
  document.body.classList.toggle("blank", !entries.length && !state.kinds && !hasFilters && !isBusy);
  if (entries.length || isBusy || (state.kinds && !failure)) {
    hideNotice();
    return;
  }
  const isLive = !query.until && !query.paused;
  const reason = JSON.stringify([failure, hasFilters && filterParams(query).toString(), isLive]);
  if (!notice.hidden && notice.dataset.reason === reason) return;
  notice.dataset.reason = reason;
  notice.replaceChildren(element("div", "", ...noticeContent(failure, hasFilters, isLive)));
  notice.hidden = false;
}

export function hideNotice() {
  notice.hidden = true;
}

/**
 * @param {string} failure
 * @param {boolean} hasFilters
 * @param {boolean} isLive
 */
function noticeContent(failure, hasFilters, isLive) {
  if (failure) {
    return [
      element("h2", "", "Cannot load the log"),
      element("p", "", failure),
      button("primary", ["Try again"], reload),
    ];
  }
  if (hasFilters) {
    const suggestions = element("p", "");
    suggestWithout(suggestions);
    return [
      element("h2", "", "No entries match these filters"),
      element("p", "", isLive ? "New entries that match appear here automatically." : ""),
      suggestions,
      button("primary", ["Clear all filters"], clearFilters),
    ];
  }
  const entry = '{"level":"error","message":"Hello, logs","service":"shop"}';
  const command = curlCommand("ingest", ["-d", entry]);
  return [
    element("h2", "", "No entries yet"),
    element("p", "", "Send one from a terminal. It appears here automatically:"),
    element("pre", "", command),
    copyButton("primary", "Copy command", () => command),
  ];
}

/**
 * Adds a button for each filter without which the list would not be empty.
 * @param {HTMLElement} box
 */
async function suggestWithout(box) {
  const { query, loading } = state;
  const filters = activeFilters();
  if (query.words) filters.push({ text: `search for ${query.words}`, without: { words: "" } });
  if (query.levels.some(isLevel)) filters.push({ text: `level ${query.levels.join()}`, without: { levels: [] } });
  if (query.since && !query.until) filters.push({ text: "time range", without: { since: "" } });
  if (filters.length < 2) return;
  for (const { text, without } of filters.slice(0, MAX_SUGGESTIONS)) {
    const params = filterParams({ ...query, ...without });
    params.set("limit", "1");
    try {
      const [found] = await getEntries(params, loading.signal);
      if (!found) continue;
    } catch {
      return; // the next load shows why
    }
    box.append(button("chip", [`Remove ${text}`], () => changeQuery({ ...without, open: 0 })), " ");
  }
}
