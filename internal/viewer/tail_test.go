package viewer

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestPageLive(t *testing.T) {
	s := newSite(t)
	s.fill(400)
	p := openTab(t, s.url+"/?q=entry", desktop)
	p.wait("isLive() && isLoaded()")
	s.deliver(errorEntry("another"), errorEntry("entry at the top"))
	p.wait(`messages().includes("at the top")`)
	p.check("state.entries[0].id", 402)
	p.check("state.entries.length", 401)
}

// New entries do not move what the user looks at.
func TestPageKeepsPlace(t *testing.T) {
	s := newSite(t)
	s.fill(400)
	p := openTab(t, s.url+"/", desktop)
	p.wait("isLive() && isLoaded()")
	const firstVisible = `$$(".row").find(row => topOf(row) >= topOf($("#list"))).dataset.id`

	// The user has scrolled down.
	p.eval(`$("#list").scrollTop = 3200`)
	p.wait("row(state.entries[100].id)")
	before := p.eval(firstVisible)
	s.deliver(errorEntry("entry above"))
	p.wait(`!$("#pill").hidden`)
	p.check(firstVisible, before)
	p.check(`$("#pill").textContent`, "↑ 1 new")
	p.click(`$("#pill")`)
	p.wait(`$("#pill").hidden`)
	p.check(`messages().split("|")[0]`, "entry above")

	// The user is reading an entry.
	p.press("j", "Enter")
	p.wait(`$(".row.open .panel")`)
	s.deliver(errorEntry("entry above again"))
	p.wait(`!$("#pill").hidden && state.selected === 401`)
	p.check(firstVisible, 401)
}

func TestPagePause(t *testing.T) {
	var gate tailGate
	s := newSiteBehind(t, gate.middleware)
	s.fill(3)
	p := openTab(t, s.url+"/?q=entry", desktop)
	p.wait("isLive() && isLoaded()")
	p.press("p")
	p.wait(`liveText() === "Paused"`)
	p.check("location.search", "?q=entry&live=0")
	// The page has ended its tail, so a new entry does not reach it.
	p.check("state.tailing.signal.aborted", true)
	gate.awaitTails(t, 0)
	s.deliver(errorEntry("entry in the pause"))
	p.eval("settled()")
	p.check("messages()", "entry 2|entry 1|entry 0")
	p.press("p")
	p.wait(`messages() === "entry in the pause|entry 2|entry 1|entry 0"`)
	p.check("location.search", "?q=entry")
}

// The page connects its tail again, and misses nothing in between. It does not
// report an interruption of less than two seconds.
func TestPageTailReconnects(t *testing.T) {
	var gate tailGate
	s := newSiteBehind(t, gate.middleware)
	s.fill(1)
	p := openTab(t, s.url+"/", desktop)
	p.allowErrors("net::ERR_", "status of 503")
	p.wait(`isLive() && $$(".row").length === 1`)
	// On a slow machine the interruption may take longer: never let the two
	// seconds pass.
	p.eval(`(() => {
		window.realTimeout = setTimeout;
		window.setTimeout = (f, ms) => realTimeout(f, ms === 2000 ? 1e6 : ms);
		window.shown = [];
		new MutationObserver(() => shown.push(liveText())).observe($("#liveText"), { childList: true });
	})()`)

	gate.awaitTails(t, 1)
	gate.end()
	s.insert(errorEntry("after an end"))
	p.wait(`$$(".row").length === 2`)
	s.closeConnections()
	s.insert(errorEntry("after a reset"))
	p.wait(`$$(".row").length === 3`)
	p.check(`shown.filter(text => text !== "Live").join()`, "")

	// It reports a longer interruption.
	p.eval("(() => { window.setTimeout = realTimeout; })()")
	gate.refuse(true)
	gate.end()
	p.wait(`liveText() === "Connecting"`)
	s.insert(errorEntry("meanwhile"))
	gate.refuse(false)
	p.wait(`$$(".row").length === 4`)
	p.wait("isLive()")
	p.check("messages()", "meanwhile|after a reset|after an end|entry 0")
}

