package viewer

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
)

var timedPage = flag.String("page", "", "`URL` of the service that TestPageTimes measures; it must not require a key")

// TestPageTimes measures how fast the page shows its content. This command measures the
// figures in docs/performance.md:
//
//	go test -run TestPageTimes -v ./internal/viewer -page http://127.0.0.1:3002
func TestPageTimes(t *testing.T) {
	const rounds = 9
	url := strings.TrimSuffix(*timedPage, "/")
	if url == "" {
		s := newSite(t)
		s.fill(1000)
		url = s.url
	}
	p := openTab(t, url+"/", desktop)
	p.call("Page.addScriptToEvaluateOnNewDocument", object{"source": timesScript}, nil)
	times := make(map[string][]float64)
	for range rounds {
		p.reload()
		p.wait("isLoaded() && times.row && times.chart")
		p.press("/")
		p.typeText("noentryhasthis")
		p.wait("isLoaded() && times.empty")
		for name, ms := range p.eval("times").(map[string]any) {
			times[name] = append(times[name], ms.(float64))
		}
		p.eval(`changeQuery({ words: "" })`)
	}
	for _, name := range []string{"row", "chart", "empty"} {
		slices.Sort(times[name])
		t.Logf("%s: median %.0f ms, from %.0f to %.0f ms", name, times[name][rounds/2], times[name][0], times[name][rounds-1])
	}
	if got := fmt.Sprint(len(times["row"]), len(times["chart"]), len(times["empty"])); got != "9 9 9" {
		t.Errorf("got %s times, want 9 of each", got)
	}
}

// timesScript measures, in ms, the time from the start of a load to the first row and to
// the first bars, and the time from the last key to the empty result.
const timesScript = `
	window.times = {};
	let typed = 0;
	addEventListener("input", () => { typed = performance.now(); }, true);
	const seen = (name, selector, since) => {
		if (!times[name] && document.querySelector(selector)) times[name] = performance.now() - since;
	};
	new MutationObserver(() => {
		seen("row", ".row", 0);
		seen("chart", "#bars .bar", 0);
		if (typed) seen("empty", "#notice:not([hidden]) h2", typed);
	}).observe(document, { subtree: true, childList: true, attributes: true });
`
