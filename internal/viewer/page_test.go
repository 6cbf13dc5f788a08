package viewer

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log-ingester/internal/entry"
	"log-ingester/internal/logread"
	"log-ingester/internal/logtest"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var screenshots = flag.String("screenshots", "", "write pictures of the page to this `directory`")

// A testLog is a database with a reader, served with the page.
type testLog struct {
	t      testing.TB
	db     *logtest.DB
	reader *logread.Reader
	server *httptest.Server
}

func newTestLog(t testing.TB) *testLog {
	t.Helper()
	db := logtest.New(t)
	r, err := logread.Open(db.Path, slog.New(slog.DiscardHandler))
	must(t, err)
	l := &testLog{t: t, db: db, reader: r}
	l.server = httptest.NewServer(l.routes())
	t.Cleanup(func() {
		l.reader.EndTails()
		l.server.Close()
		must(t, r.Close())
	})
	return l
}

func (l *testLog) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /logs", l.reader.ServeLogs)
	mux.HandleFunc("GET /logs/histogram", l.reader.ServeHistogram)
	mux.HandleFunc("GET /logs/tail", l.reader.ServeTail)
	Register(mux)
	return mux
}

type testEntry = logtest.Entry

func (l *testLog) insert(entries ...testEntry) int64 { return l.db.Insert(entries...) }
func (l *testLog) fill(n int) int64                  { return l.db.Fill(n) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A browser is a Chromium of its own, spoken to over a pipe in the DevTools
// protocol.
type browser struct {
	in *os.File

	mu      sync.Mutex
	lastID  int
	answers map[int]chan devtoolsMessage
	tabs    map[string]*tab // by session
	gone    chan struct{}
}

type devtoolsMessage struct {
	ID        int                       `json:"id,omitempty"`
	SessionID string                    `json:"sessionId,omitempty"`
	Method    string                    `json:"method,omitempty"`
	Params    json.RawMessage           `json:"params,omitempty"`
	Result    json.RawMessage           `json:"result,omitempty"`
	Error     *struct{ Message string } `json:"error,omitempty"`
}

// A tab is one page in the browser, with all that it has complained about and
// asked for.
type tab struct {
	t        testing.TB
	b        *browser
	session  string
	mu       sync.Mutex
	errors   []string
	requests []string
}

func startBrowser(t testing.TB) *browser {
	t.Helper()
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("Chromium is not installed, and CI must not go without this test")
		}
		t.Skip("Chromium is not installed: apt-get install chromium")
	}
	home := t.TempDir()
	args := []string{"--headless=new", "--remote-debugging-pipe", "--user-data-dir=" + filepath.Join(home, "profile"),
		"--no-first-run", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update",
		"--disable-sync", "--disable-extensions", "--hide-scrollbars", "--force-color-profile=srgb", "--lang=en-US"}
	if os.Geteuid() == 0 {
		args = append(args, "--no-sandbox") // root has no sandbox
	}
	cmd := exec.Command(path, append(args, "about:blank")...)
	cmd.Env = append(os.Environ(), "HOME="+home, "TZ=Europe/Berlin", "LANG=en_US.UTF-8")
	theirIn, ourOut, err := os.Pipe()
	must(t, err)
	ourIn, theirOut, err := os.Pipe()
	must(t, err)
	cmd.ExtraFiles = []*os.File{theirIn, theirOut}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	must(t, cmd.Start())
	theirIn.Close()
	theirOut.Close()
	b := &browser{in: ourOut, answers: make(map[int]chan devtoolsMessage), tabs: make(map[string]*tab), gone: make(chan struct{})}
	go b.read(ourIn)
	t.Cleanup(func() {
		ourOut.Close() // Chromium ends with its pipe
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			cmd.Process.Kill()
			<-ended
		}
		ourIn.Close()
		if t.Failed() {
			t.Logf("Chromium says: %.2000s", stderr.String())
		}
	})
	return b
}

// read takes what the browser sends: messages, each with a NUL behind it.
func (b *browser) read(from io.Reader) {
	defer close(b.gone)
	r := bufio.NewReader(from)
	for {
		text, err := r.ReadBytes(0)
		if err != nil {
			return
		}
		var m devtoolsMessage
		if json.Unmarshal(text[:len(text)-1], &m) != nil {
			continue
		}
		b.mu.Lock()
		answer, tab := b.answers[m.ID], b.tabs[m.SessionID]
		delete(b.answers, m.ID)
		b.mu.Unlock()
		if answer != nil {
			answer <- m
		} else if tab != nil {
			tab.event(m)
		}
	}
}

// call asks the browser, and decodes its answer into result, if that is not nil.
func (b *browser) call(t testing.TB, session, method string, params, result any) {
	t.Helper()
	encoded, err := json.Marshal(params)
	must(t, err)
	answer := make(chan devtoolsMessage, 1)
	b.mu.Lock()
	b.lastID++
	m := devtoolsMessage{ID: b.lastID, SessionID: session, Method: method, Params: encoded}
	b.answers[m.ID] = answer
	text, err := json.Marshal(m)
	if err == nil {
		_, err = b.in.Write(append(text, 0))
	}
	b.mu.Unlock()
	must(t, err)
	select {
	case m := <-answer:
		if m.Error != nil {
			t.Fatalf("%s: %s", method, m.Error.Message)
		}
		if result != nil {
			must(t, json.Unmarshal(m.Result, result))
		}
	case <-b.gone:
		t.Fatalf("%s: Chromium has ended", method)
	case <-time.After(60 * time.Second):
		t.Fatalf("%s: no answer from Chromium", method)
	}
}

type object = map[string]any

// exposeModules gives test expressions access to the page's modules.
const exposeModules = `addEventListener("DOMContentLoaded", async () => {
	const app = document.querySelector("script[type=module]").src;
	const names = ["levels", "state"];
	const modules = await Promise.all(names.map((name) => import(app.replace("app.js", name + ".js"))));
	Object.assign(window, ...modules);
})`

