package viewer

import (
	"testing"
	"time"
)

func TestPageOpenedEntry(t *testing.T) {
	s := newSite(t)
	at := timestamp(time.Date(2026, 7, 1, 22, 30, 0, 123456789, time.UTC))
	s.insert(
		testEntry{"error", "other", at, `{"user":{"id":8}}`},
		testEntry{"err", "line one\n  line two", at,
			`{"big":12345678901234567890,"stack":"a\n  b","user":{"id":7,"name":"J\u00f6rg"},` +
				`"list":[1,{"x":null}],"":"odd","yes":true}`},
	)
	p := openTab(t, s.url+"/", desktop)
	p.wait("isLoaded()")
	p.click(`$(".row .head")`)
	p.wait(`$(".row.open .panel")`)
	p.check("location.search", "?open=2")
	p.check(`$(".panel .message").textContent`, "line one\n  line two")
	// The time is shown in the browser's zone, here Berlin, and as stored.
	p.check(`$$(".meta > *").map(e => e.textContent.replace(/ \(.*/, "")).join()`,
		"err,2026-07-02 00:30:00.123 GMT+2,"+at+",entry 2")

	// Numbers and nested values are shown as written.
	p.check(`$$(".facts dt").map(e => e.textContent).join()`, `big,stack,user,list,"",yes`)
	p.check(`$$(".facts dd")[0].textContent`, "12345678901234567890")
	p.check(`$$(".facts dd")[2].textContent`, "{\n  \"id\": 7,\n  \"name\": \"J\\u00f6rg\"\n}")

	p.eval(`navigator.clipboard.writeText = async (text) => { window.copied = text; }`)
	p.click(`buttonWith("Copy message")`)
	p.wait("window.copied")
	p.check("copied", "line one\n  line two")
	p.click(`buttonWith("Copy as JSON")`)
	p.wait(`copied.startsWith("{")`)
	p.check("copied.includes('12345678901234567890') && JSON.parse(copied).details.user.name", "Jörg")
	p.click(`buttonWith("Copy link")`)
	p.wait(`copied.startsWith("http")`)
	p.check("copied", s.url+"/?open=2")

	// A click on a nested value filters by it.
	p.click(`$$(".value").find(b => b.textContent === "7")`)
	p.wait(`$(".chip.set") && $$(".row").length === 1`)
	p.check("location.search", "?details.user.id=7")
	p.check(`$(".chip.set").textContent`, "user.id = 7×")
}

func TestPageEntriesAround(t *testing.T) {
	s := newSite(t)
	s.fill(300)
	p := openTab(t, s.url+"/?q=ENTRY+150", desktop)
	p.wait("isLoaded() && state.entries.length === 1")
	p.click(`$(".row .head")`)
	p.click(`buttonWith("Show entries around this time")`)
	p.wait("isLoaded() && state.entries.length === 120")
	p.check("location.search", "?since=2026-11-22T00%3A01%3A30Z&until=2026-11-22T00%3A03%3A30Z&open=151")
	p.check(`$(".row.open .text").textContent.trim()`, "entry 150  n=150")
	p.check("liveText()", "Not live")
}

// The address of an opened entry that is further down makes the list start there.
// New entries are not put on top of it: those between would be missing.
func TestPageAnchoredList(t *testing.T) {
	var gate tailGate
	s := newSiteBehind(t, gate.middleware)
	s.fill(2000)
	p := openTab(t, s.url+"/?open=5", desktop)
	p.wait(`$(".row.open .panel")`)
	p.wait("isLoaded()")
	const anchored = "entry 4|entry 3|entry 2|entry 1|entry 0"
	p.check("messages()", anchored)
	// The page has ended its tail, so a new entry does not reach it.
	p.check("state.tailing.signal.aborted", true)
	gate.awaitTails(t, 0)
	s.deliver(errorEntry("meanwhile"))
	p.eval("settled()")
	p.check("messages()", anchored)
	p.check(`$("#status").textContent`, "from entry 5, newest first Go to newest")
	p.check("liveText()", "Not live")

	p.click(`buttonWith("Go to newest")`)
	p.wait(`messages().startsWith("meanwhile|entry 1999|entry 1998|")`)
	p.wait("isLive()")
	s.deliver(errorEntry("live again"))
	p.wait(`messages().startsWith("live again|meanwhile|entry 1999|")`)

	// The live button leads to the newest entries, too.
	p.navigate(s.url + "/?open=5&live=0")
	p.wait("state.anchored && isLoaded()")
	p.click(`$("#live")`)
	p.wait("isLive()")
	p.wait(`messages().startsWith("live again|meanwhile|")`)
}