// A hidden page ends its tail after a while, and misses nothing when it is shown again.
func TestPageHidden(t *testing.T) {
	var gate tailGate
	s := newSiteBehind(t, gate.middleware)
	s.fill(1)
	p := openTab(t, s.url+"/", desktop)
	p.wait("isLive() && isLoaded()")
	p.check("document.hidden", false)
	gate.awaitTails(t, 1)
	p.eval(`(() => {
		const realTimeout = setTimeout;
		window.setTimeout = (f, ms) => realTimeout(f, ms === 5000 ? 50 : ms);
		window.hide = (isHidden) => {
			Object.defineProperty(document, "hidden", { value: isHidden, configurable: true });
			document.dispatchEvent(new Event("visibilitychange", { bubbles: true }));
		};
	})()`)
	p.eval("hide(true)")
	gate.awaitTails(t, 0)
	s.deliver(errorEntry("while hidden"))
	p.eval("hide(false)")
	gate.awaitTails(t, 1)
	p.wait(`messages() === "while hidden|entry 0"`)
	// A paused page stays paused.
	p.press("p")
	p.eval("(hide(true), hide(false))")
	p.eval("settled()")
	gate.awaitTails(t, 0)
	p.check("liveText()", "Paused")
}

// A page that was left ends its tail, although the browser may keep the page.
func TestPageLeft(t *testing.T) {
	var gate tailGate
	s := newSiteBehind(t, gate.middleware)
	s.fill(1)
	p := openTab(t, s.url+"/", desktop)
	for i := range 8 {
		p.navigate(fmt.Sprintf("%s/?details.n=0&cols=c%d", s.url, i))
		p.wait("isLive() && isLoaded() && state.entries.length === 1")
	}
	gate.awaitTails(t, 1)
	p.eval("history.back()")
	p.wait(`location.search.endsWith("c6") && isLive()`)
	s.deliver(testEntry{"error", "new", timestamp(time.Now()), `{"n":0}`})
	p.wait(`messages() === "new|entry 0"`)
	gate.awaitTails(t, 1)
}

// The tail starts after the entries that were loaded, no matter when it connects.
func TestPageLateTail(t *testing.T) {
	var gate tailGate
	s := newSiteBehind(t, gate.middleware)
	s.fill(1)
	gate.refuse(true)
	p := openTab(t, s.url+"/", desktop)
	p.allowErrors("status of 503")
	p.wait(`$$(".row").length === 1 && isLoaded()`)
	s.deliver(errorEntry("before the tail"))
	gate.refuse(false)
	p.wait("isLive()")
	s.deliver(errorEntry("after its start"))
	p.wait(`messages().startsWith("after its start")`)
	p.check("messages()", "after its start|before the tail|entry 0")
}

// A page that is loaded while paused also shows what it missed.
func TestPagePausedLoad(t *testing.T) {
	s := newSite(t)
	s.fill(1)
	p := openTab(t, s.url+"/?live=0", desktop)
	p.wait(`$$(".row").length === 1 && isLoaded()`)
	s.insert(errorEntry("in the pause"))
	p.press("p")
	p.wait("isLive()")
	s.deliver(errorEntry("after the pause"))
	p.wait(`messages().startsWith("after the pause|")`)
	p.check("messages()", "after the pause|in the pause|entry 0")
}

// tailBurst is how many entries a tail sends at a time.
const tailBurst = 500

// If entries arrive faster than a tail sends them, it skips some. The page shows
// how many, and can load them.
func TestPageTailSkips(t *testing.T) {
	s := newSite(t)
	s.fill(1)
	p := openTab(t, s.url+"/?q=entry", desktop)
	p.wait("isLive() && isLoaded()")
	// The skipped ones do not match.
	var entries []testEntry
	for range 100 {
		entries = append(entries, errorEntry("other"))
	}
	for range tailBurst {
		entries = append(entries, errorEntry("entry"))
	}
	s.deliver(entries...)
	p.wait(fmt.Sprintf("state.entries.length === %d", 2+tailBurst))
	p.eval(`$("#list").scrollTop = 1e9`)
	p.wait(`$(".gap")`)
	p.check(`$(".gap").textContent`, "up to 100 skipped, too many at once Load them")
	// The histogram counts what the list skips.
	p.wait(fmt.Sprintf(`levelButtons().includes("error %d")`, 1+tailBurst))
	p.click(`buttonWith("Load them")`)
	p.wait(fmt.Sprintf("!$('.gap') && state.entries.length === %d", 1+tailBurst))
}