// open opens a tab on an address. Its state, such as sessionStorage, is its own.
func (b *browser) open(t testing.TB, url string, width, height int, dark bool) *tab {
	t.Helper()
	var made struct{ BrowserContextID, TargetID, SessionID string }
	b.call(t, "", "Target.createBrowserContext", object{}, &made)
	b.call(t, "", "Target.createTarget", object{"url": "about:blank", "browserContextId": made.BrowserContextID, "width": width, "height": height}, &made)
	b.call(t, "", "Target.attachToTarget", object{"targetId": made.TargetID, "flatten": true}, &made)
	tab := &tab{t: t, b: b, session: made.SessionID}
	b.mu.Lock()
	b.tabs[tab.session] = tab
	b.mu.Unlock()
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		tab.call(domain+".enable", object{}, nil)
	}
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	tab.call("Emulation.setEmulatedMedia", object{"features": []object{{"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": "reduce"}}}, nil)
	tab.call("Emulation.setDeviceMetricsOverride", object{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}, nil)
	tab.call("Page.addScriptToEvaluateOnNewDocument", object{"source": exposeModules}, nil)
	tab.call("Page.navigate", object{"url": url}, nil)
	tab.wait("document.readyState === 'complete' && state")
	return tab
}

func (p *tab) call(method string, params object, result any) {
	p.t.Helper()
	p.b.call(p.t, p.session, method, params, result)
}

// event notes what must not happen, and what was asked for.
func (p *tab) event(m devtoolsMessage) {
	var e struct {
		Type    string
		Request struct{ URL string }
		Entry   struct{ Level, Source, Text, URL string }
		Args    []struct {
			Value       any
			Description string
		}
		ExceptionDetails struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	if json.Unmarshal(m.Params, &e) != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch m.Method {
	case "Network.requestWillBeSent":
		p.requests = append(p.requests, e.Request.URL)
	case "Runtime.exceptionThrown":
		p.errors = append(p.errors, e.ExceptionDetails.Text+" "+e.ExceptionDetails.Exception.Description)
	case "Runtime.consoleAPICalled":
		p.errors = append(p.errors, fmt.Sprint("console.", e.Type, ": ", e.Args))
	case "Log.entryAdded":
		p.errors = append(p.errors, fmt.Sprint(e.Entry.Level, ": ", e.Entry.Text, " ", e.Entry.URL))
	case "Page.javascriptDialogOpening":
		p.errors = append(p.errors, "a dialog of JavaScript was opened")
	}
}

// eval returns what an expression of JavaScript is.
func (p *tab) eval(expression string) any {
	p.t.Helper()
	value, err := p.tryEval(expression)
	if err != nil {
		p.t.Fatalf("%s: %v", expression, err)
	}
	return value
}

func (p *tab) tryEval(expression string) (any, error) {
	var answer struct {
		Result           struct{ Value any }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	p.call("Runtime.evaluate", object{"expression": expression, "returnByValue": true, "awaitPromise": true}, &answer)
	if e := answer.ExceptionDetails; e != nil {
		return nil, errors.New(e.Text + " " + e.Exception.Description)
	}
	return answer.Result.Value, nil
}

// wait waits until an expression is true.
func (p *tab) wait(expression string) {
	p.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		value, err := p.tryEval("!!(" + expression + ")")
		if err == nil && value == true {
			return
		}
		if time.Now().After(deadline) {
			shown, _ := p.tryEval("document.body.innerText.slice(0, 500)")
			p.t.Fatalf("it never came that %s (%v); the page shows:\n%v", expression, err, shown)
		}
	}
}

// check compares what an expression is with what it should be.
func (p *tab) check(expression string, want any) {
	p.t.Helper()
	if got := p.eval(expression); fmt.Sprint(got) != fmt.Sprint(want) {
		p.t.Errorf("%s is %v, want %v", expression, got, want)
	}
}

// press presses a key, as a person does.
func (p *tab) press(keys ...string) {
	p.t.Helper()
	for _, key := range keys {
		event := object{"type": "keyDown", "key": key}
		if len(key) == 1 {
			event["text"] = key
		}
		switch key {
		case "Enter":
			event["text"], event["windowsVirtualKeyCode"] = "\r", 13
		case "Escape":
			event["windowsVirtualKeyCode"] = 27
		}
		p.call("Input.dispatchKeyEvent", event, nil)
		p.call("Input.dispatchKeyEvent", object{"type": "keyUp", "key": key}, nil)
	}
}

// typeText types into what has the focus.
func (p *tab) typeText(text string) {
	p.t.Helper()
	p.call("Input.insertText", object{"text": text}, nil)
}

// click clicks into the middle of what a selector, or an expression in
// parentheses, finds.
func (p *tab) click(selector string) {
	p.t.Helper()
	if !strings.HasPrefix(selector, "(") {
		selector = fmt.Sprintf("document.querySelector(%q)", selector)
	}
	p.wait(selector)
	at := p.eval("(e => { const r = e.getBoundingClientRect(); return [r.left + r.width / 2, r.top + r.height / 2] })(" + selector + ")").([]any)
	p.mouse("mousePressed", at[0].(float64), at[1].(float64))
	p.mouse("mouseReleased", at[0].(float64), at[1].(float64))
}

func (p *tab) mouse(what string, x, y float64) {
	p.t.Helper()
	button, buttons := "left", 1
	if what == "mouseMoved" {
		button = "none"
	}
	p.call("Input.dispatchMouseEvent", object{"type": what, "x": x, "y": y, "button": button, "buttons": buttons, "clickCount": 1}, nil)
}

// picture writes what the page looks like.
func (p *tab) picture(path string) {
	p.t.Helper()
	var shot struct{ Data string }
	p.call("Page.captureScreenshot", object{"format": "png", "optimizeForSpeed": false}, &shot)
	data, err := base64.StdEncoding.DecodeString(shot.Data)
	must(p.t, err)
	must(p.t, os.WriteFile(path, data, 0o644))
}

// clean fails the test where the page complained, or asked elsewhere for
// anything.
func (p *tab) clean(origin string, allowed ...string) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
next:
	for _, e := range p.errors {
		for _, text := range allowed {
			if strings.Contains(e, text) {
				continue next
			}
		}
		p.t.Errorf("the console has: %s", e)
	}
	if len(p.requests) == 0 {
		p.t.Error("no request was seen")
	}
	for _, url := range p.requests {
		if !strings.HasPrefix(url, origin+"/") && !strings.HasPrefix(url, "data:") {
			p.t.Errorf("the page asked for %s", url)
		}
	}
}

