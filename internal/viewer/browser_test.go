package viewer

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"log-ingester/internal/testskip"
)

const (
	callTimeout = 60 * time.Second // for a response of Chromium
	waitTimeout = 30 * time.Second // for a condition in a page
	exitTimeout = 10 * time.Second // for Chromium to exit
)

// The browser of all tests. The first test that needs it starts it.
var (
	sharedBrowser      *browser
	sharedBrowserErr   error
	startSharedBrowser sync.Once
)

func TestMain(m *testing.M) {
	code := testskip.Main(m)
	if sharedBrowser != nil {
		sharedBrowser.close()
	}
	os.Exit(code)
}

// testBrowser returns the shared browser. Without Chromium, it skips the test.
func testBrowser(t testing.TB) *browser {
	t.Helper()
	startSharedBrowser.Do(func() { sharedBrowser, sharedBrowserErr = startBrowser() })
	if errors.Is(sharedBrowserErr, errNoChromium) {
		testskip.SkipOrFail(t, sharedBrowserErr.Error())
	}
	if sharedBrowserErr != nil {
		t.Fatal(sharedBrowserErr)
	}
	return sharedBrowser
}

// A browser is a Chromium process, controlled through a pipe with the DevTools
// protocol.
type browser struct {
	cmd    *exec.Cmd
	home   string
	stderr bytes.Buffer
	exited chan struct{} // closed when the process has exited

	mu        sync.Mutex
	in        *os.File
	lastID    int
	responses map[int]chan devtoolsMessage
	tabs      map[string]*tab // by session
}

type devtoolsMessage struct {
	ID        int                       `json:"id,omitempty"`
	SessionID string                    `json:"sessionId,omitempty"`
	Method    string                    `json:"method,omitempty"`
	Params    json.RawMessage           `json:"params,omitempty"`
	Result    json.RawMessage           `json:"result,omitempty"`
	Error     *struct{ Message string } `json:"error,omitempty"`
}

type object = map[string]any

// errNoChromium means that Chromium is not installed.
var errNoChromium = errors.New("chromium is not installed (apt-get install chromium)")

func findChromium() (string, error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errNoChromium
}

// startBrowser starts Chromium in the time zone of Berlin. The caller must close
// the browser.
func startBrowser() (*browser, error) {
	path, err := findChromium()
	if err != nil {
		return nil, err
	}
	home, err := os.MkdirTemp("", "chromium")
	if err != nil {
		return nil, err
	}
	b := &browser{
		home:      home,
		exited:    make(chan struct{}),
		responses: make(map[int]chan devtoolsMessage),
		tabs:      make(map[string]*tab),
	}
	if err := b.start(path); err != nil {
		os.RemoveAll(home)
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	return b, nil
}

func (b *browser) start(path string) error {
	args := []string{
		"--headless=new",
		"--remote-debugging-pipe",
		"--user-data-dir=" + filepath.Join(b.home, "profile"),
		"--no-first-run",
		"--disable-gpu",
		"--disable-dev-shm-usage",
		"--disable-background-networking",
		"--disable-component-update",
		"--disable-sync",
		"--disable-extensions",
		"--hide-scrollbars",
		"--force-color-profile=srgb",
		"--lang=en-US",
	}
	if os.Geteuid() == 0 {
		args = append(args, "--no-sandbox") // Chromium refuses to run as root with it
	}
	b.cmd = exec.Command(path, append(args, "about:blank")...)
	b.cmd.Env = append(os.Environ(), "HOME="+b.home, "TZ=Europe/Berlin", "LANG=en_US.UTF-8")
	b.cmd.Stderr = &b.stderr
	b.cmd.WaitDelay = exitTimeout // subprocesses may keep stderr open
	commands, in, err := os.Pipe()
	if err != nil {
		return err
	}
	defer commands.Close()
	out, events, err := os.Pipe()
	if err != nil {
		in.Close()
		return err
	}
	defer events.Close()
	b.cmd.ExtraFiles = []*os.File{commands, events}
	if err := b.cmd.Start(); err != nil {
		in.Close()
		out.Close()
		return err
	}
	b.in = in
	go b.read(out)
	go func() {
		_ = b.cmd.Wait() // Chromium may well exit with an error once its pipe is closed
		close(b.exited)
	}()
	return nil
}

// close ends Chromium and deletes its files.
func (b *browser) close() {
	b.in.Close() // makes Chromium exit
	select {
	case <-b.exited:
	case <-time.After(exitTimeout):
		b.cmd.Process.Kill()
		<-b.exited
	}
	os.RemoveAll(b.home)
}

// read delivers the messages of Chromium, each of which ends with a NUL, until
// its end of the pipe is closed.
func (b *browser) read(from *os.File) {
	defer from.Close()
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
		response, tab := b.responses[m.ID], b.tabs[m.SessionID]
		delete(b.responses, m.ID)
		b.mu.Unlock()
		if response != nil {
			response <- m
		} else if tab != nil {
			tab.event(m)
		}
	}
}

