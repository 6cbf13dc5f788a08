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
	names := []string{
		"ERROR+4", "error-4", "debug-4", "DEBUG+2", "info+", "+4", "error+4+5", "a-b-1",
		"", "weird", "unknown", "constructor", "__proto__",
	}
	for l := entry.LevelTrace; l <= entry.LevelFatal; l++ {
		names = append(names, entry.LevelNames(l)...)
	}
	for _, name := range names {
		quoted, err := json.Marshal(name)
		if err != nil {
			t.Fatal(err)
		}
		p.check("levelOf("+string(quoted)+")", entry.LevelByName([]byte(name)).String())
	}
}