const (
	rowCount  = `document.querySelectorAll(".row").length`
	messages  = `[...document.querySelectorAll(".row .text")].map(e => [...e.childNodes].slice(0, -1).map(n => n.textContent).join("").trim()).join("|")`
	liveIsOn  = `document.querySelector("#liveText").textContent === "Live"`
	isLoaded  = `document.querySelector("#busy").hidden && state.chart`
	openPanel = `document.querySelector(".row.open .panel")`
)

// tailThrough returns a server that answers as l does, but leaves the live tail
// to serve, with what l would answer it by.
func (l *testLog) tailThrough(serve func(w http.ResponseWriter, req *http.Request, l http.Handler)) *httptest.Server {
	handler := l.server.Config.Handler
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/logs/tail" {
			serve(w, req, handler)
			return
		}
		handler.ServeHTTP(w, req)
	}))
	l.t.Cleanup(func() {
		l.reader.EndTails() // or Close would wait for them
		server.Close()
	})
	return server
}

func testTime(at time.Time) string { return at.UTC().Format("2006-01-02T15:04:05.000000000Z") }

func TestViewer(t *testing.T) {
	b := startBrowser(t)

	t.Run("empty, then a first entry arrives", func(t *testing.T) {
		l := newTestLog(t)
		p := b.open(t, l.server.URL+"/", 1280, 800, false)
		p.wait(`document.querySelector("#notice pre")`)
		p.check(`document.querySelector("#notice pre").textContent.includes("curl `+l.server.URL+`/ingest")`, true)
		p.wait(liveIsOn)
		l.reader.Committed(l.insert(testEntry{"error", "the first", testTime(time.Now()), `{"service":"shop"}`}))
		p.wait(rowCount + " === 1")
		p.check(messages, "the first")
		p.check(`document.querySelector("#notice").hidden`, true)
		p.clean(l.server.URL)
	})

	t.Run("first view", func(t *testing.T) {
		l := newTestLog(t)
		now := time.Now()
		l.insert(
			testEntry{"error", "older", testTime(now.Add(-time.Hour)), `{"service":"shop","n":12345678901234567890}`},
			testEntry{"critical", "newer", testTime(now.Add(-time.Minute)), nil},
			testEntry{"weird", "no time", "whenever", nil},
		)
		p := b.open(t, l.server.URL+"/", 1280, 800, false)
		p.wait(rowCount + " === 3")
		p.wait(isLoaded)
		p.check(messages, "no time|newer|older")
		p.check(`[...document.querySelectorAll(".level")].map(e => e.className + " " + e.textContent).join()`,
			"level lv-unknown weird,level lv-fatal critical,level lv-error error")
		p.check(`document.querySelector(".row:nth-child(3) .extra").textContent.trim()`, "service=shop n=12345678901234567890")
		p.check(`[...document.querySelectorAll("#filters .chip")].map(e => e.innerText.replace(/\s+/g, " ").trim()).join()`, "fatal 1,error 1,unknown 1")
		p.check(`document.querySelectorAll("#bars g rect").length`, 2)
		p.check(`document.querySelector("#status").textContent`, "3 entries, newest first")
		// Every control has a name.
		p.check(`[...document.querySelectorAll("button, input, select")].filter(e => !(e.textContent.trim() || e.getAttribute("aria-label") || e.labels && e.labels.length)).length`, 0)
		p.clean(l.server.URL)
	})

	t.Run("the address holds the state", func(t *testing.T) {
		l := newTestLog(t)
		now := time.Now()
		l.insert(
			testEntry{"error", "disk full", testTime(now.Add(-3 * time.Hour)), `{"host":"a"}`},
			testEntry{"error", "disk full again", testTime(now.Add(-2 * time.Hour)), `{"host":"b"}`},
			testEntry{"fatal", "disk gone", testTime(now.Add(-90 * time.Minute)), `{"host":"b"}`},
			testEntry{"error", "network", testTime(now), `{"host":"b"}`},
		)
		p := b.open(t, l.server.URL+"/?level=error&q=DISK&since=24h&details.host=b&zone=utc&live=0&open=2", 1280, 800, false)
		p.wait(rowCount + " === 1")
		p.wait(openPanel)
		p.check(messages, "disk full again")
		p.check(`document.querySelector(".row .text mark").textContent`, "disk")
		p.check(`document.querySelector("#search").value`, "DISK")
		p.check(`document.querySelector("#range").value`, "24h")
		p.check(`document.querySelector("#zone").textContent`, "UTC")
		p.check(`document.querySelector("#liveText").textContent`, "Paused")
		p.check(`document.querySelector(".chip.lv-error").getAttribute("aria-pressed")`, "true")
		p.check(`document.querySelector(".chip.set").textContent`, "host = b×")

		// Each step goes into the address, and the browser's back undoes it.
		p.click(".chip.set")
		p.wait(rowCount + " === 2")
		p.click(`([...document.querySelectorAll("#filters button")].find(b => b.textContent === "Clear all"))`)
		p.wait(rowCount + " === 4")
		p.check("location.search", "?zone=utc&live=0")
		p.eval("history.back()")
		p.wait(rowCount + " === 2")
		p.check(`document.querySelector("#search").value`, "DISK")

		// A level by its stored name, as the address may have it.
		p.call("Page.navigate", object{"url": l.server.URL + "/?level=fatal&level=weird"}, nil)
		p.wait(`typeof state !== "undefined" && ` + rowCount + " === 1")
		p.check(messages, "disk gone")
		p.clean(l.server.URL)
	})

	t.Run("a row opened", func(t *testing.T) {
		l := newTestLog(t)
		at := time.Date(2026, 7, 1, 22, 30, 0, 123456789, time.UTC)
		l.insert(
			testEntry{"error", "other", testTime(at), `{"user":{"id":8}}`},
			testEntry{"err", "line one\n  line two", testTime(at),
				`{"big":12345678901234567890,"stack":"a\n  b","user":{"id":7,"name":"J\u00f6rg"},"list":[1,{"x":null}],"":"odd","yes":true}`},
		)
		p := b.open(t, l.server.URL+"/", 1280, 800, false)
		p.wait(isLoaded)
		p.click(".row .head")
		p.wait(openPanel)
		p.check(`document.querySelector(".panel .message").textContent`, "line one\n  line two")
		p.check(`Object.fromEntries([...document.querySelectorAll(".facts dt")].map(e => [e.textContent, e.nextSibling.textContent])).big`, "12345678901234567890")
		p.check(`[...document.querySelectorAll(".facts dt")].map(e => e.textContent).join()`, `big,stack,user,list,"",yes`)
		// In the reader's zone, here Berlin, and in UTC as stored.
		p.check(`[...document.querySelectorAll(".meta > *")].map(e => e.textContent.replace(/ \(.*/, "")).join()`, "err,2026-07-02 00:30:00.123 GMT+2,"+testTime(at)+",entry 2")
		p.check(`[...document.querySelectorAll(".facts dd")][2].textContent`, "{\n  \"id\": 7,\n  \"name\": \"J\\u00f6rg\"\n}")
		p.check("location.search", "?open=2")
		// What is copied is the entry, digits and all.
		p.eval(`navigator.clipboard.writeText = text => { window.copied = text; return Promise.resolve(); }`)
		p.click(`([...document.querySelectorAll(".actions button")].find(b => b.textContent === "Copy as JSON"))`)
		p.wait("window.copied")
		p.check("copied.includes('12345678901234567890') && JSON.parse(copied).details.user.name", "Jörg")
		p.click(`([...document.querySelectorAll(".actions button")].find(b => b.textContent === "Copy link"))`)
		p.wait(`copied.startsWith("http")`)
		p.check("copied", l.server.URL+"/?open=2")
		// A field nested in details filters by a click.
		p.click(`([...document.querySelectorAll(".value")].find(b => b.textContent === "7"))`)
		p.wait(`document.querySelector(".chip.set")`)
		p.wait(rowCount + " === 1")
		p.check("location.search", "?details.user.id=7")
		p.check(`document.querySelector(".chip.set").textContent`, "user.id = 7×")
		p.clean(l.server.URL)
	})

	t.Run("a shared entry further down", func(t *testing.T) {
		l := newTestLog(t)
		l.fill(2000)
		p := b.open(t, l.server.URL+"/?open=5", 1280, 800, false)
		p.wait(openPanel)
		p.wait(isLoaded)
		p.check(messages, "entry 4|entry 3|entry 2|entry 1|entry 0")
		// What comes is not put on top of it, with a gap between.
		l.reader.Committed(l.insert(testEntry{"error", "meanwhile", testTime(time.Now()), nil}))
		time.Sleep(500 * time.Millisecond) // a tail would have brought it
		p.check(messages, "entry 4|entry 3|entry 2|entry 1|entry 0")
		p.check(`document.querySelector("#status").textContent`, "from entry 5, newest first Go to newest")
		p.check(`document.querySelector("#liveText").textContent`, "Not live")
		p.click(`([...document.querySelectorAll("#status button")].find(b => b.textContent === "Go to newest"))`)
		p.wait(messages + `.startsWith("meanwhile|entry 1999|entry 1998|")`)
		p.wait(liveIsOn)
		l.reader.Committed(l.insert(testEntry{"error", "live again", testTime(time.Now()), nil}))
		p.wait(messages + `.startsWith("live again|meanwhile|entry 1999|")`)

		// The button that says it is not live leads there, too.
		p.call("Page.navigate", object{"url": l.server.URL + "/?open=5&live=0"}, nil)
		p.wait(`state.anchored`)
		p.click("#live")
		p.wait(liveIsOn)
		p.wait(messages + `.startsWith("live again|meanwhile|")`)
		p.clean(l.server.URL)
	})

	t.Run("live", func(t *testing.T) {
		l := newTestLog(t)
		l.fill(400)
		p := b.open(t, l.server.URL+"/?q=entry", 1280, 800, false)
		p.wait(liveIsOn)
		p.wait(isLoaded)
		now := time.Now()
		l.reader.Committed(l.insert(
			testEntry{"error", "another", testTime(now), nil},
			testEntry{"error", "entry at the top", testTime(now), nil},
		))
		p.wait(messages + `.includes("at the top")`)
		p.check(`state.entries[0].id + " " + state.entries.length`, "402 301")
		// Who has scrolled away is not pushed about.
		p.eval(`document.querySelector("#list").scrollTop = 3200`)
		p.wait("document.querySelector(`[data-id=\"${state.entries[100].id}\"]`)")
		inSight := `[...document.querySelectorAll(".row")].filter(e => e.getBoundingClientRect().top >= document.querySelector("#list").getBoundingClientRect().top).map(e => e.dataset.id)[0]`
		before := p.eval(inSight)
		l.reader.Committed(l.insert(testEntry{"error", "entry above", testTime(now), nil}))
		p.wait(`!document.querySelector("#pill").hidden`)
		p.check(inSight, before)
		p.check(`document.querySelector("#pill").textContent`, "↑ 1 new")
		p.click("#pill")
		p.wait(`document.querySelector("#pill").hidden`)
		p.check(messages+`.split("|")[0]`, "entry above")
		// Nor is who reads an entry.
		p.press("j", "Enter")
		p.wait(openPanel)
		l.reader.Committed(l.insert(testEntry{"error", "entry above again", testTime(now), nil}))
		p.wait(`!document.querySelector("#pill").hidden && state.selected === 403`)
		p.check(inSight, 403)
		p.press("Escape", "g")
		// Paused, nothing comes; resumed, it is there, and the rest as it was.
		p.press("p")
		p.wait(`document.querySelector("#liveText").textContent === "Paused"`)
		n := p.eval("state.entries.length")
		l.reader.Committed(l.insert(testEntry{"error", "entry in the pause", testTime(now), nil}))
		p.check(`location.search`, "?q=entry&live=0")
		p.check("state.entries.length", n)
		p.press("p")
		p.wait(`state.entries[0].message === "entry in the pause"`)
		p.check("state.entries.length", n.(float64)+1)
		p.clean(l.server.URL)
	})

	t.Run("the tail comes back after the connection is lost", func(t *testing.T) {
		l := newTestLog(t)
		l.fill(1)
		var busy atomic.Bool
		end := make(chan struct{})
		server := l.tailThrough(func(w http.ResponseWriter, req *http.Request, l http.Handler) {
			if busy.Load() {
				http.Error(w, "busy", http.StatusServiceUnavailable)
				return
			}
			ctx, cancel := context.WithCancel(req.Context())
			defer cancel()
			go func() {
				select {
				case <-end:
					cancel()
				case <-ctx.Done():
				}
			}()
			l.ServeHTTP(w, req.WithContext(ctx))
		})
		p := b.open(t, server.URL+"/", 1280, 800, false)
		p.wait(liveIsOn)
		p.wait(rowCount + " === 1")
		// On a slow machine it may well be away for two seconds.
		p.eval(`window.realTimeout = setTimeout; window.setTimeout = (f, ms) => realTimeout(f, ms === 2000 ? 1e6 : ms)`)
		p.eval(`window.said = []; new MutationObserver(() => said.push(document.getElementById("liveText").textContent)).observe(document.getElementById("liveText"), {childList: true})`)

		// Whether it was ended or reset, it is back at once, and nobody is told.
		end <- struct{}{}
		l.insert(testEntry{"error", "after its end", testTime(time.Now()), nil})
		p.wait(rowCount + " === 2")
		server.CloseClientConnections()
		l.insert(testEntry{"error", "after another", testTime(time.Now()), nil})
		p.wait(rowCount + " === 3")
		p.wait(liveIsOn)
		p.check(`said.filter(text => text !== "Live").join()`, "")

		// Where it stays away, they are, until it is back.
		p.eval(`window.setTimeout = realTimeout`)
		busy.Store(true)
		end <- struct{}{}
		p.wait(`document.querySelector("#liveText").textContent === "Connecting"`)
		l.insert(testEntry{"error", "meanwhile", testTime(time.Now()), nil})
		busy.Store(false)
		p.wait(rowCount + " === 4")
		p.wait(liveIsOn)
		p.check(messages, "meanwhile|after another|after its end|entry 0")
		p.clean(server.URL, "net::ERR_", "status of 503")
	})

	t.Run("entries that come too fast", func(t *testing.T) {
		l := newTestLog(t)
		l.fill(1)
		p := b.open(t, l.server.URL+"/?q=entry", 1280, 800, false)
		p.wait(liveIsOn)
		p.wait(isLoaded)
		// None of those passed over is one that is looked for.
		entries := make([]testEntry, 100+500)
		for i := range entries {
			message := "other"
			if i >= 100 {
				message = "entry"
			}
			entries[i] = testEntry{"error", message, testTime(time.Now()), nil}
		}
		l.reader.Committed(l.insert(entries...))
		p.wait(fmt.Sprintf("state.entries.length === %d", 1+500))
		p.check(`document.querySelector("#status").textContent.split("  ·  ")[1]`, "up to 100 entries skipped, too many at once Load them")
		p.click(`([...document.querySelectorAll("#status button")].find(b => b.textContent === "Load them"))`)
		p.wait("!state.skipped && state.entries.length === 300")
		p.clean(l.server.URL)
	})

	t.Run("a tail that is cut off in an event goes on before it", func(t *testing.T) {
		l := newTestLog(t)
		l.fill(6)
		cut := make(chan string, 2) // what is sent ahead of a cut
		var mu sync.Mutex
		var begins []string // guarded by mu
		server := l.tailThrough(func(w http.ResponseWriter, req *http.Request, l http.Handler) {
			mu.Lock()
			begins = append(begins, req.Header.Get("Last-Event-ID"))
			mu.Unlock()
			select {
			case text := <-cut:
				io.WriteString(w, text)
				http.NewResponseController(w).Flush()
				time.Sleep(100 * time.Millisecond) // or the browser drops it with the connection
				panic(http.ErrAbortHandler)
			default:
				l.ServeHTTP(w, req)
			}
		})
		cut <- "id: 6\n\nid: 7\nda"
		cut <- "id: 6\n\nevent: skipped\ndata: {\"skipped\":2,\"after\":6,\"before\":9}\n\nid: 9\n"
		p := b.open(t, server.URL+"/", 1280, 800, false)
		p.wait(isLoaded)
		l.insert(
			testEntry{"error", "seven", testTime(time.Now()), nil},
			testEntry{"error", "eight", testTime(time.Now()), nil},
			testEntry{"error", "nine", testTime(time.Now()), nil},
		)
		p.wait("state.entries[0].id === 9")
		p.wait(liveIsOn)
		p.check("state.entries.map(r => r.id).join() + ' ' + state.skipped", "9,6,5,4,3,2,1 2")
		mu.Lock()
		defer mu.Unlock()
		if got := strings.Join(begins, " "); got != "6 6 8" {
			t.Errorf("the tails begin after %s", got)
		}
		p.clean(server.URL, "net::ERR_")
	})

	t.Run("another database takes the place of the one shown", func(t *testing.T) {
		l, fresh := newTestLog(t), newTestLog(t)
		l.fill(5)
		var replaced atomic.Bool
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			shown := l
			if replaced.Load() {
				shown = fresh
			}
			shown.server.Config.Handler.ServeHTTP(w, req)
		}))
		defer server.Close()
		defer fresh.reader.EndTails()
		p := b.open(t, server.URL+"/", 1280, 800, false)
		p.wait(liveIsOn)
		p.wait(rowCount + " === 5")
		fresh.insert(testEntry{"error", "the first of another", testTime(time.Now()), nil})
		replaced.Store(true)
		l.reader.EndTails()
		p.wait(messages + ` === "the first of another"`)
		p.wait(liveIsOn)
		fresh.reader.Committed(fresh.insert(testEntry{"error", "the second", testTime(time.Now()), nil}))
		p.wait(messages + ` === "the second|the first of another"`)
		p.clean(server.URL)
	})

	t.Run("the tail begins where the list was loaded, however late", func(t *testing.T) {
		l := newTestLog(t)
		l.fill(1)
		var busy atomic.Bool
		busy.Store(true)
		server := l.tailThrough(func(w http.ResponseWriter, req *http.Request, l http.Handler) {
			if busy.Load() {
				http.Error(w, "busy", http.StatusServiceUnavailable)
				return
			}
			l.ServeHTTP(w, req)
		})
		p := b.open(t, server.URL+"/", 1280, 800, false)
		p.wait(rowCount + " === 1")
		p.wait(isLoaded)
		l.reader.Committed(l.insert(testEntry{"error", "before the tail", testTime(time.Now()), nil}))
		busy.Store(false)
		p.wait(liveIsOn)
		l.reader.Committed(l.insert(testEntry{"error", "after it began", testTime(time.Now()), nil}))
		p.wait(messages + `.startsWith("after it began")`)
		p.check(messages, "after it began|before the tail|entry 0")
		p.clean(server.URL, "status of 503")

		// Nor does it miss anything where the page was loaded paused.
		p = b.open(t, server.URL+"/?live=0", 1280, 800, false)
		p.wait(rowCount + " === 3")
		p.wait(isLoaded)
		l.insert(testEntry{"error", "in the pause", testTime(time.Now()), nil})
		p.press("p")
		p.wait(liveIsOn)
		l.reader.Committed(l.insert(testEntry{"error", "after it", testTime(time.Now()), nil}))
		p.wait(messages + `.startsWith("after it|")`)
		p.check(messages, "after it|in the pause|after it began|before the tail|entry 0")
		p.clean(server.URL)
	})

	t.Run("markup is text", func(t *testing.T) {
		l := newTestLog(t)
		attack := `<img src=x onerror="document.title='broken'"><script>document.title='broken'</script>"'><b>&amp;</b>` + "\u202e${1}"
		encoded, err := json.Marshal(attack)
		must(t, err)
		details := fmt.Sprintf(`{%s:%s,"__proto__":{"polluted":%s},"constructor":%s,"nested":{%s:[%s]}}`, encoded, encoded, encoded, encoded, encoded, encoded)
		l.insert(
			testEntry{attack, attack, attack, details},
			testEntry{"error", attack + ",\"details\":{}", testTime(time.Now()), attack},
		)
		p := b.open(t, l.server.URL+"/", 1280, 800, false)
		p.wait(rowCount + " === 2")
		p.wait(isLoaded)
		p.eval(`[...document.querySelectorAll(".head")].forEach(e => e.click())`)
		p.wait(`document.querySelectorAll(".panel").length === 2`)
		p.check(`document.querySelectorAll("main img, main script, main b, #filters img").length`, 0)
		p.check(`[...document.querySelectorAll(".panel .message")][1].textContent`, attack)
		p.check(`[...document.querySelectorAll(".panel dd")].some(e => e.textContent === `+string(encoded)+`)`, true)
		p.check(`document.querySelectorAll(".panel dt").length`, 4+1)
		p.check(`({}).polluted === undefined`, true)
		// By a click, too, into the filters, the address and what finds nothing.
		p.click(`([...document.querySelectorAll(".panel .value")].filter(b => b.textContent.startsWith("<img"))[1])`)
		p.wait(`document.querySelector(".chip.set") && state.entries.length === 1`)
		p.eval(`changeQuery({q: ` + string(encoded) + `, levels: [` + string(encoded) + `]})`)
		p.wait(`!document.querySelector("#busy").hidden || state.entries.length === 1`)
		p.wait(`state.entries.length === 1 && document.querySelector("mark")`)
		p.check(`document.querySelectorAll("main img, main script, main b, header img, #filters img").length`, 0)
		p.check(`document.title.endsWith(" · Logs")`, true)
		// Were it to become markup after all, it would not run.
		p.check(`(() => { try { document.createElement("div").innerHTML = "<b>x</b>"; return "made markup"; } catch (e) { return e.name; } })()`, "TypeError")
		p.clean(l.server.URL, "TrustedHTML", "Trusted Type")
	})

	t.Run("keyboard", func(t *testing.T) {
		l := newTestLog(t)
		l.fill(500)
		p := b.open(t, l.server.URL+"/", 1280, 800, false)
		p.wait(rowCount + " > 10")
		p.press("j")
		p.check(`state.selected`, 500)
		p.press("j", "j", "k")
		p.check(`state.selected`, 499)
		p.press("Enter")
		p.wait(openPanel)
		p.check(`[...state.opened].join()`, "499")
		p.press("Escape")
		p.check(`state.opened.size`, 0)
		for range 40 {
			p.press("j")
		}
		p.check(`state.selected`, 459)
		p.check(`(() => { const r = document.querySelector('[data-id="459"]').getBoundingClientRect(), l = document.querySelector("#list").getBoundingClientRect(); return r.top >= l.top - 1 && r.bottom <= l.bottom + 1; })()`, true)
		p.press("g")
		p.check(`state.selected`, 500)
		p.press("/")
		p.check(`document.activeElement.id`, "search")
		p.typeText("ENTRY 77")
		p.press("Enter")
		p.wait("state.entries.length === 1")
		p.check("location.search", "?q=ENTRY+77")
		p.press("/", "Escape")
		p.check(`document.activeElement.id === "search"`, false)
		p.press("u")
		p.check("location.search", "?q=ENTRY+77&zone=utc")
		p.press("c")
		p.wait("state.entries.length > 1")
		p.press("?")
		p.check(`document.querySelector("#helpDialog").open`, true)
		p.press("Escape")
		p.check(`document.querySelector("#helpDialog").open`, false)
		p.clean(l.server.URL)
	})

	t.Run("the histogram filters by dragging", func(t *testing.T) {
		l := newTestLog(t)
		l.fill(3600)
		p := b.open(t, l.server.URL+"/?zone=utc", 1280, 800, false)
		p.wait("state.chart && document.querySelector('#bars .hover') && state.entries.length")
		p.check("state.chart.step + ' ' + (state.chart.end - state.chart.first) / state.chart.step", "60000 60")
		x := func(slot float64) float64 {
			return p.eval(fmt.Sprintf(`document.querySelector("#bars").getBoundingClientRect().left + %v * document.querySelector("#bars .hover").width.baseVal.value`, slot)).(float64)
		}
		y := p.eval(`document.querySelector("#bars").getBoundingClientRect().top + 30`).(float64)
		from, to := x(10.5), x(19.5)
		p.mouse("mouseMoved", from, y)
		p.check(`!document.querySelector("#tip").hidden && document.querySelector("#tip").innerText.includes("60")`, true)
		p.mouse("mousePressed", from, y)
		p.mouse("mouseMoved", (from+to)/2, y)
		p.mouse("mouseMoved", to, y)
		p.mouse("mouseReleased", to, y)
		p.wait(`location.search.includes("until")`)
		p.check(`new URLSearchParams(location.search).get("since") + " " + new URLSearchParams(location.search).get("until")`, "2026-11-22T00:10:00Z 2026-11-22T00:20:00Z")
		p.wait(`state.chart && state.entries.length`)
		p.check("state.entries[0].message + ' ' + state.chart.levels.error", "entry 1199 600")
		p.check(`document.querySelector("#liveText").textContent`, "Not live")
		p.check(`document.querySelector("#range").value`, "custom")
		p.clean(l.server.URL)
	})

	t.Run("the key prompt", func(t *testing.T) {
		l := newTestLog(t)
		l.fill(3)
		guarded := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if strings.HasPrefix(req.URL.Path, "/logs") && req.Header.Get("Authorization") != "Bearer s3cret" {
				w.Header().Set("WWW-Authenticate", "Bearer")
				w.WriteHeader(http.StatusUnauthorized)
				fmt.Fprintln(w, `{"error":"an API key is needed"}`)
				return
			}
			l.server.Config.Handler.ServeHTTP(w, req)
		}))
		defer guarded.Close()
		defer l.reader.EndTails()
		p := b.open(t, guarded.URL+"/", 1280, 800, false)
		p.wait(`document.querySelector("#keyDialog").open`)
		p.check(rowCount, 0)
		p.typeText("wrong")
		p.press("Enter")
		p.wait(`document.querySelector("#keyError").textContent === "The server rejected this key."`)
		p.typeText("s3cret")
		p.press("Enter")
		p.wait(rowCount + " === 3")
		p.wait(liveIsOn)
		p.check(`document.querySelector("#keyDialog").open`, false)
		p.check(`sessionStorage.apiKey + Object.keys(localStorage).length + document.cookie`, "s3cret0")
		p.check(`location.href.includes("s3cret")`, false)
		// It lasts as long as the tab, and another tab has to ask anew.
		p.call("Page.reload", object{}, nil)
		p.wait(`typeof state !== "undefined" && ` + rowCount + " === 3")
		other := b.open(t, guarded.URL+"/", 1280, 800, false)
		other.wait(`document.querySelector("#keyDialog").open`)
		p.clean(guarded.URL, "status of 401")
	})

	t.Run("levels rank as on the server", func(t *testing.T) {
		l := newTestLog(t)
		p := b.open(t, l.server.URL+"/", 1280, 800, false)
		names := regexp.MustCompile(`[a-z]+`).FindAllString(p.eval("Object.values(LEVEL_NAMES).flat().join()").(string), -1)
		if len(names) < 30 {
			t.Errorf("the page knows %d names", len(names))
		}
		for _, name := range append(names, "trace", "trce", "trc", "silly", "finest", "finer", "debug", "dbug", "dbg", "fine", "config",
			"verbose", "vrb", "http", "info", "inf", "information", "informational", "notice", "note", "success", "warn", "warning", "wrn",
			"error", "err", "eror", "fail", "severe", "fatal", "ftl", "critical", "crit", "alert", "emerg", "emergency", "panic", "dpanic",
			"ERROR+4", "error-4", "debug-4", "DEBUG+2", "info+", "+4", "error+4+5", "a-b-1", "", "weird", "unknown", "constructor", "__proto__") {
			encoded, err := json.Marshal(name)
			must(t, err)
			p.check("levelOf("+string(encoded)+")", entry.LevelByName([]byte(name)).String())
		}
		p.clean(l.server.URL)
	})

	t.Run("what fails is said", func(t *testing.T) {
		l := newTestLog(t)
		p := b.open(t, l.server.URL+"/?since=tomorrow", 1280, 800, false)
		p.wait(`document.querySelector("#notice h2")`)
		p.check(`document.querySelector("#notice").innerText.includes("Since is a time such as")`, true)
		p.clean(l.server.URL, "status of 400")
	})

	t.Run("ten thousand rows", func(t *testing.T) {
		l := newTestLog(t)
		l.fill(10_000)
		p := b.open(t, l.server.URL+"/", 1280, 800, false)
		p.wait("state.entries.length")
		// To the end, by its own loading of older entries.
		for range 100 {
			if p.eval("state.atEnd") == true {
				break
			}
			p.eval(`(async () => { const n = state.entries.length; document.querySelector("#list").scrollTop = 1e9; for (let i = 0; i < 500 && state.entries.length === n && !state.atEnd; i++) await new Promise(r => setTimeout(r, 10)); })()`)
		}
		p.check("state.entries.length", 10_000)
		p.eval(`document.querySelector("#list").scrollTop = 1e9`)
		p.wait(messages + `.endsWith("entry 1|entry 0")`)
		// However many there are, the document holds those in sight.
		p.check(rowCount+" < 80", true)
		p.check(`new Set(state.entries.map(r => r.id)).size`, 10_000)
		// Wherever one scrolls, the screen is full of the right state.entries.
		p.check(`(async () => {
			const list = document.querySelector("#list"), box = list.getBoundingClientRect();
			for (let y = 0; y < list.scrollHeight - 800; y += 9973) {
				list.scrollTop = y;
				await new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)));
				const e = document.elementFromPoint(box.left + 300, box.top + box.height / 2).closest(".row");
				const want = state.entries[Math.floor((list.scrollTop + box.height / 2) / 32)].id;
				if (!e || Number(e.dataset.id) !== want) return "at " + y + " there is " + (e && e.dataset.id) + ", not " + want;
			}
			return "right";
		})()`, "right")
		p.clean(l.server.URL)
	})

	t.Run("on a phone", func(t *testing.T) {
		l := newTestLog(t)
		l.fill(50)
		p := b.open(t, l.server.URL+"/", 390, 844, true)
		p.wait(rowCount + " > 5")
		p.wait(isLoaded)
		p.click(".row .head")
		p.wait(openPanel)
		p.check("document.documentElement.scrollWidth <= innerWidth", true)
		p.check(`document.querySelector(".panel").getBoundingClientRect().right <= innerWidth`, true)
		p.clean(l.server.URL)
	})
}

