package entry

import (
	"strings"
	"testing"
	"time"
)

func TestTimes(t *testing.T) {
	for _, c := range []struct{ value, want string }{
		{`"2026-11-22T15:24:00Z"`, "2026-11-22T15:24:00.000000000Z"},
		{`"2026-11-22T15:24:00.5Z"`, "2026-11-22T15:24:00.500000000Z"},
		{`"2026-11-22T15:24:00.123456789+02:00"`, "2026-11-22T13:24:00.123456789Z"},
		{`"2026-11-22T15:24:00.1234567891Z"`, "2026-11-22T15:24:00.123456789Z"},
		{`"2026-11-22T15:24:00+0200"`, "2026-11-22T13:24:00.000000000Z"},
		{`"2026-11-22T15:24:00-02"`, "2026-11-22T17:24:00.000000000Z"},
		{`"2026-11-22 15:24:00"`, "2026-11-22T15:24:00.000000000Z"},
		{`"2026-11-22 15:24:00,123"`, "2026-11-22T15:24:00.123000000Z"},
		{`"2026-11-22 15:24:00.123+00:00"`, "2026-11-22T15:24:00.123000000Z"},
		{`"2026-11-22T15:24:00\u005a"`, "2026-11-22T15:24:00.000000000Z"},
		{`"2026-11-22t15:24:00z"`, "2026-11-22T15:24:00.000000000Z"},
		{`"2026-11-22t15:24:00.5Z"`, "2026-11-22T15:24:00.500000000Z"},
		{`"2026-11-22T15:24:00,5z"`, "2026-11-22T15:24:00.500000000Z"},
		{`"2026-11-22t15:24:00+02:00"`, "2026-11-22T13:24:00.000000000Z"},
		{`"2026-11-22 15:24:00z"`, "2026-11-22T15:24:00.000000000Z"},
		{`"2026-11-22 15:24:00.123 UTC"`, "2026-11-22T15:24:00.123000000Z"},
		{`"2026-11-22 15:24:00 GMT"`, "2026-11-22T15:24:00.000000000Z"},
		{`"2026-11-22 15:24:00 CET"`, ""}, {`"2026-11-22 15:24 UTC"`, ""}, {`"2026-11-22 15:24:00Z UTC"`, ""},
		{`"2026-11-22"`, "2026-11-22T00:00:00.000000000Z"},
		{`"0000-01-01T00:00:00Z"`, "0000-01-01T00:00:00.000000000Z"},
		{`0`, "1970-01-01T00:00:00.000000000Z"},
		{`-1.5`, "1969-12-31T23:59:58.500000000Z"},
		{`-0.25`, "1969-12-31T23:59:59.750000000Z"},
		{`1700000000`, "2023-11-14T22:13:20.000000000Z"},
		{`1700000000.1234567891`, "2023-11-14T22:13:20.123456789Z"},
		{`1.7e9`, "2023-11-14T22:13:20.000000000Z"},
		{`1700000000123`, "2023-11-14T22:13:20.123000000Z"},
		{`1700000000123.4567`, "2023-11-14T22:13:20.123456700Z"},
		{`1700000000123456`, "2023-11-14T22:13:20.123456000Z"},
		{`1700000000123456789`, "2023-11-14T22:13:20.123456789Z"},
		{`99999999999`, "5138-11-16T09:46:39.000000000Z"},
		{`100000000000`, "1973-03-03T09:46:40.000000000Z"},
		{`100000000000000000000`, ""},
		{`1e400`, ""},
		{`"1700000000"`, "2023-11-14T22:13:20.000000000Z"},
		{`"1700000000.5"`, "2023-11-14T22:13:20.500000000Z"},
		{`"1700000000123"`, "2023-11-14T22:13:20.123000000Z"},
		{`"1700000000123456"`, "2023-11-14T22:13:20.123456000Z"},
		{`"1700000000123456789"`, "2023-11-14T22:13:20.123456789Z"},
		{`"9999999999999999999"`, ""},
		{`"20231114"`, ""}, {`"20231114221320"`, ""}, {`"1700000000."`, ""}, {`"1700000000.1.2"`, ""}, {`"170000000x"`, ""},
		{`"-170000000"`, ""},
		{`""`, ""}, {`"12:00"`, ""}, {`"2026-13-01T00:00:00Z"`, ""}, {`"2026-11-22x15:24:00Z"`, ""},
		{`"2026-11-22z"`, ""}, {`"2026-11-22z15:24:00z"`, ""}, {`"2026-11-22t15:24:00zz"`, ""}, {`"2026-11-22t15:24:00+02z"`, ""},
		{`"2026-11-22T15:24:00 MEZ"`, ""}, {`null`, ""}, {`true`, ""}, {`{}`, ""}, {`[]`, ""},
		{`"10000-01-01T00:00:00Z"`, ""},
	} {
		got := ""
		if parsed, ok := ParseTime([]byte(c.value)); ok {
			got = string(AppendTime(nil, parsed))
		}
		if got != c.want {
			t.Errorf("time %s = %q, want %q", c.value, got, c.want)
		}
	}
}