// send sends a command, and returns the channel that receives its response.
func (b *browser) send(session, method string, params any) (<-chan devtoolsMessage, error) {
	encoded, err := json.Marshal(params)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lastID++
	m := devtoolsMessage{ID: b.lastID, SessionID: session, Method: method, Params: encoded}
	text, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	response := make(chan devtoolsMessage, 1)
	b.responses[m.ID] = response
	_, err = b.in.Write(append(text, 0))
	return response, err
}

// call sends a command and decodes its result, unless result is nil.
func (b *browser) call(t testing.TB, session, method string, params, result any) {
	t.Helper()
	response, err := b.send(session, method, params)
	if err != nil {
		t.Fatalf("%s: %v", method, err)
	}
	select {
	case m := <-response:
		if m.Error != nil {
			t.Fatalf("%s: %s", method, m.Error.Message)
		}
		if result == nil {
			return
		}
		if err := json.Unmarshal(m.Result, result); err != nil {
			t.Fatalf("%s: %v", method, err)
		}
	case <-b.exited:
		t.Fatalf("%s: Chromium has exited: %.2000s", method, b.stderr.String())
	case <-time.After(callTimeout):
		t.Fatalf("%s: no response from Chromium within %v", method, callTimeout)
	}
}

// A screen is what a tab is shown on.
type screen struct {
	width, height int
	dark          bool
}

var (
	desktop = screen{width: 1280, height: 800}
	phone   = screen{width: 390, height: 844, dark: true}
)

// A tab is a page in a browser context of its own: it shares no cache and no
// storage with other tabs.
type tab struct {
	t       testing.TB
	b       *browser
	session string
	origin  string
	allowed []string // see allowErrors

	mu       sync.Mutex
	errors   []string // exceptions and console messages
	requests []string // the URLs that the page has requested
}

// pageHelpers gives test expressions short names for what they need.
const pageHelpers = `
	const $ = (selector) => document.querySelector(selector);
	const $$ = (selector) => [...document.querySelectorAll(selector)];
	const buttonWith = (text) => $$("button").find((button) => button.textContent === text);
	const liveText = () => $("#liveText").textContent;
	const isLive = () => liveText() === "Live";
	const isLoaded = () => $("#busy").hidden && state.chart && !$("#chart.stale");
	const topOf = (element) => element.getBoundingClientRect().top;
	const row = (id) => $('.row[data-id="' + id + '"]');
	const levelButtons = () => $$("#filters .chip").map((chip) => chip.innerText.replace(/\s+/g, " ").trim()).join();
	const messageOf = (text) => [...text.childNodes].slice(0, -1).map((node) => node.textContent).join("");
	const messages = () => $$(".row .text").map((text) => messageOf(text).trim()).join("|");
	// The text of an element without its buttons and without what only screen readers read.
	const textOf = (element) => {
		const copy = element.cloneNode(true);
		copy.querySelectorAll("button, .visually-hidden").forEach((e) => e.remove());
		return copy.textContent;
	};
	const filters = () => $$(".chip.set").map((chip) => chip.querySelector(".name").textContent).join();
	const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
	const settled = async () => {
		await (await fetch("logs?limit=1")).text();
		await frame();
		await frame();
	};
	addEventListener("DOMContentLoaded", async () => {
		const app = $("script[type=module]").src;
		const modules = ["levels", "state"].map((name) => import(app.replace("app.js", name + ".js")));
		Object.assign(window, ...await Promise.all(modules));
	});
`

