package main

import (
	"testing"
	"time"
)

func TestParseTime(t *testing.T) {
	utc := func(y int, mo time.Month, d, h, mi, s, ns int) time.Time {
		return time.Date(y, mo, d, h, mi, s, ns, time.UTC)
	}
	for in, want := range map[string]time.Time{
		"2026-11-22T15:24:00.123456789Z":      utc(2026, 11, 22, 15, 24, 0, 123456789),
		"2026-11-22T15:24:00Z":                utc(2026, 11, 22, 15, 24, 0, 0),
		"2024-01-02T03:04:05.678+00:00":       utc(2024, 1, 2, 3, 4, 5, 678e6),
		"2024-01-02T03:04:05.678901234+02:00": utc(2024, 1, 2, 1, 4, 5, 678901234),
		"2024-01-02T03:04:05-0530":            utc(2024, 1, 2, 8, 34, 5, 0),
		"2024-01-02 03:04:05.678901234 UTC":   utc(2024, 1, 2, 3, 4, 5, 678901234),
		"2024-01-02 03:04:05.678":             utc(2024, 1, 2, 3, 4, 5, 678e6),
		"2024-01-02 03:04:05+01:00":           utc(2024, 1, 2, 2, 4, 5, 0),
		"2024-01-02 03:04:05 +0100":           utc(2024, 1, 2, 2, 4, 5, 0),
		"2024-01-02T03:04:05":                 utc(2024, 1, 2, 3, 4, 5, 0),
		"2024-01-02":                          utc(2024, 1, 2, 0, 0, 0, 0),
		"0000-01-01T00:00:00Z":                utc(0, 1, 1, 0, 0, 0, 0),
		"9999-12-31T23:59:59.999999999Z":      utc(9999, 12, 31, 23, 59, 59, 999999999),
	} {
		if got, ok := parseTime(in); !ok || !got.Equal(want) {
			t.Errorf("parseTime(%q) = %s, %v; want %s", in, got, ok, want)
		}
	}
	for _, in := range []string{
		"", "now", "yesterday", "1700000000", "2024-13-01T00:00:00Z", "2016-12-31T23:59:60Z", "22/11/2026", "infinity", "\x00",
		"99999-01-01T00:00:00Z",
	} {
		if got, ok := parseTime(in); ok {
			t.Errorf("parseTime(%q) = %s, want it rejected", in, got)
		}
	}
}
