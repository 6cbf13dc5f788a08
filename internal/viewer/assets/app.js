// Starts the page.
//
// The modules form layers. A module imports only modules from layers below its
// own. It reaches higher ones through the event onReload and the functions onList.
//
//	input                    handles controls and keys
//	load                     loads entries
//	tail                     receives new entries
//	list                     the list of entries
//	chart, entry, notice     the histogram, an opened entry, an empty list
//	kinds, fields            the kinds of entries, and the fields beside the list
//	row, stack, values       the line of an entry, text with line breaks, buttons of a value
//	controls, server, export the header and the status line; requests; curl and download
//	key                      the API key
//	state                    what is shown
//	query                    the filters, as in the address
//	dom
//	json, levels, time

import { byId } from "./dom.js";
import "./input.js";
import { onList } from "./list.js";
import { load, loadGap, loadMore, loadNewer } from "./load.js";
import { parseQuery } from "./query.js";
import { onReload, reload, state } from "./state.js";

onReload(load);
Object.assign(onList, { nearEnd: loadMore, nearTop: loadNewer, loadGap });

addEventListener("popstate", () => {
  state.query = parseQuery(location.search);
  byId("search", HTMLInputElement).value = state.query.words; // also if it has the focus
  reload();
});

load();
