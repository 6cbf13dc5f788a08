package viewer

import (
	"encoding/json"
	"fmt"
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
	p.check(`$("#notice pre").textContent.includes("curl `+s.url+`/ingest")`, true)
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
	p.check(`$("#status").textContent`, "3 entries, newest first")
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
	p.check(`$$("main img, main script, main b, #filters img").length`, 0)
	p.check(`$$(".panel .message")[1].textContent`, attack)
	p.check(`$$(".panel dd").some(e => e.textContent === `+quoted+`)`, true)
	p.check(`$$(".panel dt").length`, 4+1)
	p.check(`({}).polluted === undefined`, true)

	// The same goes for filters and the address.
	p.click(`$$(".panel .value").filter(b => b.textContent.startsWith("<img"))[1]`)
	p.wait(`$(".chip.set") && state.entries.length === 1`)
	p.eval(`changeQuery({ q: ` + quoted + `, levels: [` + quoted + `] })`)
	p.wait(`!state.isBusy && state.entries.length === 1 && $("mark")`)
	p.check(`$$("main img, main script, main b, header img, #filters img").length`, 0)
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

// If loading older entries fails, the loaded ones stay, and the user can retry.
func TestPageRetry(t *testing.T) {
	var gate failGate
	s := newSiteBehind(t, gate.middleware)
	s.fill(400)
	p := openTab(t, s.url+"/", desktop)
	p.allowErrors("status of 503")
	p.wait("state.entries.length === 300 && isLoaded()")
	gate.fails.Store(true)
	p.eval(`$("#list").scrollTop = 1e9`)
	p.wait(`$("#status").textContent === "Overloaded Try again"`)
	p.check("state.entries.length", 300)
	gate.fails.Store(false)
	p.click(`buttonWith("Try again")`)
	p.wait(`isLoaded() && $("#status").textContent === "newest 300 entries, scroll for older ones"`)
	p.eval(`$("#list").scrollTop = 1e9`)
	p.wait(`$("#status").textContent === "400 entries, newest first"`)
}
