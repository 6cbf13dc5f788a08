package viewer

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// The address contains the whole query.
func TestPageAddress(t *testing.T) {
	s := newSite(t)
	now := time.Now()
	s.insert(
		testEntry{"error", "disk full", timestamp(now.Add(-3 * time.Hour)), `{"host":"a"}`},
		testEntry{"error", "disk full again", timestamp(now.Add(-2 * time.Hour)), `{"host":"b"}`},
		testEntry{"fatal", "disk gone", timestamp(now.Add(-90 * time.Minute)), `{"host":"b"}`},
		testEntry{"error", "network", timestamp(now), `{"host":"b"}`},
	)
	p := openTab(t, s.url+"/?level=error&words=DISK&since=24h&details.host=b&zone=utc&live=0&open=2", desktop)
	p.wait(`$$(".row").length === 1`)
	p.wait(`$(".row.open .panel")`)
	p.check("messages()", "disk full again")
	p.check(`$(".row .text mark").textContent`, "disk")
	p.check(`$("#search").value`, "DISK")
	p.check(`$("#range").value`, "24h")
	p.check(`$("#zone").textContent`, "UTC")
	p.check("liveText()", "Paused")
	p.check(`$(".chip.lv-error").getAttribute("aria-pressed")`, "true")
	p.check(`filters()`, "host = b")

	// Every step changes the address, and the back button undoes it.
	p.click(`$(".chip.set .remove")`)
	p.wait(`$$(".row").length === 2`)
	p.click(`buttonWith("Clear all")`)
	p.wait(`$$(".row").length === 4`)
	p.check("location.search", "?zone=utc&live=0")
	p.eval("history.back()")
	p.wait(`$$(".row").length === 2`)
	p.check(`$("#search").value`, "DISK")

	// The address may have a level as it is stored.
	p.navigate(s.url + "/?level=fatal&level=weird")
	p.wait(`$$(".row").length === 1`)
	p.check("messages()", "disk gone")
	p.check(`filters()`, "level = weird")
}

func TestPageRangeDialog(t *testing.T) {
	s := newSite(t)
	s.fill(600)
	p := openTab(t, s.url+"/?zone=utc", desktop)
	p.wait("isLoaded()")
	choose := `(() => {
		$("#range").value = "custom";
		$("#range").dispatchEvent(new Event("change"));
	})()`
	p.eval(choose)
	p.check(`$("#rangeDialog").open && $("#rangeZone").textContent`, "Times are in UTC.")
	p.check(`$("#rangeSince").value + " " + $("#rangeUntil").value`, "2026-11-22T00:00 2026-11-22T00:10")
	p.eval(`$("#rangeSince").value = "2026-11-22T00:10:00"`)
	p.click(`buttonWith("Show")`)
	p.wait(`!$("#rangeError").hidden`)
	p.check(`$("#rangeError").textContent`, "From must be before To.")
	p.eval(`$("#rangeSince").value = "2026-11-22T00:09:00"`)
	p.click(`buttonWith("Show")`)
	p.wait("isLoaded() && state.entries.length === 60")
	p.check("location.search", "?since=2026-11-22T00%3A09%3A00Z&until=2026-11-22T00%3A10%3A00Z&zone=utc")
	p.check(`$("#rangeDialog").open`, false)
	p.check(`$("#range").value`, "custom")

	// In local time, here that of Berlin, the same range is an hour later.
	p.press("u")
	p.eval(choose)
	p.check(`$("#rangeZone").textContent.startsWith("Times are in local time")`, true)
	p.check(`$("#rangeSince").value`, "2026-11-22T01:09")
	p.click(`buttonWith("Cancel")`)
	p.wait(`!$("#rangeDialog").open`)
	p.check("location.search", "?since=2026-11-22T00%3A09%3A00Z&until=2026-11-22T00%3A10%3A00Z")
}