// openTab opens a page. When the test ends, it fails if the page has reported an
// error or requested anything from another server.
func openTab(t testing.TB, url string, s screen) *tab {
	t.Helper()
	b := testBrowser(t)
	var made struct{ BrowserContextID, TargetID, SessionID string }
	b.call(t, "", "Target.createBrowserContext", object{}, &made)
	t.Cleanup(func() {
		b.call(t, "", "Target.disposeBrowserContext", object{"browserContextId": made.BrowserContextID}, nil)
	})
	b.call(t, "", "Target.createTarget", object{
		"url": "about:blank", "browserContextId": made.BrowserContextID, "width": s.width, "height": s.height,
	}, &made)
	b.call(t, "", "Target.attachToTarget", object{"targetId": made.TargetID, "flatten": true}, &made)
	p := &tab{t: t, b: b, session: made.SessionID, origin: originOf(url)}
	b.mu.Lock()
	b.tabs[p.session] = p
	b.mu.Unlock()
	t.Cleanup(p.verifyClean)
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		p.call(domain+".enable", object{}, nil)
	}
	scheme := "light"
	if s.dark {
		scheme = "dark"
	}
	p.call("Emulation.setEmulatedMedia", object{"features": []object{
		{"name": "prefers-color-scheme", "value": scheme},
		{"name": "prefers-reduced-motion", "value": "reduce"},
	}}, nil)
	p.call("Emulation.setDeviceMetricsOverride", object{
		"width": s.width, "height": s.height, "deviceScaleFactor": 1, "mobile": s.width < 500,
	}, nil)
	p.call("Page.addScriptToEvaluateOnNewDocument", object{"source": pageHelpers}, nil)
	p.navigate(url)
	return p
}

func originOf(url string) string {
	scheme, rest, _ := strings.Cut(url, "://")
	host, _, _ := strings.Cut(rest, "/")
	return scheme + "://" + host
}

// navigate loads another address in the tab.
func (p *tab) navigate(url string) {
	p.t.Helper()
	p.call("Page.navigate", object{"url": url}, nil)
	p.waitUntilStarted()
}

// reload loads the page again.
func (p *tab) reload() {
	p.t.Helper()
	p.eval("window.isOld = true")
	p.call("Page.reload", object{}, nil)
	p.wait("!window.isOld")
	p.waitUntilStarted()
}

// waitUntilStarted waits until test expressions can use the page's modules.
func (p *tab) waitUntilStarted() {
	p.t.Helper()
	p.wait("document.readyState === 'complete' && state")
}

func (p *tab) call(method string, params object, result any) {
	p.t.Helper()
	p.b.call(p.t, p.session, method, params, result)
}

// event records the errors and the requests of the page.
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
		p.errors = append(p.errors, "a JavaScript dialog was opened")
	}
}

// allowErrors allows the page to report errors that contain one of the texts.
func (p *tab) allowErrors(texts ...string) { p.allowed = append(p.allowed, texts...) }

// verifyClean fails the test if the page has reported an error that is not
// allowed, or has requested anything from another server.
func (p *tab) verifyClean() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.errors {
		if !containsAny(e, p.allowed) {
			p.t.Errorf("error in the page: %s", e)
		}
	}
	if len(p.requests) == 0 {
		p.t.Error("the page has made no request")
	}
	for _, url := range p.requests {
		// Chromium draws its own icons from data: URLs.
		if !strings.HasPrefix(url, p.origin+"/") && !strings.HasPrefix(url, "data:") {
			p.t.Errorf("the page has requested %s", url)
		}
	}
}

func containsAny(s string, texts []string) bool {
	for _, text := range texts {
		if strings.Contains(s, text) {
			return true
		}
	}
	return false
}

