package viewer

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"
)

// An empty log shows how to send an entry. The entry then appears.
func TestPageEmptyLog(t *testing.T) {
	s := newSite(t)
	p := openTab(t, s.url+"/", desktop)
	p.wait(`$("#notice pre")`)
	p.check(`$("#notice pre").textContent.includes("curl '`+s.url+`/ingest' -d '{")`, true)
	p.wait("isLive()")
	s.deliver(errorEntry("the first"))
	p.wait(`$$(".row").length === 1`)
	p.check("messages()", "the first")
	p.check(`$("#notice").hidden`, true)
}

func TestPageFirstView(t *testing.T) {
	s := newSite(t)
	now := time.Now()
	s.insert(
		testEntry{"error", "older", timestamp(now.Add(-time.Hour)), `{"service":"shop","n":12345678901234567890}`},
		testEntry{"critical", "newer", timestamp(now.Add(-time.Minute)), ""},
		testEntry{"weird", "no time", "whenever", ""},
	)
	p := openTab(t, s.url+"/", desktop)
	p.wait(`$$(".row").length === 3`)
	p.wait("isLoaded()")
	p.check("messages()", "no time|newer|older")
	p.check(`$$(".level").map(e => e.className + " " + e.textContent).join()`,
		"level lv-unknown weird,level lv-fatal critical,level lv-error error")
	p.check(`$(".row:nth-child(3) .extra").textContent.trim()`, "service=shop n=12345678901234567890")
	p.check("levelButtons()", "fatal 1,error 1,unknown 1")
	p.check(`$$("#bars g rect").length`, 2)
	p.check(`$("#status").textContent`, "3 entries")
}

// Every control must have a name for screen readers.
func TestPageControlNames(t *testing.T) {
	s := newSite(t)
	s.fill(3)
	p := openTab(t, s.url+"/?level=error&q=entry&since=2026-11-22&until=2026-11-23&details.n=1&open=2", desktop)
	p.wait(`$(".panel")`)
	p.wait("isLoaded()")
	p.check(`$$("button, input, select").length > 20`, true)
	p.check(`$$("button, input, select")
		.filter(e => !e.textContent.trim() && !e.getAttribute("aria-label") && !e.labels?.length)
		.map(e => e.outerHTML).join()`, "")
}

// Whatever an entry contains is shown as text.
func TestPageMarkupIsText(t *testing.T) {
	s := newSite(t)
	attack := `<img src=x onerror="document.title='broken'"><script>document.title='broken'</script>` +
		`"'><b>&amp;</b>` + "\u202e${1}"
	encoded, err := json.Marshal(attack)
	if err != nil {
		t.Fatal(err)
	}
	quoted := string(encoded)
	details := strings.ReplaceAll(
		`{ATTACK:ATTACK,"__proto__":{"polluted":ATTACK},"constructor":ATTACK,"nested":{ATTACK:[ATTACK]}}`, "ATTACK", quoted)
	s.insert(
		testEntry{attack, attack, attack, details},
		testEntry{"error", attack + `,"details":{}`, timestamp(time.Now()), attack},
	)
	p := openTab(t, s.url+"/", desktop)
	p.allowErrors("TrustedHTML", "Trusted Type")
	p.wait(`$$(".row").length === 2`)
	p.wait("isLoaded()")
	p.eval(`$$(".head").forEach(e => e.click())`)
	p.wait(`$$(".panel").length === 2`)
	p.check(`$$("main img, main script, #filters img").length`, 0)
	p.check(`$$(".panel .message")[1].textContent`, attack)
	p.check(`$$(".panel dd").some(e => textOf(e) === `+quoted+`)`, true)
	p.check(`$$(".panel dt").length`, 4+1)
	p.check(`({}).polluted === undefined`, true)

	// The same goes for filters and the address.
	p.click(`$$(".panel .value").filter(e => e.textContent.startsWith("<img"))[1].querySelector(".action")`)
	p.wait(`$(".chip.set") && state.entries.length === 1`)
	p.eval(`changeQuery({ q: ` + quoted + `, levels: [` + quoted + `] })`)
	p.wait(`!state.isBusy && state.entries.length === 1 && $("mark")`)
	p.check(`$$("main img, main script, header img").length`, 0)
	p.check(`document.title.endsWith(" · Logs")`, true)

	// The policy prevents markup even if a script tries to set it.
	p.check(`(() => {
		try {
			document.createElement("div").innerHTML = "<b>x</b>";
			return "set markup";
		} catch (e) {
			return e.name;
		}
	})()`, "TypeError")
}

