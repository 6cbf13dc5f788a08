package viewer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"testing"
	"time"

	"log-ingester/internal/testskip"
)

const axeFile = "testdata/axe/node_modules/axe-core/axe.min.js"

// zoomed is the desktop at a zoom of 200%.
var zoomed = screen{width: desktop.width / 2, height: desktop.height / 2}

// axe-core finds no violation in any view of the page.
func TestPageAccessibility(t *testing.T) {
	axe, err := os.ReadFile(axeFile)
	if errors.Is(err, fs.ErrNotExist) {
		testskip.SkipOrFail(t, "axe-core is not installed (npm ci --prefix internal/viewer/testdata/axe)")
	}
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t)
	s.insert(shopEntries(time.Now(), 900)...)
	s.insert(testEntry{"error", "failed\nCaused by: x\n\tat java.lang.A\n\tat java.lang.B", timestamp(time.Now()),
		`{"service":"shop","request_id":"7f","err":{"stack":"Error: x\n  at node:a\n  at node:b"}}`})
	s.reader.Committed(0)
	empty := newSite(t)
	dark := desktop
	dark.dark = true
	for name, shown := range map[string]screen{"light": desktop, "dark": dark, "phone": phone, "zoomed": zoomed} {
		t.Run(name, func(t *testing.T) {
			p := openTab(t, s.url+"/", shown)
			for _, view := range []struct{ name, address, keys string }{
				{"list", "", ""},
				{"open entry", "?cols=service&open=901", ""},
				{"wrapped, filters", "?wrap=1&order=asc&level=error&details.service=shop&not.level=fatal&words=fail", ""},
				{"kinds", "?view=kinds", ""},
				{"fields", "?fields=1", ""},
				{"help", "", "?"},
				{"empty result", "?level=error&details.service=none&words=fail", ""},
			} {
				p.navigate(s.url + "/" + view.address)
				p.wait("isLoaded()")
				p.press(split(view.keys)...)
				p.checkAccessible(view.name, string(axe))
			}
			p.eval(`$("#helpDialog").close()`)
			p.eval(`$("#range").value = "custom", $("#range").dispatchEvent(new Event("change"))`)
			p.checkAccessible("range", string(axe))
			p = openTab(t, empty.url+"/", shown)
			p.wait("isLoaded()")
			p.checkAccessible("empty log", string(axe))
		})
	}
}

// split returns the characters of s.
func split(s string) (keys []string) {
	for _, key := range s {
		keys = append(keys, string(key))
	}
	return keys
}

// checkAccessible runs axe-core in the page.
func (p *tab) checkAccessible(view, axe string) {
	p.t.Helper()
	p.eval("window.axe ? 0 : (() => {" + axe + "})()")
	p.wait("window.axe")
	found := p.eval(`axe.run({ resultTypes: ["violations"] }).then(({ violations }) =>
		violations.flatMap(({ id, help, nodes }) => nodes.map(({ html, failureSummary }) =>
			id + ": " + help + ": " + html.slice(0, 200) + " " + failureSummary)).join("\n"))`)
	if text := fmt.Sprint(found); text != "" {
		p.t.Errorf("%s:\n%s", view, text)
	}
}
