// The notice that fills the list when there are no entries to show.

import { clearFilters } from "./controls.js";
import { button, byId, copyButton, element } from "./dom.js";
import { apiKey } from "./key.js";
import { isFiltered } from "./query.js";
import { reload, state } from "./state.js";

const notice = byId("notice", HTMLElement);

/** Shows why the list is empty, if it is. */
export function showNotice() {
  const { query, entries, failure, isBusy } = state;
  const hasFilters = isFiltered(query);
  document.body.classList.toggle("blank", !entries.length && !hasFilters && !isBusy);
  if (entries.length || isBusy) {
    hideNotice();
    return;
  }
  const isLive = !query.until && !query.paused;
  const reason = JSON.stringify([failure, hasFilters, isLive]);
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
    const hint = isLive
      ? "New entries that match appear here automatically."
      : "Other filters may match entries.";
    return [
      element("h2", "", "No entries match these filters"),
      element("p", "", hint),
      button("primary", ["Clear all filters"], clearFilters),
    ];
  }
  const command = exampleCommand();
  return [
    element("h2", "", "No entries yet"),
    element("p", "", "Send one from a terminal. It appears here automatically:"),
    element("pre", "", command),
    copyButton("primary", "Copy command", () => command),
  ];
}

function exampleCommand() {
  const header = apiKey() ? " -H 'Authorization: Bearer YOUR-KEY'" : "";
  const entry = '{"level":"error","message":"Hello, logs","service":"shop"}';
  return `curl ${location.origin}/ingest${header} \\\n  -d '${entry}'`;
}
