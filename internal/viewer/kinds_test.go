package viewer

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// The cause of a burst of errors is three clicks away from the page, even if half of the
// entries at that time are unrelated.
func TestPageBurstCause(t *testing.T) {
	s := newSite(t)
	now := time.Now()
	s.insert(shopEntries(now.Add(-2*time.Hour), 900)...)
	details := `{"err":{"stack":"IllegalStateException: no connection\n\tat com.shop.Orders.save(Orders.java:7)\n` +
		`\tat org.springframework.A.b(A.java:1)\n\tat org.springframework.A.c(A.java:2)\n` +
		`Caused by: java.net.SocketTimeoutException: db-primary:5432\n\tat java.net.Socket.read(Socket.java:1)"}}`
	burst := shopEntries(now, 1000)
	for i := range burst {
		burst[i].timestamp = timestamp(now.Add(time.Duration(i-len(burst)) * time.Second / 10))
		if i%2 == 0 {
			burst[i] = testEntry{"error", fmt.Sprintf("order %d failed", i), burst[i].timestamp, details}
		}
	}
	s.insert(burst...)
	p := openTab(t, s.url+"/", desktop)
	p.wait("isLoaded()")
	p.click(`$("#kindsView")`)
	p.wait(`isLoaded() && $(".kind")`)
	p.check(`$(".kind .text").textContent`, "neworder # failed")
	p.click(`$(".kind")`)
	p.wait(`isLoaded() && state.entries.length === 500`)
	p.click(`$(".row .head")`)
	p.wait(`$(".row.open .panel b")`)
	p.check(`$(".facts b").textContent`, "Caused by: java.net.SocketTimeoutException: db-primary:5432\n")
	p.check(`$(".facts b").getBoundingClientRect().bottom < $("#list").getBoundingClientRect().bottom`, true)
}

// Kinds are shown with their counts, and lead to their entries.
func TestPageKinds(t *testing.T) {
	s := newSite(t)
	now := time.Now()
	s.insert(testEntry{"error", "\x1b[31molder", timestamp(now.Add(-3 * time.Hour)), ""})
	for i := range 40 {
		at := timestamp(now.Add(-time.Duration(40-i) * time.Second))
		s.insert(
			testEntry{"error", fmt.Sprintf("timeout after %d ms", i), at, `{"cause":"pool"}`},
			testEntry{"warn", fmt.Sprintf("user %d not found", i%3), at, ""},
		)
	}
	p := openTab(t, s.url+"/", desktop)
	p.wait("isLoaded()")
	p.click(`$("#kindsView")`)
	p.wait(`isLoaded() && $$(".kind").length === 3`)
	p.check("location.search", "?view=kinds")
	p.check(`$$(".kind .text").map((e) => e.textContent).join("|")`, "newuser # not found|newtimeout after # ms|older")
	p.check(`$$(".kind .count").map((e) => e.textContent).join()`, "40,40,1")
	p.check(`$$(".kind .spark rect").length > 1`, true)
	p.check(`$("#notice").hidden && liveText()`, "Not live")
	p.click(`$$(".kind")[1]`)
	p.wait("isLoaded() && state.entries.length === 40")
	p.check("location.search", "?kind=timeout+after+%23+ms&level=error")
	p.check("filters()", "kind = timeout after # ms")
	p.wait("isLive()")
	s.deliver(errorEntry("timeout after 99 ms"), errorEntry("something else"))
	p.wait("state.entries.length === 41")
	p.click(`$(".row .head")`)
	p.wait(`$(".row.open .panel")`)

	p.press("m")
	p.wait(`isLoaded() && $$(".kind").length === 1`)
	p.press("m")
	p.wait("isLoaded() && state.entries.length === 41")

	// The pattern of entries without a message is empty.
	s.insert(testEntry{"fatal", "", timestamp(now), ""}, testEntry{"fatal", "text", timestamp(now), ""})
	s.insert(testEntry{"fatal", "", timestamp(now), ""})
	p.navigate(s.url + "/?view=kinds&level=fatal")
	p.wait(`$(".kind")`)
	p.check(`$(".kind .text").lastChild.textContent`, "(no message)")
	p.click(`$(".kind")`)
	p.wait("isLoaded() && state.entries.length === 2")
	p.check("location.search", "?kind=&level=fatal")
	p.check("filters()", "kind = (empty)")
	p.reload()
	p.wait("isLoaded() && state.entries.length === 2")
	p.click(`$(".chip.set .remove")`)
	p.wait("isLoaded() && state.entries.length === 3")
	p.check("location.search", "?level=fatal")
}

