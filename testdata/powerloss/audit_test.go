//go:build linux && amd64

package main

import (
	"fmt"
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
	return newState(&workload{}, "full", rec, len(rec.Events)), rec
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
		s := newState(&workload{}, synchronous, rec, len(rec.Events))
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