func TestPageKeyPrompt(t *testing.T) {
	s := newSiteBehind(t, requireKey("s3cret"))
	s.fill(3)
	p := openTab(t, s.url+"/", desktop)
	p.allowErrors("status of 401")
	p.wait(`$("#keyDialog").open`)
	p.check(`$$(".row").length`, 0)
	p.typeText("wrong")
	p.press("Enter")
	p.wait(`$("#keyError").textContent === "The server rejected this key."`)
	p.typeText("s3cret")
	p.press("Enter")
	p.wait(`$$(".row").length === 3`)
	p.wait("isLive()")
	p.check(`$("#keyDialog").open`, false)
	p.check(`sessionStorage.apiKey + Object.keys(localStorage).length + document.cookie`, "s3cret0")
	p.check(`location.href.includes("s3cret")`, false)

	// The key outlives a reload, but other tabs do not have it.
	p.reload()
	p.wait(`$$(".row").length === 3`)
	other := openTab(t, s.url+"/", desktop)
	other.allowErrors("status of 401")
	other.wait(`$("#keyDialog").open`)

	// The help dialog has a button that deletes the key.
	p.eval("changeQuery({ words: 'entry' })")
	p.wait(`isLoaded() && $("#bars .bar")`)
	p.press("?")
	p.click(`$("#forgetKey")`)
	p.wait(`$("#keyDialog").open`)
	p.check(`sessionStorage.apiKey`, nil)
	p.check(`$$(".row, #bars .bar").length`, 0)
	p.typeText("clé")
	p.press("Enter")
	p.check(`$("#keyInput").validity.patternMismatch`, true)
}

