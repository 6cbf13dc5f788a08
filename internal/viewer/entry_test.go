package viewer

import (
	"fmt"
	"strings"
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
	p.check(`$$(".meta > *").map(e => textOf(e).replace(/ \(.*/, "")).join()`,
		"err,2026-07-02 00:30:00.123 GMT+2,"+at+",entry 2")

	// Numbers and nested values are shown as written.
	p.check(`$$(".facts dt").map(e => e.textContent).join()`, `big,stack,user,list,"",yes`)
	p.check(`textOf($$(".facts dd")[0])`, "12345678901234567890")
	p.check(`textOf($$(".facts dd")[2])`, "{\n  \"id\": 7,\n  \"name\": \"Jörg\"\n}")

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

	// The button of a nested value filters by it.
	p.click(`$$(".value").find(e => textOf(e) === "7").querySelector(".action")`)
	p.wait(`$(".chip.set") && $$(".row").length === 1`)
	p.check("location.search", "?details.user.id=7")
	p.check(`filters()`, "user.id = 7")
}

// "Around this" shows an entry with those before and after it, without filters.
// Scrolling loads more in both directions.
func TestPageEntriesAround(t *testing.T) {
	s := newSite(t)
	s.fill(2000)
	p := openTab(t, s.url+"/?q=ENTRY+1000", desktop)
	p.wait("isLoaded() && state.entries.length === 1")
	p.click(`$(".row .head")`)
	p.click(`buttonWith("Around this")`)
	p.wait("isLoaded() && state.entries.length >= 600 && $('.row.open')")
	p.check("location.search", "?open=1001")
	// 25 newer entries, and the first page above them.
	p.check("state.entries.findIndex((entry) => entry.id === 1001)", 325)
	p.check(`textOf($(".row.open .text")).trim()`, "entry 1000  n=1000")
	p.check("topOf($('.row.open')) - topOf($('#list')) > 100", true)
	p.check("liveText()", "Not live")
	p.eval(`$("#list").scrollTop = 0`)
	p.wait("state.entries[0].id > 1500")
	p.check("new Set(state.entries.map((entry) => entry.id)).size === state.entries.length", true)
	p.check("state.entries.every((entry, i) => !i || entry.id === state.entries[i - 1].id - 1)", true)
	// The rows that were visible stay where they were.
	p.wait("$('#list').scrollTop > 32 * 200")
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
	p.wait("state.entries.length > 300")
	p.check("messages().endsWith('"+anchored+"')", true)
	// The page has ended its tail, so a new entry does not reach it.
	p.check("state.tailing.signal.aborted", true)
	gate.awaitTails(t, 0)
	s.deliver(errorEntry("meanwhile"))
	p.eval("settled()")
	p.check("messages().endsWith('"+anchored+"')", true)
	p.check(`$("#status").textContent`, "around entry 5 Go to newest")
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

// Text with line breaks is shown as such at any depth, with letters unescaped. In
// a stack trace, causes are bold and frames of libraries are folded.
func TestPageStackTraces(t *testing.T) {
	s := newSite(t)
	const stack = `"Error: boom\n    at pay (/app/pay.js:3:1)\n    at a (/app/node_modules/x/a.js:1:1)` +
		`\n    at b (node:internal/b:2:2)\nCaused by: Error: no route\n    at dial (/app/net.js:9:9)` +
		`\n    at c (node:internal/c:3:3)"`
	s.insert(testEntry{"error", "failed", timestamp(time.Now()),
		`{"user":{"name":"\u0418\u043c\u044f"},"err":{"stack":` + stack + `},"list":[{"text":"a\nb"}]}`})
	p := openTab(t, s.url+"/?open=1", desktop)
	p.wait(`$(".panel")`)
	p.check(`$$(".facts .block").length`, 2)
	p.check(`$(".facts .block").innerText.startsWith("Error: boom\n    at pay (/app/pay.js:3:1)\n")`, true)
	p.check(`$(".facts .block b").textContent`, "Caused by: Error: no route\n")
	p.check(`$(".facts summary").textContent`, "2 library frames")
	p.check(`$(".facts details").open`, false)
	// A single library frame is not folded.
	p.check(`$(".facts .block > span.library").textContent`, "    at c (node:internal/c:3:3)")
	p.check(`$(".facts dd").textContent.includes('"name": "Имя"')`, true)
	p.check(`$(".row .extra").textContent.includes("Имя")`, true)
	p.eval(`navigator.clipboard.writeText = async (text) => { window.copied = text; }`)
	p.eval(`buttonWith("Copy as JSON").click()`)
	p.wait("window.copied")
	p.check(`JSON.parse(copied).details.err.stack.split("\n").length`, 7)
	p.check(`copied.includes("\\u0418")`, true)
}

// The age of an opened entry is kept up to date.
func TestPageAge(t *testing.T) {
	s := newSite(t)
	s.insert(errorEntry("fresh"))
	p := openTab(t, s.url+"/?open=1", desktop)
	p.wait(`$(".age")`)
	p.eval(`window.age = $(".age").textContent`)
	p.wait(`$(".age").textContent !== age`)
}

// The entries of the same request can be shown.
func TestPageSameRequest(t *testing.T) {
	s := newSite(t)
	for i := range 9 {
		s.insert(testEntry{"error", "x", timestamp(time.Now()), fmt.Sprintf(`{"ctx":{"request_id":"r%d"}}`, i%3)})
	}
	p := openTab(t, s.url+"/?words=x&open=4", desktop)
	p.wait(`isLoaded() && $(".panel")`)
	p.click(`buttonWith("Same ctx.request_id")`)
	p.wait("isLoaded() && state.entries.length === 3")
	p.check("location.search", "?details.ctx.request_id=r0&open=4")
}

// Large text and details are shown in a time proportional to their length.
func TestPageLargeEntries(t *testing.T) {
	s := newSite(t)
	s.insert(
		testEntry{"error", "calls\n" + strings.Repeat("(", 1<<20), timestamp(time.Now()), ""},
		testEntry{"error", strings.Repeat("line\n", 100_000), timestamp(time.Now()), ""},
		testEntry{"error", "many", timestamp(time.Now()), `{"list":{` + manyMembers(50_000) + `}}`},
	)
	p := openTab(t, s.url+"/", desktop)
	p.wait("isLoaded()")
	for id := 1; id <= 3; id++ {
		p.eval(fmt.Sprintf("changeQuery({ open: %d })", id))
		p.wait(fmt.Sprintf("isLoaded() && row(%d)?.querySelector('.panel')", id))
		p.check(`$$(".panel *").length < 12_000`, true)
		p.check(fmt.Sprintf(`$(".panel").textContent.length > %d`, 500_000), true)
	}
}

// A field of details may have the name of a column.
func TestPageFieldNamedLevel(t *testing.T) {
	s := newSite(t)
	s.insert(testEntry{"error", "one", timestamp(time.Now()), `{"level":"high"}`})
	s.insert(testEntry{"error", " \n ", timestamp(time.Now()), `{"level":"low"}`})
	p := openTab(t, s.url+"/?open=1", desktop)
	p.wait(`isLoaded() && $(".panel")`)
	p.check("messages()", "(no message)|one")
	p.click(`$(".facts .action")`)
	p.wait("isLoaded() && state.entries.length === 1")
	p.check("location.search", "?details.level=high")
	p.click(`$(".chip.set .invert")`)
	p.wait("isLoaded() && state.entries[0].id === 2")
	p.check("location.search", "?not.details.level=high")
}

// A value that is too long for an address has no buttons that filter by it.
func TestPageLongValue(t *testing.T) {
	s := newSite(t)
	s.insert(testEntry{"error", "x", timestamp(time.Now()),
		`{"long":"` + strings.Repeat("x", 5000) + `","short":"x"}`})
	p := openTab(t, s.url+"/?open=1", desktop)
	p.wait(`isLoaded() && $(".panel")`)
	p.check(`$$(".facts .value").map((e) => [...e.querySelectorAll("button")].map((b) => b.textContent).join()).join("|")`,
		"+ column|=,≠,+ column")
}

// manyMembers returns n members of a JSON object.
func manyMembers(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"member %d":%d`, i, i)
	}
	return b.String()[1:]
}

// A list that starts further down becomes live when its start is reached.
func TestPageAnchoredListReachesNewest(t *testing.T) {
	s := newSite(t)
	s.fill(500)
	p := openTab(t, s.url+"/?open=100", desktop)
	p.wait("isLoaded() && state.anchored")
	p.eval(`$("#list").scrollTop = 0`)
	p.wait("!state.anchored && isLive()")
	p.check("state.entries[0].id", 500)
	s.deliver(errorEntry("new"))
	p.wait(`!$("#pill").hidden`)
	p.press("g")
	p.wait(`messages().startsWith("new|entry 499|")`)
}
