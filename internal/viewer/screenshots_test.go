package viewer

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var screenshots = flag.String("screenshots", "", "write pictures of the page to this `directory`")

// The pictures in docs are made with
//
//	go test -run TestPageScreenshots ./internal/viewer -screenshots "$PWD/docs"
func TestPageScreenshots(t *testing.T) {
	dir := *screenshots
	if dir == "" {
		dir = t.TempDir()
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s := newSite(t)
	s.insert(shopEntries(time.Now(), 900)...)
	light := screen{width: 1060, height: 660}
	dark := screen{width: 1060, height: 660, dark: true}

	p := openTab(t, s.url+"/", light)
	p.wait("isLive() && isLoaded()")
	p.screenshotOpened(filepath.Join(dir, "viewer-light.png"))

	p = openTab(t, s.url+"/", dark)
	p.wait("isLive() && isLoaded()")
	p.press("/")
	p.typeText("payment")
	p.press("Enter")
	p.wait(`isLive() && isLoaded() && $("mark")`)
	p.screenshotOpened(filepath.Join(dir, "viewer-dark.png"))
}

// screenshotOpened takes a screenshot with the second entry opened.
func (p *tab) screenshotOpened(path string) {
	p.t.Helper()
	p.press("j", "j", "Enter")
	p.wait(`$(".row.open .panel")`)
	p.wait(`topOf($(".row.open").nextSibling) >= $(".row.open").getBoundingClientRect().bottom`)
	p.screenshot(path)
}

// shopKinds are the kinds of entries that an online shop logs, with how often
// each occurs. The details are formats for a number up to 24, one of three
// digits, and one of six.
var shopKinds = []struct {
	weight                  int
	level, message, details string
}{
	{6, "error", "connection to db-primary refused",
		`{"service":"orders","host":"node-%02[1]d","port":5432,"attempt":%[2]d,"trace_id":"%08[3]x"}`},
	{5, "error", "payment provider timed out after 10 s",
		`{"service":"checkout","provider":"acme-pay","order":%[3]d,` +
			`"amount":{"value":"%[2]d.90","currency":"EUR"},"retry":true}`},
	{1, "fatal", "out of memory: worker killed",
		`{"service":"images","pid":%[2]d,"rss_mb":2048}`},
	{1, "critical", "replica is 42 s behind",
		`{"service":"db","replica":"db-%[1]d"}`},
	{4, "error", "TypeError: cannot read properties of undefined (reading 'id')",
		`{"service":"web","url":"/cart/%[2]d","stack":"TypeError: cannot read properties of undefined` +
			`\n    at Cart.render (cart.js:%[1]d:17)\n    at main (app.js:8:3)"}`},
	{2, "unknown", "GET /health 502",
		`{"upstream":"10.0.3.%[1]d","took_ms":%[2]d}`},
	{2, "error+4", "payment was refused twice, order is on hold",
		`{"service":"checkout","order":%[3]d,"customer":{"id":%[2]d,"country":"DE"}}`},
}

// shopEntries returns n entries up to a time. They are the same for every run.
func shopEntries(until time.Time, n int) []testEntry {
	random := rand.New(rand.NewPCG(1, 2))
	var weighted []int // indexes in shopKinds
	for i, kind := range shopKinds {
		for range kind.weight {
			weighted = append(weighted, i)
		}
	}
	entries := make([]testEntry, n)
	at := until
	for i := n - 1; i >= 0; i-- {
		gap := 60 * time.Second
		if i > n*6/10 && i < n*8/10 {
			gap = 12 * time.Second // an outage
		}
		at = at.Add(-time.Duration(random.Int64N(int64(gap))))
		kind := shopKinds[weighted[random.IntN(len(weighted))]]
		details := fmt.Sprintf(kind.details, 1+random.IntN(24), 100+random.IntN(900), 100_000+random.IntN(900_000))
		details, _, _ = strings.Cut(details, "%!(EXTRA")
		entries[i] = testEntry{kind.level, kind.message, timestamp(at), details}
	}
	return entries
}