// requireKey returns a middleware that requires an API key for reading.
func requireKey(key string) func(next http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/logs") && r.Header.Get("Authorization") != "Bearer "+key {
				w.Header().Set("WWW-Authenticate", "Bearer")
				w.WriteHeader(http.StatusUnauthorized)
				fmt.Fprintln(w, `{"error":"API key required"}`)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// A failGate is a middleware that can make reading fail.
type failGate struct {
	fails  atomic.Bool
	path   string // start of the paths that fail, /logs if empty
	status int    // 503 if 0
}

func (g *failGate) middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g.fails.Load() && strings.HasPrefix(r.URL.Path, cmp.Or(g.path, "/logs")) {
			w.WriteHeader(cmp.Or(g.status, http.StatusServiceUnavailable))
			fmt.Fprintln(w, `{"error":"overloaded"}`)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// The search box accepts words, phrases, excluded words, and fields, which become
// filters.
func TestPageSearchBox(t *testing.T) {
	s := newSite(t)
	for _, test := range []struct{ message, details string }{
		{"payment failed: card declined", `{"service":"checkout"}`},
		{"card payment failed", `{"service":"checkout"}`},
		{"payment failed after retry", `{"service":"mailer"}`},
		{"user not found", `{"service":"auth"}`},
	} {
		s.insert(testEntry{"error", test.message, timestamp(time.Now()), test.details})
	}
	p := openTab(t, s.url+"/", desktop)
	p.wait("isLoaded()")
	search := func(text string, want int) {
		t.Helper()
		p.press("/")
		p.typeText(text)
		p.press("Enter")
		p.wait(fmt.Sprintf("isLoaded() && state.entries.length === %d", want))
	}
	p.check(`(async () => {
		const { parseSearch } = await import($("script[type=module]").src.replace("app.js", "query.js"));
		return ['"open', 'a -', 'a - b', '""', '-"x y" z', 'n= a'].map((text) => parseSearch(text).words).join("|");
	})()`, `"open"|a|a b||-"x y" z|n= a`)
	search("failed payment", 3)
	p.check(`$$(".row mark").length`, 6)
	search(`"card declined"`, 1)
	search("payment -retry", 2)
	p.check("location.search", "?words=payment+-retry")
	search("payment service=mailer", 1)
	p.check("location.search", "?words=payment&details.service=mailer")
	p.check("filters()", "service = mailer")
	p.check(`$("#search").value`, "payment")
	search("-service=mailer", 3)
	p.check("filters()", "service ≠ mailer")
	search(`level=fatal "user not"`, 0)

	// The page says which filter to remove.
	p.wait(`$$("#notice .chip").length`)
	p.check(`$$("#notice .chip").map((e) => e.textContent).join()`, "Remove level fatal")
	p.click(`$("#notice .chip")`)
	p.wait("isLoaded() && state.entries.length === 1")

	// If removing one filter is not enough, the page names filters to remove together.
	p.navigate(s.url + "/?words=card&details.service=none&not.details.service=checkout&since=24h")
	p.wait(`$$("#notice .chip").length`)
	p.check(`$$("#notice .chip").map((e) => e.textContent).join()`,
		"Remove service = none and search for card")
	p.click(`$("#notice .chip")`)
	p.wait("isLoaded() && state.entries.length === 2")
	p.check("location.search", "?since=24h&not.details.service=checkout")
}

// A click on a filter inverts it.
func TestPageInvertFilter(t *testing.T) {
	s := newSite(t)
	for i := range 6 {
		s.insert(testEntry{"error", "x", timestamp(time.Now()), fmt.Sprintf(`{"n":"%d"}`, i%3)})
	}
	p := openTab(t, s.url+"/?open=1", desktop)
	p.wait(`isLoaded() && $(".panel")`)
	p.click(`$(".facts [aria-label^='≠']")`)
	p.wait("isLoaded() && state.entries.length === 4")
	p.check("location.search", "?not.details.n=0")
	p.click(`$(".chip.set .invert")`)
	p.wait("isLoaded() && state.entries.length === 2")
	p.check("location.search", "?details.n=0")
	p.click(`$(".chip.set .remove")`)
	p.wait("isLoaded() && state.entries.length === 6")
}

// A search finds and marks its text literally, whatever characters it has.
func TestPageSearchIsLiteral(t *testing.T) {
	s := newSite(t)
	texts := []string{"db-primary", "a.b*c", "[x](y)", "$1^", `\d+`, "{2}", "a/b", "a|b", "(?=x)", "<b>&amp;", "ß-Ü"}
	for _, text := range texts {
		s.insert(errorEntry("before " + text + " after"))
	}
	p := openTab(t, s.url+"/", desktop)
	for i, text := range texts {
		for _, name := range []string{"q", "words"} {
			p.navigate(s.url + "/?" + name + "=" + url.QueryEscape(text))
			p.wait("isLoaded() && state.entries.length === 1 && $('.row mark')")
			p.check("state.entries[0].id", i+1)
			p.check(`$(".row mark").textContent`, text)
		}
	}
}

// The search box shows the search of the address, also after the back button while it has
// the focus. Escape leaves the box and keeps its text.
func TestPageSearchBoxText(t *testing.T) {
	s := newSite(t)
	s.fill(20)
	p := openTab(t, s.url+"/", desktop)
	p.wait("isLoaded()")
	p.eval("changeQuery({ levels: ['error'] })")
	p.press("/")
	p.typeText("entry 1")
	p.wait(`location.search === "?words=entry+1&level=error"`)
	p.press("Escape")
	p.check(`$("#search").value`, "entry 1")
	p.press("/")
	p.eval("history.back()")
	p.wait(`isLoaded() && state.entries.length === 20 && location.search === ""`)
	p.check(`document.activeElement.id + $("#search").value`, "search")
}

// The page says if the entry of a link is not stored, or does not match.
func TestPageMissingEntry(t *testing.T) {
	s := newSite(t)
	s.fill(3)
	s.db.Exec("DELETE FROM logs WHERE id = 1")
	p := openTab(t, s.url+"/?open=1", desktop)
	p.wait("isLoaded() && state.entries.length === 2")
	p.check(`$("#status").textContent`, "entry 1 was deleted or does not match these filters; 2 entries")
	p.navigate(s.url + "/?q=entry+2&open=2")
	p.wait("isLoaded() && state.entries.length === 1")
	p.check(`$("#status").textContent`, "entry 2 was deleted or does not match these filters; 1 entry")
	p.press("j", "Enter")
	p.wait(`$(".row.open .panel")`)
	p.check("location.search", "?q=entry+2&open=3")
}

// A proxy may limit the rate of requests. The page retries them.
func TestPageTooManyRequests(t *testing.T) {
	gate := failGate{status: http.StatusTooManyRequests}
	s := newSiteBehind(t, gate.middleware)
	s.fill(3)
	gate.fails.Store(true)
	p := openTab(t, s.url+"/", desktop)
	p.allowErrors("status of 429")
	p.wait(`$("#notice h2")?.textContent === "Cannot load the log"`)
	gate.fails.Store(false)
	p.wait("isLoaded() && state.entries.length === 3 && isLive()")
}
