// Starts the page.
//
// The modules form layers. A module imports only from lower layers, and reaches
// higher ones through onReload and onNearEnd:
//
//	input                         what controls and keys do
//	load, tail                    entries from the server
//	list                          the list of entries
//	chart, notice, entry          other parts of the page
//	controls, server, key
//	state                         what is shown
//	query, levels, time, json, dom

import "./input.js";
import { onNearEnd } from "./list.js";
import { load, loadMore } from "./load.js";
import { parseQuery } from "./query.js";
import { onReload, reload, state } from "./state.js";

onReload(load);
onNearEnd(loadMore);

addEventListener("popstate", () => {
  state.query = parseQuery(location.search);
  reload();
});

load();