// The pictures of the README are made by
//
//	go test -run TestViewerPictures -screenshots docs .
func TestViewerPictures(t *testing.T) {
	dir := t.TempDir()
	if *screenshots != "" {
		dir = *screenshots
		must(t, os.MkdirAll(dir, 0o755))
	}
	b := startBrowser(t)
	l := newTestLog(t)
	l.insert(pictureEntries(time.Now(), 900)...)
	for name, dark := range map[string]bool{"viewer-light.png": false, "viewer-dark.png": true} {
		p := b.open(t, l.server.URL+"/", 1060, 660, dark)
		p.wait(liveIsOn)
		p.wait(isLoaded)
		if dark {
			p.press("/")
			p.typeText("payment")
			p.press("Enter")
			p.wait(`state.entries.length && document.querySelector("mark") && state.chart`)
		}
		p.press("j", "j", "Enter")
		p.wait(openPanel)
		p.wait(`document.querySelector(".row.open").nextSibling.getBoundingClientRect().top >= document.querySelector(".row.open").getBoundingClientRect().bottom`)
		p.picture(filepath.Join(dir, name))
		p.clean(l.server.URL)
	}
}

// pictureEntries returns entries such as a shop might log in a bad night.
func pictureEntries(now time.Time, n int) []testEntry {
	kinds := []struct {
		level, message, details string
		weight                  int
	}{
		{"error", "connection to db-primary refused", `{"service":"orders","host":"node-%02[1]d","port":5432,"attempt":%[2]d,"trace_id":"%08[3]x"}`, 6},
		{"error", "payment provider timed out after 10 s", `{"service":"checkout","provider":"acme-pay","order":%[3]d,"amount":{"value":"%[2]d.90","currency":"EUR"},"retry":true}`, 5},
		{"fatal", "out of memory: worker killed", `{"service":"images","pid":%[2]d,"rss_mb":2048}`, 1},
		{"critical", "replica is 42 s behind", `{"service":"db","replica":"db-%[1]d"}`, 1},
		{"error", "TypeError: cannot read properties of undefined (reading 'id')", `{"service":"web","url":"/cart/%[2]d","stack":"TypeError: cannot read properties of undefined\n    at Cart.render (cart.js:%[1]d:17)\n    at main (app.js:8:3)"}`, 4},
		{"unknown", "GET /health 502", `{"upstream":"10.0.3.%[1]d","took_ms":%[2]d}`, 2},
		{"error+4", "payment was refused twice, order is on hold", `{"service":"checkout","order":%[3]d,"customer":{"id":%[2]d,"country":"DE"}}`, 2},
	}
	var bag []int
	for i, kind := range kinds {
		for range kind.weight {
			bag = append(bag, i)
		}
	}
	// A generator of its own gives the same picture every time.
	seed := uint32(2463534242)
	random := func(n int) int {
		seed ^= seed << 13
		seed ^= seed >> 17
		seed ^= seed << 5
		return int(seed % uint32(n))
	}
	entries := make([]testEntry, n)
	at := now
	for i := n - 1; i >= 0; i-- {
		gap := 30_000
		if i > n*6/10 && i < n*8/10 {
			gap = 6_000 // the bad half hour
		}
		at = at.Add(-time.Duration(random(2*gap)) * time.Millisecond)
		kind := kinds[bag[random(len(bag))]]
		details := fmt.Sprintf(kind.details, 1+random(24), 100+random(900), 100000+random(900000))
		details, _, _ = strings.Cut(details, "%!(EXTRA")
		entries[i] = testEntry{kind.level, kind.message, testTime(at), details}
	}
	return entries
}
