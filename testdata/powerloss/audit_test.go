//go:build linux && amd64

package main

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// testState returns a state in which two clients know of requests with two rows
// each, which got the given statuses one after the other.
func testState(statuses ...int) (*state, *recording) {
	rec := new(recording)
	for id, status := range statuses {
		rec.Requests = append(rec.Requests, request{ID: id, Rows: []row{
			{"error", fmt.Sprintf("%d/0/2", id), newTime, `"a"`},
			{"error", fmt.Sprintf("%d/1/2", id), newTime, `"b"`},
		}})
		rec.Events = append(rec.Events,
			event{Kind: evSend, Request: id}, event{Kind: evResponse, Request: id, Status: status})
	}
	return newState(false, "full", rec, len(rec.Events)), rec
}

// store adds rows of requests, with ids that increase; messages has the form
// "0/0/2 0/1/2".
func store(s *state, messages string) {
	t := &table{file: database, integrity: "ok"}
	for i, message := range strings.Fields(messages) {
		details := `{"pad":"a"}`
		if strings.Contains(message, "/1/") {
			details = `{"pad":"b"}`
		}
		t.rows = append(t.rows, storedRow{int64(i + 1), "error", message, newTime, details})
	}
	t.rows = append(t.rows, storedRow{100, "error", newRowMessage, newTime, ""})
	s.tables = append(s.tables, t)
	s.assign(t)
}

func TestAudit(t *testing.T) {
	for name, c := range map[string]struct {
		statuses []int
		stored   string
		want     string // the problem; empty for none
	}{
		"all stored":             {[]int{200, 200}, "0/0/2 0/1/2 1/0/2 1/1/2", ""},
		"newest 202 lost":        {[]int{200, 202}, "0/0/2 0/1/2", ""},
		"200 lost":               {[]int{200}, "", "is lost"},
		"202 lost before stored": {[]int{202, 202}, "1/0/2 1/1/2", "is lost, but the later request"},
		"partial":                {[]int{202}, "0/1/2", "stored partially"},
		"twice":                  {[]int{200}, "0/0/2 0/1/2 0/0/2 0/1/2", "more than once"},
		"refused":                {[]int{503}, "0/0/2 0/1/2", "although it was refused"},
		"rows in another order":  {[]int{200}, "0/1/2 0/0/2", "do not increase"},
		"ids decrease":           {[]int{200, 200}, "1/0/2 1/1/2 0/0/2 0/1/2", "has higher ids"},
		"unknown row":            {[]int{200}, "0/0/2 0/1/2 7/0/2", "was not sent"},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := testState(c.statuses...)
			store(s, c.stored)
			var problems []string
			for _, audit := range audits {
				problems = append(problems, audit(s)...)
			}
			got := strings.Join(problems, "; ")
			if !strings.Contains(got, c.want) || c.want == "" && got != "" {
				t.Errorf("got the problems %q, want %q", got, c.want)
			}
		})
	}
}

// keyState returns the state after a request with a key. The table logs has the rows of
// the request if withRows is true, and the table idempotency_keys has the given keys.
func keyState(withRows bool, keys ...storedKey) *state {
	rec := &recording{
		Events:   []event{{Kind: evSend}, {Kind: evResponse, Status: 202}},
		Requests: []request{{Key: "a", Rows: []row{{"error", "0/0/1", newTime, `"a"`}}}},
	}
	s := newState(false, "full", rec, len(rec.Events))
	messages := ""
	if withRows {
		messages = "0/0/1"
	}
	store(s, messages)
	s.tables[0].keys = keys
	return s
}

func TestAuditKeys(t *testing.T) {
	key := storedKey{key: storedDigest("a"), status: 202, accepted: 1}
	wrong := key
	wrong.status = 200
	for name, c := range map[string]struct {
		rows bool
		keys []storedKey
		want string // the problem; empty for none
	}{
		"both":             {true, []storedKey{key}, ""},
		"none":             {false, nil, ""},
		"only rows":        {true, nil, "is stored 0 times, its rows: true"},
		"only the key":     {false, []storedKey{key}, "is stored 1 times, its rows: false"},
		"key twice":        {true, []storedKey{key, key}, "is stored 2 times"},
		"another response": {true, []storedKey{wrong}, "has another response"},
		"unknown key":      {true, []storedKey{key, {key: storedDigest("b")}}, "1 keys were not sent"},
	} {
		got := strings.Join(auditKeys(keyState(c.rows, c.keys...)), "; ")
		if !strings.Contains(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%s: got the problems %q, want %q", name, got, c.want)
		}
	}
}