// The document contains only the rows in and near the visible part.
func TestPageManyEntries(t *testing.T) {
	const n = 10_000
	s := newSite(t)
	s.fill(n)
	p := openTab(t, s.url+"/", desktop)
	p.wait("state.entries.length")
	// Scrolling to the end loads older entries.
	for loaded := 0; loaded < n; {
		p.eval(`$("#list").scrollTop = 1e9`)
		p.wait(fmt.Sprintf("state.entries.length > %d", loaded))
		loaded = int(p.eval("state.entries.length").(float64))
	}
	p.wait("state.atEnd")
	p.check("new Set(state.entries.map(e => e.id)).size", n)
	p.eval(`$("#list").scrollTop = 1e9`)
	p.wait(`messages().endsWith("entry 1|entry 0")`)
	p.check(`$$(".row").length < 80`, true)
	p.check(`(async () => {
		const list = $("#list");
		const box = list.getBoundingClientRect();
		for (let y = 0; y < list.scrollHeight - 800; y += 9973) {
			list.scrollTop = y;
			await frame();
			await frame();
			const shown = document.elementFromPoint(box.left + 300, box.top + box.height / 2).closest(".row");
			const want = state.entries[Math.floor((list.scrollTop + box.height / 2) / 32)].id;
			if (Number(shown?.dataset.id) !== want) return "at " + y + ": " + shown?.dataset.id + ", want " + want;
		}
		return "right rows";
	})()`, "right rows")
}

func TestPageOnPhone(t *testing.T) {
	s := newSite(t)
	s.fill(50)
	p := openTab(t, s.url+"/", phone)
	p.wait(`$$(".row").length > 5`)
	p.wait("isLoaded()")
	p.click(`$(".row .head")`)
	p.wait(`$(".row.open .panel")`)
	p.check("document.documentElement.scrollWidth <= innerWidth", true)
	p.check(`$(".panel").getBoundingClientRect().right <= innerWidth`, true)
	// A phone has no columns.
	p.check(`$$(".facts .action").filter((e) => e.checkVisibility()).map((e) => e.textContent).join()`, "=,≠")

	// Wrapped rows are as high as their text.
	s.insert(errorEntry(strings.Repeat("word ", 40)))
	p.navigate(s.url + "/?wrap=1")
	p.wait(`isLoaded() && row(51).offsetHeight > 100 && row(50).offsetHeight === 54`)
	p.check(`$(".row .text").getBoundingClientRect().bottom <= $(".row").getBoundingClientRect().bottom`, true)
}

// A proxy may serve the page under a path.
func TestPageUnderPath(t *testing.T) {
	s := newSite(t)
	s.fill(3)
	proxy := httptest.NewServer(http.StripPrefix("/some/path", s.handler))
	t.Cleanup(func() {
		s.endTails()
		proxy.Close()
	})
	p := openTab(t, proxy.URL+"/some/path/", desktop)
	p.wait(`$$(".row").length === 3`)
	p.wait("isLoaded()")
	p.wait("isLive()")
	p.check(`getComputedStyle($("#list")).position`, "absolute")
	p.click(`$(".row .head")`)
	p.wait(`location.pathname + location.search === "/some/path/?open=3"`)
}

// The page shows the server's error message.
func TestPageServerError(t *testing.T) {
	s := newSite(t)
	resp, err := http.Get(s.url + "/logs?since=tomorrow")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var want struct{ Error string }
	if err := json.NewDecoder(resp.Body).Decode(&want); err != nil || want.Error == "" {
		t.Fatalf("error of the server: %q, %v", want.Error, err)
	}
	p := openTab(t, s.url+"/?since=tomorrow", desktop)
	p.allowErrors("status of 400")
	p.wait(`$("#notice h2")`)
	shown := p.eval(`$("#notice p").textContent`).(string)
	// The message has the current time as an example.
	clock := regexp.MustCompile(`\d+-\d+-\d+T[\d:]+Z`)
	if !strings.EqualFold(clock.ReplaceAllString(shown, ""), clock.ReplaceAllString(want.Error, "")) {
		t.Errorf("the page shows %q, want %q", shown, want.Error)
	}
	if first := shown[:1]; first != strings.ToUpper(first) {
		t.Errorf("the page shows %q, want a capital letter at the start", shown)
	}
}

