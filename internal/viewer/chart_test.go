package viewer

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"
)

// Dragging over the histogram selects a time range.
func TestPageHistogramDrag(t *testing.T) {
	s := newSite(t)
	s.fill(3600)
	p := openTab(t, s.url+"/?zone=utc", desktop)
	p.wait(`isLoaded() && $("#bars .hover") && state.entries.length`)
	p.check("state.chart.step", 60_000)
	p.check("(state.chart.end - state.chart.first) / state.chart.step", 60)
	x := func(slot float64) float64 {
		const position = `$("#bars").getBoundingClientRect().left + %v * $("#bars").clientWidth / 60`
		return p.eval(fmt.Sprintf(position, slot)).(float64)
	}
	y := p.eval(`$("#bars").getBoundingClientRect().top + 30`).(float64)
	from, to := x(10.5), x(19.5)
	p.mouse("mouseMoved", from, y)
	p.check(`$("#tip").hidden`, false)
	p.check(`$("#tip").innerText.replace(/\s+/g, " ")`, "Nov 22, 00:10 – Nov 22, 00:11 error 60")
	p.mouse("mousePressed", from, y)
	p.mouse("mouseMoved", (from+to)/2, y)
	p.mouse("mouseMoved", to, y)
	p.check(`$("#tip").innerText`, "Nov 22, 00:10 – Nov 22, 00:20")
	p.mouse("mouseReleased", to, y)
	p.wait(`location.search.includes("until")`)
	p.check("location.search", "?since=2026-11-22T00%3A10%3A00Z&until=2026-11-22T00%3A20%3A00Z&zone=utc")
	p.wait("isLoaded() && state.entries.length")
	p.check("state.entries[0].message", "entry 1199")
	p.check("state.chart.levels.error", 600)
	p.check("liveText()", "Not live")
	p.check(`$("#range").value`, "custom")
}

// Entries that the tail delivers are added to the histogram and to the counts of
// the level buttons.
func TestPageHistogramLive(t *testing.T) {
	s := newSite(t)
	s.insert(errorEntry("first"))
	p := openTab(t, s.url+"/", desktop)
	p.wait("isLive() && isLoaded()")
	s.deliver(errorEntry("second"))
	warning := errorEntry("third")
	warning.level = "warning"
	s.deliver(warning)
	p.wait(`levelButtons() === "fatal 0,error 2,unknown 0,warn 1"`)
	p.check(`$$("#bars .lv-warn").length`, 1)
	p.check(`$("#bars").getAttribute("aria-label").startsWith("3 entries from ")`, true)
}

// A stallGate is a middleware that can delay responses of one path.
type stallGate struct {
	path    string
	mu      sync.Mutex
	release chan struct{} // nil if requests pass
}

func (g *stallGate) middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == g.path {
			g.mu.Lock()
			release := g.release
			g.mu.Unlock()
			if release != nil {
				select {
				case <-release:
				case <-r.Context().Done():
				}
			}
		}
		next.ServeHTTP(w, r)
	})
}

// stall delays requests until the returned function is called.
func (g *stallGate) stall() (release func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	waiting := make(chan struct{})
	g.release = waiting
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.release = nil
		close(waiting)
	}
}

// While a histogram is being loaded, the previous one and the counts stay, and
// dragging works.
func TestPageHistogramDragWhileLoading(t *testing.T) {
	gate := stallGate{path: "/logs/histogram"}
	s := newSiteBehind(t, gate.middleware)
	s.fill(3600)
	p := openTab(t, s.url+"/?zone=utc", desktop)
	p.wait(`isLoaded() && $("#bars .hover")`)
	release := gate.stall()
	defer release()
	p.eval(`changeQuery({ words: "entry" })`)
	p.wait(`$("#chart.stale") && !state.isBusy`)
	p.check("levelButtons()", "fatal 0,error 3,600,unknown 0,Clear all")
	p.check(`$$("#bars g rect").length`, 60)
	box := p.eval(`(({ left, top, width }) => [left + width / 60 * 10.5, top + 30, width / 60])` +
		`($("#bars").getBoundingClientRect())`).([]any)
	x, y, slot := box[0].(float64), box[1].(float64), box[2].(float64)
	p.mouse("mousePressed", x, y)
	p.mouse("mouseMoved", x+4*slot, y)
	// Even a chart that arrives while the pointer is down does not end the drag.
	p.eval("(state.chart = null, dispatchEvent(new Event('resize')))")
	p.mouse("mouseMoved", x+9*slot, y)
	p.mouse("mouseReleased", x+9*slot, y)
	p.wait(`location.search.includes("until")`)
	p.check("location.search", "?words=entry&since=2026-11-22T00%3A10%3A00Z&until=2026-11-22T00%3A20%3A00Z&zone=utc")
}

