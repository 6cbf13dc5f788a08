//go:build unix

package dbfile

import "testing"

func TestURI(t *testing.T) {
	for path, want := range map[string]string{
		"/var/lib/logs.db":      "file:/var/lib/logs.db",
		"/a dir?/lögs #1%.db":   "file:/a%20dir%3F/l%C3%B6gs%20%231%25.db",
		"/a?mode=memory":        "file:/a%3Fmode=memory",
		"/a%20b.db":             "file:/a%2520b.db",
		"//host/logs.db":        "file:/host/logs.db",
		"/a/../b//logs.db":      "file:/b/logs.db",
		"/new\nline\\back/\xff": "file:/new%0Aline%5Cback/%FF",
	} {
		if got := URI(path); got != want {
			t.Errorf("URI(%q) = %q, want %q", path, got, want)
		}
	}
}