// If loading fails, the page keeps what it has, and continues when the server
// responds again. The user can also retry.
func TestPageRetry(t *testing.T) {
	var gate failGate
	s := newSiteBehind(t, gate.middleware)
	s.fill(12_000)
	p := openTab(t, s.url+"/", desktop)
	p.allowErrors("status of 503")
	p.wait("state.entries.length === 300 && isLoaded()")
	gate.fails.Store(true)
	p.eval(`$("#list").scrollTop = 1e9`)
	p.wait(`$("#status").textContent === "Overloaded Try again"`)
	p.check("state.entries.length", 300)
	gate.fails.Store(false)
	p.wait("state.entries.length > 300")
	const loaded = `isLoaded() && $("#status").textContent === "newest 300 entries, scroll for older ones"`
	gate.fails.Store(true)
	p.eval("changeQuery({ q: 'entry' })")
	p.wait(`$("#notice h2")?.textContent === "Cannot load the log"`)
	gate.fails.Store(false)
	p.wait(loaded)

	gate.fails.Store(true)
	p.eval("changeQuery({ q: '' })")
	p.wait(`!$("#notice").hidden`)
	gate.fails.Store(false)
	p.click(`buttonWith("Try again")`)
	p.wait(loaded)
}

// Text can be selected: a selection neither opens an entry nor filters.
func TestPageTextSelection(t *testing.T) {
	s := newSite(t)
	s.insert(testEntry{"error", "unforgettable", timestamp(time.Now()), `{"service":"checkout"}`})
	p := openTab(t, s.url+"/", desktop)
	p.wait("isLoaded()")
	const selected = "String(getSelection()).trim()"
	word := p.eval(`(({ left, top }) => [left + 20, top + 8])($(".row .msg").getBoundingClientRect())`).([]any)
	x, y := word[0].(float64), word[1].(float64)

	p.dragText(x, x+30, y)
	p.check(selected+".length > 1", true)
	p.check("state.opened.size", 0)

	p.eval("getSelection().removeAllRanges()")
	p.doubleClick(x, y)
	p.check(selected, "unforgettable")
	p.check("state.opened.size", 1)

	p.eval("getSelection().removeAllRanges()")
	value := p.eval(`(({ left, top, height }) => [left + 5, top + height / 2])` +
		`($(".facts .value span").getBoundingClientRect())`).([]any)
	x, y = value[0].(float64), value[1].(float64)
	p.dragText(x, x+30, y)
	p.check(selected+".length > 1", true)
	p.check("location.search", "?open=1")
	p.doubleClick(x, y)
	p.check(selected, "checkout")
}

// Rows whose entries arrived late are marked, unless the list is sorted by time.
func TestPageLateEntries(t *testing.T) {
	s := newSite(t)
	at := time.Date(2026, 11, 22, 17, 42, 0, 0, time.UTC)
	s.insert(
		testEntry{"error", "on time", timestamp(at), ""},
		testEntry{"error", "late", timestamp(at.Add(-2 * time.Minute)), ""},
		testEntry{"error", "no time", "whenever", ""},
	)
	p := openTab(t, s.url+"/", desktop)
	p.wait("isLoaded()")
	p.check("messages()", "on time|no time|late")
	p.check(`$("#orderNote").textContent`, "by time")
	// A late entry that arrives now goes to its place.
	p.wait("isLive()")
	s.deliver(testEntry{"error", "later", timestamp(at.Add(-time.Minute)), ""})
	p.wait(`messages() === "on time|later|no time|late"`)

	many := newSite(t)
	many.fill(10_001)
	many.insert(testEntry{"error", "late", timestamp(at.Add(-24 * time.Hour)), ""})
	p = openTab(t, many.url+"/", desktop)
	p.wait("isLoaded()")
	p.check(`$("#orderNote").textContent`, "in order of arrival")
	p.check(`$$(".row.late .msg").map((e) => e.textContent).join()`, "late")
}

// Text that changes the direction of writing does not reverse what follows it, and
// rows do not show the color codes of terminals.
func TestPageBidiControls(t *testing.T) {
	s := newSite(t)
	s.insert(testEntry{"error", "user \u202e\x1b[1;31mevil\x1b[0m", timestamp(time.Now()), `{"a":"\u202ex","b":"y"}`})
	p := openTab(t, s.url+"/", desktop)
	p.wait("isLoaded()")
	p.check(`$(".row .text").textContent`, "user ⟨U+202E⟩evil  a=⟨U+202E⟩x b=y")
}

// On a phone, the active filters and "Clear all" are on the screen, and the key
// can be forgotten.
func TestPagePhoneControls(t *testing.T) {
	s := newSite(t)
	s.fill(50)
	p := openTab(t, s.url+"/?level=error&details.n=1&details.service=checkout&words=entry", phone)
	p.wait("isLoaded()")
	p.check(`$$("#filters .set, #filters .quiet, #help").length`, 4)
	p.check(`$$("#filters .set, #filters .quiet, #help").every((e) => {
		const { left, right, top, bottom } = e.getBoundingClientRect();
		return left >= 0 && right <= innerWidth && top >= 0 && bottom <= innerHeight;
	})`, true)
}