// A refused request that is sent again no longer counts as refused. A successful one
// still counts as successful.
func TestNewStateRepeatedRequest(t *testing.T) {
	for _, c := range []struct{ first, want int }{{503, 0}, {202, 202}} {
		rec := &recording{
			Events:   []event{{Kind: evSend}, {Kind: evResponse, Status: c.first}, {Kind: evSend}},
			Requests: []request{{Key: "a"}},
		}
		s := newState(false, "full", rec, len(rec.Events))
		if len(s.requests) != 1 || s.requests[0].status != c.want {
			t.Errorf("status %d: got %d requests, status %d; want 1, %d", c.first, len(s.requests),
				s.requests[0].status, c.want)
		}
	}
}

func TestCheckSummaries(t *testing.T) {
	for _, c := range []struct{ change, want string }{
		{"SELECT 1", ""},
		{"DROP TRIGGER logs_deleted", "objects of the schema are missing"},
		{"DELETE FROM logs_filters WHERE id = 1", "a filter lacks rows"},
		{"INSERT INTO logs_filters(bits) VALUES ('')", "belong to no segment"},
		{"UPDATE logs_segments SET upto = 9999", "ids that do not exist yet"},
	} {
		db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), database))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.Exec(summarySchema + c.change); err != nil {
			t.Fatal(err)
		}
		problems, err := checkSummaries(db)
		if got := strings.Join(problems, "; "); err != nil || !strings.Contains(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%s: got the problems %q, error %v; want %q", c.change, got, err, c.want)
		}
	}
}

// summarySchema has the objects of the summaries, and the summary of one segment.
const summarySchema = `CREATE TABLE logs (id INTEGER PRIMARY KEY AUTOINCREMENT);
	CREATE TABLE logs_segments (segment INTEGER PRIMARY KEY, upto, building, filter, pages, summary, counts);
	CREATE TABLE logs_filters (id INTEGER PRIMARY KEY AUTOINCREMENT, bits);
	CREATE TRIGGER logs_segments_deleted AFTER DELETE ON logs_segments BEGIN SELECT 1; END;
	CREATE TRIGGER logs_inserted AFTER INSERT ON logs BEGIN SELECT 1; END;
	CREATE TRIGGER logs_updated AFTER UPDATE ON logs BEGIN SELECT 1; END;
	CREATE TRIGGER logs_deleted AFTER DELETE ON logs BEGIN SELECT 1; END;
	INSERT INTO logs VALUES (2000);
	INSERT INTO logs_filters(bits) VALUES (''), ('');
	INSERT INTO logs_segments(segment, upto, filter, pages) VALUES (0, 1024, 1, 2);
`

func TestAuditContent(t *testing.T) {
	s, _ := testState(200)
	store(s, "0/0/2 0/1/2")
	s.tables[0].rows[1].details = `{"pad":"torn"}`
	if got := auditContent(s); len(got) != 1 || !strings.Contains(got[0], "has another content") {
		t.Errorf("got the problems %q, want another content", got)
	}
}

// With -synchronous normal, a request is safe once the WAL was synced, and all
// are after a shutdown.
func TestMustBeStored(t *testing.T) {
	_, rec := testState(200, 202)
	check := func(synchronous string, events []event, want ...bool) {
		t.Helper()
		rec := &recording{append(rec.Events[:4:4], events...), rec.Requests}
		s := newState(false, synchronous, rec, len(rec.Events))
		for i, o := range s.requests {
			if got := s.mustBeStored(o); got != want[i] {
				t.Errorf("%s, request %d: got %t, want %t", synchronous, i, got, want[i])
			}
		}
	}
	wal := event{Kind: evCreate, Name: database + "-wal", File: 1}
	check("full", nil, true, false)
	check("normal", nil, false, false)
	check("normal", []event{wal, {Kind: evSync, File: 1, Start: 5}}, true, false)
	check("normal", []event{wal, {Kind: evSync, File: 1, Start: 0}}, false, false)
	check("normal", []event{wal, {Kind: evSync, File: 1, Start: 5, Failed: true}}, false, false)
	check("normal", []event{{Kind: evExit}}, true, true)
}
