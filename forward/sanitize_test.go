package main

import (
	"database/sql"
	"testing"
	"time"
)

// Values that cannot be stored in their columns are stored in details._forward.
func TestSanitizeLeftovers(t *testing.T) {
	previous := time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)
	const (
		at   = "2026-11-22T15:24:00Z"
		null = "NULL" // instead of details
	)
	for _, c := range []struct {
		timestamp, details string
		want               string // details
		changed            bool
	}{
		{timestamp: at, details: null, want: null},
		{timestamp: at, details: `{"a":1}`, want: `{"a":1}`},
		{timestamp: at, details: `[1]`, want: `[1]`},
		{timestamp: at, details: `null`, want: `null`},
		{timestamp: at, details: `broken`, want: `{"_forward":{"details":"broken"}}`, changed: true},
		{timestamp: at, details: "bro\x00ken", want: `{"_forward":{"details":"bro` + replacement + `ken"}}`, changed: true},
		{timestamp: "soon", details: null, want: `{"_forward":{"timestamp":"soon"}}`, changed: true},
		{timestamp: "", details: null, want: `{"_forward":{"timestamp":""}}`, changed: true},
		{timestamp: "soon", details: `{}`, want: `{"_forward":{"timestamp":"soon"}}`, changed: true},
		{timestamp: "soon", details: " { } ", want: `{"_forward":{"timestamp":"soon"}}`, changed: true},
		{timestamp: "soon", details: `{"a":{}} `, want: `{"a":{},"_forward":{"timestamp":"soon"}}`, changed: true},
		{timestamp: "soon", details: `[1]`, want: `{"_forward":{"timestamp":"soon","details":[1]}}`, changed: true},
		{timestamp: "soon", details: `"x"`, want: `{"_forward":{"timestamp":"soon","details":"x"}}`, changed: true},
		{timestamp: "soon", details: `broken`, want: `{"_forward":{"timestamp":"soon","details":"broken"}}`, changed: true},
	} {
		raw := rawRow{id: 7, timestamp: nullString(c.timestamp)}
		if c.details != null {
			raw.details = nullString(c.details)
		}
		got, changed := sanitize(raw, previous)
		details := null
		if got.details.Valid {
			details = got.details.String
		}
		if details != c.want || changed != c.changed || got.id != 7 {
			t.Errorf("time %q, details %s: got row %d with details %s, changed %v; want row 7 with %s, %v",
				c.timestamp, c.details, got.id, details, changed, c.want, c.changed)
		}
		wantTime, ok := parseTime(c.timestamp)
		if !ok {
			wantTime = previous
		}
		if !got.time.Equal(wantTime) {
			t.Errorf("time %q: got %s, want %s", c.timestamp, got.time, wantTime)
		}
	}
}

func TestSanitizeFirstTime(t *testing.T) {
	start := time.Now()
	r, _ := sanitize(rawRow{timestamp: nullString("soon")}, time.Time{})
	if end := time.Now(); r.time.Before(start) || r.time.After(end) {
		t.Errorf("got time %s, want the current time, between %s and %s", r.time, start, end)
	}
}

func nullString(s string) sql.NullString { return sql.NullString{String: s, Valid: true} }