// At a zoom of 400% the list is as high as the window, and the page scrolls.
func TestPageZoomed(t *testing.T) {
	s := newSite(t)
	s.fill(50)
	p := openTab(t, s.url+"/", screen{width: 320, height: 200})
	p.wait("isLoaded()")
	p.check(`$("#list").clientHeight > 150`, true)
	p.check(`topOf($("#help")) - topOf($("#range"))`, 0)
	p.check("document.documentElement.scrollHeight > innerHeight", true)
	p.press("?")
	p.check(`topOf($("#helpTitle")) > 0`, true)
	p.press("Escape")
	p.check("document.documentElement.scrollWidth <= innerWidth", true)
}

// Screen readers hear of loads, not of every new entry.
func TestPageAnnouncements(t *testing.T) {
	s := newSite(t)
	s.fill(3)
	p := openTab(t, s.url+"/", desktop)
	p.wait("isLive() && isLoaded()")
	p.check(`$("[role=status]").textContent`, "3 entries")
	p.eval(`(window.changes = 0, new MutationObserver(() => window.changes++)
		.observe($("[role=status]"), { childList: true, subtree: true, characterData: true }))`)
	for i := range 5 {
		s.deliver(errorEntry("live"))
		p.wait(fmt.Sprintf("state.entries.length === %d", 4+i))
	}
	p.check("changes", 0)
}

// Fields can be columns, rows can be wrapped, and a match outside the visible text is
// shown.
func TestPageColumnsAndWrap(t *testing.T) {
	s := newSite(t)
	long := strings.Repeat("word ", 100) + "needle at the end"
	s.insert(
		testEntry{"error", long, timestamp(time.Now()), `{"service":"shop","user":{"id":7}}`},
		testEntry{"error", "short", timestamp(time.Now()), `{"user.id":8}`},
	)
	p := openTab(t, s.url+"/?open=1", desktop)
	p.wait(`isLoaded() && $(".panel")`)
	p.click(`$(".facts [aria-label^='+ column: show service']")`)
	p.wait(`isLoaded() && $$(".row .cell").length === 2`)
	p.check("location.search", "?cols=service&open=1")
	p.wait(`$(".row.open .panel")`)
	p.eval("changeQuery({ cols: ['service', 'user.id'] })")
	p.wait(`isLoaded() && $$(".row .cell").length === 4`)
	p.check(`$$(".row .cell").map((e) => e.textContent).join()`, ",8,shop,7")
	p.click(`$("#columns .action")`)
	p.wait(`isLoaded() && $$(".row .cell").length === 2`)
	p.check("location.search", "?cols=user.id&open=1")
	p.eval("changeQuery({ open: 0 })")
	p.wait(`isLoaded() && $$(".row .cell").length === 2`)

	p.check(`row(1).offsetHeight`, 32)
	p.press("w")
	p.wait(`row(1).offsetHeight > 60 && row(2).offsetHeight === 32`)
	p.check(`topOf(row(1).querySelector(".time")) - topOf(row(1).querySelector(".text"))`, 0)
	p.wait(`Math.abs(topOf(row(1)) - row(2).getBoundingClientRect().bottom) < 1`)
	p.wait(`Math.abs($("#sizer").offsetHeight - row(1).offsetHeight - row(2).offsetHeight) < 1`)
	p.press("w")
	p.wait(`row(1).offsetHeight === 32`)

	p.eval("changeQuery({ words: 'needle' })")
	p.wait(`isLoaded() && $(".row mark")`)
	p.check(`$(".row mark").getBoundingClientRect().right < innerWidth`, true)
	p.check(`$(".row .msg").textContent.includes(" … ")`, true)
}

// The results can be taken elsewhere.
func TestPageExport(t *testing.T) {
	s := newSite(t)
	s.fill(10)
	p := openTab(t, s.url+"/?details.n=3&details.n=4", desktop)
	p.wait("isLoaded()")
	p.eval(`(navigator.clipboard.writeText = async (text) => { window.copied = text; },
		URL.createObjectURL = (blob) => { window.blob = blob; return "#"; })`)
	p.click(`$("#curl")`)
	p.wait("window.copied")
	p.check("copied", "curl '"+s.url+"/logs?details.n=3&details.n=4'")
	p.click(`$("#download")`)
	p.wait("window.blob")
	p.check(`blob.text().then((text) => text.trim().split("\n").map((line) => JSON.parse(line).id).join())`, "5,4")
}