// A tail that breaks within an event resumes before the event.
func TestPageTailResumes(t *testing.T) {
	// The first two tails send the start of a stream and break when released.
	starts := make(chan string, 2)
	starts <- "id: 6\n\nid: 7\nda"
	starts <- "id: 6\n\nevent: skipped\ndata: {\"skipped\":2,\"after\":6,\"before\":9}\n\nid: 9\n"
	release := make(chan struct{}, 2)
	var mu sync.Mutex
	var resumed []string // guarded by mu
	s := newSiteBehind(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/logs/tail" {
				next.ServeHTTP(w, r)
				return
			}
			mu.Lock()
			resumed = append(resumed, r.Header.Get("Last-Event-ID"))
			mu.Unlock()
			select {
			case start := <-starts:
				_, _ = io.WriteString(w, start)
				_ = http.NewResponseController(w).Flush()
				select {
				case <-release:
				case <-r.Context().Done():
				}
				panic(http.ErrAbortHandler)
			default:
				next.ServeHTTP(w, r)
			}
		})
	})
	s.fill(6)
	p := openTab(t, s.url+"/", desktop)
	p.allowErrors("net::ERR_")
	p.wait("isLoaded() && state.tailHeard")
	s.insert(errorEntry("seven"), errorEntry("eight"), errorEntry("nine"))
	release <- struct{}{}
	p.wait("state.tailFrom === 8")
	release <- struct{}{}
	p.wait("state.entries[0].id === 9")
	p.wait("isLive()")
	p.check("state.entries.map(e => e.id).join()", "9,8.5,6,5,4,3,2,1")
	p.check(`$(".gap").textContent`, "up to 2 skipped, too many at once Load them")
	p.click(`buttonWith("Load them")`)
	p.wait(`!$(".gap")`)
	p.check("state.entries.map(e => e.id).join()", "9,8,7,6,5,4,3,2,1")
	mu.Lock()
	defer mu.Unlock()
	if got, want := strings.Join(resumed, " "), "6 6 8"; got != want {
		t.Errorf("tails start after the ids %s, want %s", got, want)
	}
}

// If the server has replaced its database, the page loads the new one.
func TestPageDatabaseReplaced(t *testing.T) {
	newer := newSite(t)
	var replaced atomic.Bool
	s := newSiteBehind(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if replaced.Load() {
				newer.handler.ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	t.Cleanup(newer.endTails) // before s closes its server
	s.fill(5)
	p := openTab(t, s.url+"/", desktop)
	p.wait(`isLive() && $$(".row").length === 5`)
	newer.insert(errorEntry("first"))
	replaced.Store(true)
	s.endTails()
	p.wait(`messages() === "first"`)
	p.wait("isLive()")
	newer.deliver(errorEntry("second"))
	p.wait(`messages() === "second|first"`)
}

// New rows wait while the user points at the list, so that a click hits the row
// under the pointer.
func TestPageClickWhileLive(t *testing.T) {
	s := newSite(t)
	s.fill(30)
	p := openTab(t, s.url+"/", desktop)
	p.wait("isLive() && isLoaded()")
	place := p.eval(`(({ left, top }) => [left + 400, top + 10])(row(25).getBoundingClientRect())`).([]any)
	x, y := place[0].(float64), place[1].(float64)
	p.mouse("mouseMoved", x-5, y)
	p.mouse("mouseMoved", x, y)
	for range 10 {
		s.deliver(errorEntry("live"))
	}
	p.wait(`$("#pill").textContent === "↑ 10 new" && !$("#pill").hidden`)
	p.mouse("mousePressed", x, y)
	p.mouse("mouseReleased", x, y)
	p.check("[...state.opened].join()", 25)
	p.check("state.entries.length", 30)
	// After the entry is closed, the new rows appear without the pill.
	p.press("Escape", "Escape")
	p.wait("state.entries.length === 40")
	p.check(`$("#pill").hidden`, true)
}

// With an entry open, the pill and the key g return to the newest entries, which
// then follow each other again.
func TestPageFollowsAgain(t *testing.T) {
	for _, useKey := range []bool{false, true} {
		s := newSite(t)
		s.fill(30)
		p := openTab(t, s.url+"/", desktop)
		p.wait("isLive() && isLoaded()")
		p.press("j", "Enter")
		p.wait(`$(".row.open .panel")`)
		s.deliver(errorEntry("one"))
		p.wait(`!$("#pill").hidden`)
		if useKey {
			p.press("g")
		} else {
			p.click(`$("#pill")`)
		}
		p.wait(`messages().startsWith("one|")`)
		s.deliver(errorEntry("two"))
		p.wait(`messages().startsWith("two|one|")`)
		p.check(`$("#pill").hidden`, true)
		p.check(`$("#list").scrollTop`, 0)
	}
}

// The list has a limit also while an entry is open, and so have the entries that
// wait.
func TestPageListLimit(t *testing.T) {
	s := newSite(t)
	s.fill(9_900)
	p := openTab(t, s.url+"/", desktop)
	p.wait("isLive() && isLoaded() && state.entries.length === 9900")
	p.press("j", "Enter")
	for range 12 {
		entries := make([]testEntry, tailBurst)
		for i := range entries {
			entries[i] = errorEntry("live")
		}
		id := s.insert(entries...)
		s.reader.Committed(id)
		p.wait(fmt.Sprintf("state.tailFrom === %d", id))
	}
	p.check("state.pending.length <= 5001 && state.entries.length", 9900)
	p.press("g")
	p.wait("state.entries.length === 10000")
	p.check("state.opened.size", 1) // the entry is still in the list
	p.check("state.entries.filter((entry) => entry.gap).length", 1)
}

// An entry that arrives while all entries are being loaded is in the list once.
func TestPageArrivesDuringLoad(t *testing.T) {
	release := make(chan struct{})
	s := newSiteBehind(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/logs" && r.URL.Query().Get("limit") == "10000" {
				select {
				case <-release:
				case <-r.Context().Done():
				}
			}
			next.ServeHTTP(w, r)
		})
	})
	s.fill(400)
	p := openTab(t, s.url+"/", desktop)
	p.wait("isLive() && isLoaded() && state.isLoadingMore")
	// The pointer over the list holds the entry back.
	p.mouse("mouseMoved", 400, 400)
	p.mouse("mouseMoved", 401, 400)
	s.deliver(errorEntry("new"))
	p.wait("state.pending.length === 1")
	close(release)
	p.wait("!state.isLoadingMore && !state.pending.length && state.entries.length >= 401")
	p.check("state.entries.map((entry) => entry.id).slice(0, 3).join()", "401,400,399")
	p.check("state.entries.length", 401)
}

