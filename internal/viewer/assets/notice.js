// The notice that fills the list when there are no entries to show.

import { activeFilters, clearFilters } from "./controls.js";
import { button, byId, copyButton, element } from "./dom.js";
import { curlCommand } from "./export.js";
import { isLevel } from "./levels.js";
import { filterParams, isFiltered, without } from "./query.js";
import { getEntries } from "./server.js";
import { canBeLive, changeQuery, reload, state } from "./state.js";

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
  const isLive = canBeLive() && !query.paused;
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
    element("p", "", `Send one from a terminal${isLive ? ". It appears here automatically" : ""}:`),
    element("pre", "", command),
    copyButton("primary", "Copy command", () => command),
  ];
}

/**
 * Adds a button for each filter without which the list would not be empty. If there
 * is no such filter, adds one button that removes several, all of which are necessary.
 * @param {HTMLElement} box
 */
async function suggestWithout(box) {
  const { query, loading } = state;
  const filters = activeFilters();
  const { words, levels, since, until } = query;
  const shown = levels.filter(isLevel);
  if (words) filters.push({ text: `search for ${words}`, params: [["words", words]] });
  if (shown.length) filters.push({ text: `level ${shown.join()}`, params: shown.map((level) => ["level", level]) });
  if (since && !until) filters.push({ text: "time range", params: [["since", since]] });
  if (filters.length < 2) return;
  const rest = (/** @type {Filter[]} */ removed) => without(query, removed.flatMap(({ params }) => params));
  const finds = async (/** @type {Filter[]} */ removed) => {
    const params = filterParams(rest(removed));
    params.set("limit", "1");
    return (await getEntries(params, loading.signal)).length > 0;
  };
  const suggest = (/** @type {Filter[]} */ removed) => {
    const text = `Remove ${removed.map((filter) => filter.text).join(" and ")}`;
    box.append(button("chip", [text], () => changeQuery({ ...rest(removed), open: 0 })), " ");
  };
  try {
    for (const filter of filters) if (await finds([filter])) suggest([filter]);
    if (box.childElementCount) return;
    let removed = filters;
    for (const filter of filters) {
      const fewer = removed.filter((other) => other !== filter);
      if (await finds(fewer)) removed = fewer;
    }
    if (removed.length < filters.length) suggest(removed);
  } catch {
    // The next load shows why.
  }
}