// The oldest entries can come first, and one key leads to them.
func TestPageOldestFirst(t *testing.T) {
	s := newSite(t)
	s.fill(9_000)
	p := openTab(t, s.url+"/", desktop)
	p.wait("isLoaded()")
	p.press("G")
	p.wait("isLoaded() && state.entries[0]?.id === 1")
	p.check("location.search", "?order=asc")
	p.check("state.entries[1].id", 2)
	p.check("liveText()", "Not live")
	p.eval(`$("#list").scrollTop = 1e9`)
	p.wait("state.entries.length > 300")
	p.check("state.entries.every((entry, i) => entry.id === i + 1)", true)
	p.press("g")
	p.wait("isLoaded() && state.entries[0]?.id === 9000")
	p.check("location.search", "")
}

// Wrapping rows and showing columns keeps the place in the list and the opened entries.
func TestPageViewKeepsPlace(t *testing.T) {
	s := newSite(t)
	s.fill(2000)
	p := openTab(t, s.url+"/", desktop)
	p.wait("isLoaded() && state.entries.length === 2000")
	p.eval(`$("#list").scrollTop = 32 * 1000`)
	p.click(`row(998).querySelector(".head")`)
	p.wait(`$(".row.open .panel")`)
	p.click(`row(996).querySelector(".head")`)
	p.wait(`$$(".row.open .panel").length === 2`)
	const visible = `$$(".row").find((row) => topOf(row) >= topOf($("#list")) - 1).dataset.id`
	before := p.eval(visible)
	for _, key := range []string{"w", "w", "u"} {
		p.press(key)
		p.wait(`$$(".row.open .panel").length === 2`)
		p.check(visible, before)
	}
	p.click(`$(".facts [aria-label^='+ column: show n']")`)
	p.wait(`$$(".row .cell").length && $$(".row.open .panel").length === 2`)
	p.check(visible, before)
	p.check("location.search", "?cols=n&open=996&zone=utc")
	p.check("state.entries.length", 2000)
	// The address still opens an entry after one of two was closed.
	p.click(`row(996).querySelector(".head")`)
	p.check("location.search", "?cols=n&open=998&zone=utc")
}

// An entry far from the start of the list can be opened by its address in both orders.
func TestPageOpenOldestFirst(t *testing.T) {
	s := newSite(t)
	s.fill(2000)
	p := openTab(t, s.url+"/?order=asc&open=1500", desktop)
	p.wait("isLoaded() && $('.row.open .panel')")
	p.check("$('.row.open').dataset.id", 1500)
	p.eval(`$("#list").scrollTop = 0`)
	p.wait("state.entries[0].id < 1000")
	p.eval(`$("#list").scrollTop = 1e9`)
	p.wait("state.entries.at(-1).id > 1800")
	p.check("state.entries.every((entry, i) => !i || entry.id === state.entries[i - 1].id + 1)", true)
	p.click(`buttonWith("Go to oldest")`)
	p.wait("isLoaded() && state.entries[0].id === 1")
}

// A change of the filters does not end a download, and the page says if the file does not
// have all entries.
func TestPageDownloadLimit(t *testing.T) {
	const page = 10_000
	line := func(id int) string {
		return fmt.Sprintf(`{"id":%d,"level":"error","message":"x","timestamp":"","details":null}`, id) + "\n"
	}
	next := 50 * page
	pages := make(chan struct{})
	s := newSiteBehind(t, func(handler http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !r.URL.Query().Has("before") || r.URL.Path != "/logs" {
				handler.ServeHTTP(w, r)
				return
			}
			select {
			case <-pages:
			case <-r.Context().Done():
			}
			for range page {
				next--
				_, _ = io.WriteString(w, line(next))
			}
		})
	})
	s.fill(1)
	p := openTab(t, s.url+"/", desktop)
	p.wait("isLoaded()")
	p.eval(`(URL.createObjectURL = (blob) => { window.blob = blob; return "#"; })`)
	p.click(`$("#download")`)
	pages <- struct{}{}
	p.eval("changeQuery({ words: 'entry' })")
	p.wait("isLoaded()")
	close(pages)
	p.wait("window.blob")
	p.check("blob.text().then((text) => text.split('\\n').length)", 10*page+1)
	p.wait(`$("#status").textContent === "There are more entries. The file has the newest 100,000."`)
	p.check(`$("#download").disabled`, false)
}