// tryEval evaluates a JavaScript expression. It waits for a promise.
func (p *tab) tryEval(expression string) (any, error) {
	p.t.Helper()
	var response struct {
		Result           struct{ Value any }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	p.call("Runtime.evaluate", object{"expression": expression, "returnByValue": true, "awaitPromise": true}, &response)
	if e := response.ExceptionDetails; e != nil {
		return nil, errors.New(e.Text + " " + e.Exception.Description)
	}
	return response.Result.Value, nil
}

// eval evaluates a JavaScript expression.
func (p *tab) eval(expression string) any {
	p.t.Helper()
	value, err := p.tryEval(expression)
	if err != nil {
		p.t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// check compares the value of an expression.
func (p *tab) check(expression string, want any) {
	p.t.Helper()
	if got := p.eval(expression); fmt.Sprint(got) != fmt.Sprint(want) {
		p.t.Errorf("%s:\ngot  %v\nwant %v", expression, got, want)
	}
}

// wait waits until an expression is true. An expression that fails is not.
func (p *tab) wait(expression string) {
	p.t.Helper()
	for deadline := time.Now().Add(waitTimeout); ; time.Sleep(20 * time.Millisecond) {
		value, err := p.tryEval("!!(" + expression + ")")
		if err == nil && value == true {
			return
		}
		if time.Now().After(deadline) {
			shown, _ := p.tryEval("document.body.innerText.slice(-500)")
			p.t.Fatalf("not true within %v: %s (error: %v); the page shows:\n%v", waitTimeout, expression, err, shown)
		}
	}
}

// press presses and releases keys, one after the other.
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
		case "Tab":
			event["windowsVirtualKeyCode"] = 9
		}
		p.call("Input.dispatchKeyEvent", event, nil)
		p.call("Input.dispatchKeyEvent", object{"type": "keyUp", "key": key}, nil)
	}
}

// typeText types into the element that has the focus.
func (p *tab) typeText(text string) {
	p.t.Helper()
	p.call("Input.insertText", object{"text": text}, nil)
}

// click waits for the element that an expression returns, and clicks its center.
func (p *tab) click(expression string) {
	p.t.Helper()
	p.wait(expression)
	rect := p.eval("(({ left, top, width, height }) => [left + width / 2, top + height / 2])" +
		"((" + expression + ").getBoundingClientRect())").([]any)
	x, y := rect[0].(float64), rect[1].(float64)
	p.mouse("mousePressed", x, y)
	p.mouse("mouseReleased", x, y)
}

// mouse sends a mouse event of the left button.
func (p *tab) mouse(event string, x, y float64) {
	p.t.Helper()
	button := "left"
	if event == "mouseMoved" {
		button = "none"
	}
	p.call("Input.dispatchMouseEvent", object{
		"type": event, "x": x, "y": y, "button": button, "buttons": 1, "clickCount": 1,
	}, nil)
}

// dragText selects the text between two points of a line.
func (p *tab) dragText(from, to, y float64) {
	p.t.Helper()
	p.mouse("mousePressed", from, y)
	for x := from; x <= to; x += 5 {
		p.call("Input.dispatchMouseEvent", object{"type": "mouseMoved", "x": x, "y": y, "button": "left", "buttons": 1}, nil)
	}
	p.mouse("mouseReleased", to, y)
}

// doubleClick double-clicks a point.
func (p *tab) doubleClick(x, y float64) {
	p.t.Helper()
	for _, count := range []int{1, 2} {
		for _, event := range []string{"mousePressed", "mouseReleased"} {
			p.call("Input.dispatchMouseEvent", object{
				"type": event, "x": x, "y": y, "button": "left", "buttons": 1, "clickCount": count,
			}, nil)
		}
	}
}

// screenshot writes a picture of the page to a PNG file.
func (p *tab) screenshot(path string) {
	p.t.Helper()
	var shot struct{ Data string }
	p.call("Page.captureScreenshot", object{"format": "png"}, &shot)
	data, err := base64.StdEncoding.DecodeString(shot.Data)
	if err == nil {
		err = os.WriteFile(path, data, 0o644)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}