// The kinds of entries whose stored times cannot be read are shown without times. The
// others show how long ago they were seen.
func TestPageKindTimes(t *testing.T) {
	s := newSite(t)
	s.insert(testEntry{"error", "no time", "whenever", ""}, errorEntry("now"))
	p := openTab(t, s.url+"/?view=kinds", desktop)
	p.wait(`isLoaded() && $$(".kind").length === 2`)
	p.check(`$$(".kind .seen").map((e) => e.textContent.replace(/\d+ seconds?/g, "N s")).join("|")`,
		"N s ago – N s ago|")
	p.eval(`window.seen = $(".kind .seen").textContent`)
	p.wait(`$(".kind .seen").textContent !== seen`)
	p.check(`$("#announcement").textContent`, "2 kinds of entries, the most frequent first")
}

// The keys move between kinds, and all kinds can be shown.
func TestPageKindKeys(t *testing.T) {
	s := newSite(t)
	for i := range 60 {
		s.insert(errorEntry("failed in " + strings.Repeat("x", i+1)))
	}
	p := openTab(t, s.url+"/?view=kinds", desktop)
	p.wait(`isLoaded() && $$(".kind").length === 50`)
	p.check(`$("#status").textContent`, "60 kinds of entries, the most frequent first")
	const focused = `$$("#kinds button").indexOf(document.activeElement)`
	p.press("j")
	p.check(focused, 0)
	p.press("ArrowDown", "j", "ArrowUp")
	p.check(focused, 1)
	p.press("PageDown")
	p.check(focused+" > 5", true)
	p.press("Home")
	p.check(focused, 0)
	p.press("/", "Escape")
	p.check(focused, 0)
	p.press("G")
	p.check(focused, 50)
	p.press("Enter")
	p.wait(`$$(".kind").length === 60 && !buttonWith("Show all kinds")`)
	p.press("g", "Enter")
	p.wait("isLoaded() && state.entries.length === 1")
}

// If loading the fields fails, the page loads them again.
func TestPageFieldsRetry(t *testing.T) {
	gate := failGate{path: "/logs/fields"}
	s := newSiteBehind(t, gate.middleware)
	s.insert(testEntry{"error", "x", timestamp(time.Now()), `{"service":"shop"}`})
	s.insert(testEntry{"error", "x", timestamp(time.Now()), `{"service":"shop"}`})
	gate.fails.Store(true)
	p := openTab(t, s.url+"/?fields=1", desktop)
	p.allowErrors("status of 503")
	p.wait(`$("#fields").textContent === "Overloaded"`)
	gate.fails.Store(false)
	p.wait(`$("#fields h3")?.textContent === "service"`)
}

// The fields of the entries are shown beside the list. A click filters by a value.
func TestPageFields(t *testing.T) {
	s := newSite(t)
	for i := range 60 {
		s.insert(testEntry{"error", "x", timestamp(time.Now()),
			fmt.Sprintf(`{"service":"s%d","id":"%d","status":%d}`, i%8, i, 500+i%2)})
	}
	p := openTab(t, s.url+"/", desktop)
	p.wait("isLoaded()")
	p.press("f")
	p.wait(`$$("#fields h3").length === 2`)
	p.check("location.search", "?fields=1")
	p.check(`$$("#fields h3").map((e) => e.textContent).join()`, "status,service")
	p.check(`$("#fields p").textContent`, "of 60 entries")
	p.check(`$$("#fields section")[1].querySelectorAll("li").length`, 5)
	p.click(`buttonWith("more of 8")`)
	p.wait(`$$("#fields section")[1].querySelectorAll("li").length === 8`)
	p.check(`$$("#fields section")[0].querySelectorAll("li").length`, 2)

	p.click(`$$(".field-value")[0]`)
	p.wait("isLoaded() && state.entries.length === 30")
	p.check("filters()", "status = 500")
	p.wait(`$("#fields p").textContent === "of 30 entries"`)
	p.click(`$("#fields [aria-label^='≠ Exclude entries with service = s0']")`)
	p.wait("isLoaded() && state.entries.length < 30 && state.entries.length")
	p.check("filters()", "status = 500,service ≠ s0")
	p.press("f")
	p.wait(`$("#fields").hidden`)

	// Closing the fields does not load the entries again.
	p.press("f")
	p.wait(`$("#fields h3")`)
	p.eval("window.kept = state.entries")
	p.click(`buttonWith("Close")`)
	p.wait(`$("#fields").hidden`)
	p.check("kept === state.entries && location.search", "?details.status=500&not.details.service=s0")
}