// Single entries with a wrong clock do not squeeze the histogram of the others.
func TestPageHistogramOutliers(t *testing.T) {
	s := newSite(t)
	old, future := errorEntry("old"), errorEntry("future")
	old.timestamp, future.timestamp = "1970-01-01T00:00:00Z", "2099-01-01T00:00:00Z"
	s.insert(old, future)
	s.fill(3600)
	p := openTab(t, s.url+"/?zone=utc", desktop)
	p.wait("isLoaded()")
	p.check("state.chart.step", 60_000)
	p.check("(state.chart.end - state.chart.first) / state.chart.step", 60)
	p.check("levelButtons()", "fatal 0,error 3,602,unknown 0")
	p.check(`$("#outliers").innerText.replace(/\s+/g, " ")`, "◂ 1 earlier 1 later ▸")
	p.click(`buttonWith("◂ 1 earlier")`)
	p.wait(`isLoaded() && messages() === "old"`)
	p.check("location.search", "?until=2026-11-22T00%3A00%3A00Z&zone=utc")
}

// Among few entries, one whose clock is wrong by years is an outlier, too. The start of
// the time range stays.
func TestPageHistogramFewEntries(t *testing.T) {
	s := newSite(t)
	now := time.Now()
	for _, at := range []time.Time{now.Add(-25 * time.Hour), now.Add(-time.Hour), now, now.AddDate(70, 0, 0)} {
		s.insert(testEntry{"error", "x", timestamp(at), ""})
	}
	p := openTab(t, s.url+"/?since=24h", desktop)
	p.wait("isLoaded()")
	p.check("state.chart.levels.error", 3)
	p.check("[state.chart.earlier, state.chart.later].join()", "0,1")
	p.check("state.chart.step <= 3_600_000", true)
	p.check(`$$("#bars g rect").length`, 2)
	// Few entries over some days are not outliers.
	p = openTab(t, s.url+"/?until="+now.UTC().Add(time.Second).Format(time.RFC3339), desktop)
	p.wait("isLoaded()")
	p.check("[state.chart.earlier, state.chart.later].join()", "0,0")
	p.check(`$$("#bars g rect").length >= 2`, true)
}

// A histogram that takes longer than the page waits before it loads another one is shown.
func TestPageSlowHistogram(t *testing.T) {
	gate := stallGate{path: "/logs/histogram"}
	s := newSiteBehind(t, gate.middleware)
	s.fill(1)
	p := openTab(t, s.url+"/", desktop)
	p.wait("isLive() && isLoaded()")
	p.eval(`(() => {
		const realTimeout = setTimeout;
		window.setTimeout = (f, ms) => realTimeout(f, ms === 3000 ? 50 : ms);
		window.notes = [];
		new MutationObserver(() => notes.push($("#chartNote").textContent)).observe($("#chartNote"), { childList: true });
	})()`)
	entries := make([]testEntry, 100+tailBurst)
	for i := range entries {
		entries[i] = errorEntry("entry")
	}
	for range 2 {
		release := gate.stall()
		s.deliver(entries...) // so many that the tail skips some
		p.wait(`$("#chart.stale")`)
		s.deliver(entries...)
		p.wait("state.pending.length === 0")
		p.eval("new Promise((resolve) => setTimeout(resolve, 300))")
		release()
		p.wait(`!$("#chart.stale")`)
	}
	p.wait("state.chart?.levels.error === 2401")
	p.check("notes.filter((note) => note).join()", "")
}
