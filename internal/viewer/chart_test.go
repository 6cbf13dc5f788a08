package viewer

import (
	"fmt"
	"testing"
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
	p.check(`$$("#bars .bar-warn").length`, 1)
	p.check(`$("#bars").getAttribute("aria-label").startsWith("3 entries from ")`, true)
}
