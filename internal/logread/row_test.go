package logread

import (
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// Other programs can store any values in the table. The response stays valid
// JSON and contains all rows.
func TestRowForeignValues(t *testing.T) {
	l := newTestLog(t)
	l.insert(
		/* 1 */ testEntry{"error", "whole", "2026-11-22T10:00:00.000000000Z", `{"a":1}`},
		/* 2 */ testEntry{7, 1.5, []byte("blob \xff"), []byte("\x00\x01")},
		/* 3 */ testEntry{[]byte("\xc3("), "cut \xe2\x82", "", `{"a":`},
		/* 4 */ testEntry{"error", "m", "t", "{\"s\":\"bad \xff\xfe\",\r\n \"b\":[1,\n2]}"},
		/* 5 */ testEntry{"error", "m", "t", ""},
		/* 6 */ testEntry{"error", "m", "t", `"text"`},
		/* 7 */ testEntry{"error", "m", "t", 12},
		/* 8 */ testEntry{"error", "m", "t", strings.Repeat("[", 20000) + strings.Repeat("]", 20000)},
		/* 9 */ testEntry{"error", "m", "t", "{\"raw\":\"line\nbreak\"}"},
	)
	want := map[int64]jsonEntry{
		1: {1, "error", "whole", "2026-11-22T10:00:00.000000000Z", json.RawMessage(`{"a":1}`)},
		2: {2, "7", "1.5", "blob \ufffd", json.RawMessage(`"\u0000\u0001"`)},
		3: {3, "\ufffd(", "cut \ufffd\ufffd", "", json.RawMessage(`"{\"a\":"`)},
		4: {4, "error", "m", "t", json.RawMessage("{\"s\":\"bad \ufffd\ufffd\",   \"b\":[1, 2]}")},
		5: {5, "error", "m", "t", json.RawMessage(`""`)},
		6: {6, "error", "m", "t", json.RawMessage(`"text"`)},
		7: {7, "error", "m", "t", json.RawMessage(`12`)},
		9: {9, "error", "m", "t", json.RawMessage(`"{\"raw\":\"line\nbreak\"}"`)},
	}
	entries := l.logs("")
	if len(entries) != 9 {
		t.Fatalf("got %d entries, want 9", len(entries))
	}
	for _, got := range entries {
		if want, ok := want[got.ID]; ok && !reflect.DeepEqual(got, want) {
			t.Errorf("entry %d =\n%+v, want\n%+v", got.ID, got, want)
		}
	}
	_, body := l.get("/logs", "Accept", "application/x-ndjson")
	if lines := strings.Count(body, "\n"); lines != 9 {
		t.Errorf("NDJSON of 9 entries has %d lines, want 9", lines)
	}
	for _, query := range []string{"q=zzz", "details.a=zzz", "details.a=1", "level=7", "since=1h", "q=%EF%BF%BD"} {
		if resp, body := l.get("/logs?" + query); resp.StatusCode != http.StatusOK {
			t.Errorf("GET /logs?%s = %d %s, want 200", query, resp.StatusCode, body)
		}
	}
	if got := ids(l.logs("level=7")); !slices.Equal(got, []int64{2}) {
		t.Errorf("GET /logs?level=7 = ids %v, want [2]", got)
	}
}
