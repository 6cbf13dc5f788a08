package viewer

import (
	"encoding/json"
	"testing"

	"log-ingester/internal/entry"
)

// The page gives a level name the same level as the server.
func TestPageLevelNames(t *testing.T) {
	s := newSite(t)
	p := openTab(t, s.url+"/", desktop)
	known := p.eval("Object.values(LEVEL_NAMES).flat()").([]any)
	if len(known) < 30 {
		t.Errorf("the page knows %d level names, want at least 30", len(known))
	}
	names := []string{
		"trace", "trce", "trc", "silly", "finest", "finer",
		"debug", "dbug", "dbg", "fine", "config", "verbose", "vrb", "http",
		"info", "inf", "information", "informational", "notice", "note", "success",
		"warn", "warning", "wrn",
		"error", "err", "eror", "fail", "severe",
		"fatal", "ftl", "critical", "crit", "alert", "emerg", "emergency", "panic", "dpanic",
		"ERROR+4", "error-4", "debug-4", "DEBUG+2", "info+", "+4", "error+4+5", "a-b-1",
		"", "weird", "unknown", "constructor", "__proto__",
	}
	for _, name := range known {
		names = append(names, name.(string))
	}
	for _, name := range names {
		quoted, err := json.Marshal(name)
		if err != nil {
			t.Fatal(err)
		}
		p.check("levelOf("+string(quoted)+")", entry.LevelByName([]byte(name)).String())
	}
}