func TestTimesAreOrderedAsText(t *testing.T) {
	base := time.Date(2026, 11, 22, 15, 24, 0, 0, time.UTC)
	last := ""
	for _, d := range []time.Duration{0, 1, 1e6, 5e8, 999999999, 1e9, 1e9 + 1, 6e10} {
		s := string(AppendTime(nil, base.Add(d)))
		if s <= last {
			t.Errorf("AppendTime(base + %v) = %s, which is not after %s", d, s, last)
		}
		last = s
	}
}

func TestParseStoredTime(t *testing.T) {
	for _, text := range []string{
		"2026-11-22T15:24:00.123456789Z", "2024-01-02T03:04:05.678901234+00:00", "2024-01-02T03:04:05+00:00",
		"2024-02-29T23:59:59.5Z", "2000-02-29T00:00:00Z", "1900-02-28T00:00:00Z", "1970-01-01T00:00:00Z",
		"1969-12-31T23:59:59.999999999Z", "2024-12-31T23:59:59.123Z", "2261-12-28T23:59:59Z", "1678-01-01T00:00:00Z",
		"2024-01-02T03:04:05+05:30", "2024-03-01T00:00:00-00:00", "2100-03-01T00:00:00.000001Z",
		"2024-01-02t03:04:05.123z", "2024-01-02T03:04:05z", "2024-01-02t03:04:05+05:30", "2024-01-02 03:04:05z",
	} {
		want, err := time.Parse(time.RFC3339, strings.NewReplacer("t", "T", "z", "Z", " ", "T").Replace(text))
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := ParseStoredTime(text); !ok || got != want.UnixNano() {
			t.Errorf("ParseStoredTime(%q) = %d, %v, want %d, true", text, got, ok, want.UnixNano())
		}
	}
	for day := time.Date(1678, 1, 1, 12, 30, 15, 5000, time.UTC); day.Year() < 2262; day = day.AddDate(0, 0, 13) {
		text := day.Format("2006-01-02T15:04:05.000000000Z")
		if got, ok := ParseStoredTime(text); !ok || got != day.UnixNano() {
			t.Fatalf("ParseStoredTime(%q) = %d, %v, want %d, true", text, got, ok, day.UnixNano())
		}
	}
	for _, text := range []string{
		"", "yesterday", "2024-01-02T03:04:05.Z", "2024-01-02T03:04:60Z", "2024-01-02T24:04:00Z", "2023-02-29T00:00:00Z",
		"2024-00-02T03:04:05Z", "2024-01-00T03:04:05Z", "2024-1x-02T03:04:05Z", "2024-01-02T03:04:05", "20240102T030405Z ",
		"2024-01-02T03:0-:05Z", "2024-01-02z", "2024-01-02t03:04:05zz", "2024-01-02z03:04:05Z",
	} {
		want, err := time.Parse(time.RFC3339, text)
		got, ok := ParseStoredTime(text)
		if text == "2024-01-02T03:04:05" { // a time without a zone is in UTC
			want, err = time.Parse(time.RFC3339, text+"Z")
		}
		if ok != (err == nil) || ok && got != want.UnixNano() {
			t.Errorf("ParseStoredTime(%q) = %d, %v, want %v, %v", text, got, ok, want, err == nil)
		}
	}
}

func TestParseStoredTimeOutOfRange(t *testing.T) {
	for text, want := range map[string]int64{
		"0000-01-01T00:00:00Z": MinTime,
		"1677-12-31T23:59:59Z": MinTime,
		"2262-01-01T00:00:00Z": MaxTime,
		"9999-12-31T23:59:59Z": MaxTime,
	} {
		if got, ok := ParseStoredTime(text); !ok || got != want {
			t.Errorf("ParseStoredTime(%q) = %d, %v, want %d, true", text, got, ok, want)
		}
	}
}

// TestParseUTCAgreesWithTimeParse checks that the fast path accepts only what
// time.Parse accepts, with the same result.
func TestParseUTCAgreesWithTimeParse(t *testing.T) {
	const text = "2024-01-02T03:04:05.678901234Z"
	for i := range text {
		for c := range 256 {
			changed := text[:i] + string([]byte{byte(c)}) + text[i+1:]
			for _, s := range []string{changed, changed[:len(changed)-1] + "+00:00", changed[:19] + changed[len(changed)-1:]} {
				got, ok := parseUTC(s)
				if !ok {
					continue
				}
				if want, err := time.Parse(time.RFC3339, s); err != nil || got != want.UnixNano() {
					t.Errorf("parseUTC(%q) = %d, want %d, %v", s, got, want.UnixNano(), err)
				}
			}
		}
	}
	for n := range text {
		if ns, ok := parseUTC(text[:n]); ok {
			t.Errorf("parseUTC(%q) = %d, want none", text[:n], ns)
		}
	}
	if _, ok := parseUTC(text); !ok {
		t.Errorf("parseUTC(%q) leaves the time to time.Parse", text)
	}
}