// A gap of more than 10,000 entries is loaded in several steps, the newest first.
func TestPageLoadsLargeGap(t *testing.T) {
	const skipped = 10_050
	s := newSite(t)
	s.fill(1)
	p := openTab(t, s.url+"/", desktop)
	p.wait("isLive() && isLoaded()")
	entries := make([]testEntry, skipped+tailBurst)
	for i := range entries {
		entries[i] = errorEntry("entry")
	}
	s.deliver(entries...)
	p.wait(fmt.Sprintf("state.entries.length === %d", tailBurst+2))
	p.eval(`$("#list").scrollTop = 1e9`)
	p.click(`buttonWith("Load them")`)
	p.wait("state.entries.length > 10_000")
	p.eval(`$("#list").scrollTop = 1e9`)
	p.wait(`$(".gap")`)
	p.check(`$(".gap").textContent`, "up to 50 skipped, too many at once Load them")
	p.check("state.entries.findIndex((entry) => entry.gap)", tailBurst+10_000)
	p.click(`buttonWith("Load them")`)
	p.wait("!$('.gap') && state.entries.at(-1).id === 1")
	p.check("state.entries.length", skipped+tailBurst+1)
}

// The list does not end with a gap when it drops its oldest entries: older ones are
// loaded after the last entry.
func TestPageDropsGapAtEnd(t *testing.T) {
	s := newSite(t)
	s.fill(1)
	p := openTab(t, s.url+"/", desktop)
	p.wait("isLive() && isLoaded()")
	entries := make([]testEntry, 100+tailBurst)
	for i := range entries {
		entries[i] = errorEntry("entry")
	}
	s.deliver(entries...)
	p.wait(fmt.Sprintf("state.entries.length === %d", tailBurst+2))
	for n := 2 + tailBurst; n < 10_001; {
		id := s.insert(entries[:min(tailBurst, 10_001-n)]...)
		n += min(tailBurst, 10_001-n)
		s.reader.Committed(id)
		p.wait(fmt.Sprintf("state.entries[0].id === %d", id))
	}
	p.check("state.entries.some((entry) => entry.gap)", false)
	p.eval(`$("#list").scrollTop = 1e9`)
	p.wait("state.atEnd")
	p.check("state.entries.at(-1).id", 1)
	p.check("state.failure", "")
}
