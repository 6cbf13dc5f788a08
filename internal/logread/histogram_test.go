package logread

import (
	"encoding/json"
	"strconv"
	"testing"
	"time"
)

func TestHistogram(t *testing.T) {
	l := newTestLog(t)
	const empty = `{"since":null,"until":null,"step":1,"undated":0,"levels":{},"buckets":[]}` + "\n"
	if _, body := l.get("/logs/histogram"); body != empty {
		t.Errorf("GET /logs/histogram of an empty log = %s, want %s", body, empty)
	}
	l.insert(
		testEntry{"error", "a", "2026-11-22T10:00:00.000000000Z", `{"n":1}`},
		testEntry{"err", "b", "2026-11-22T10:00:59.999999999Z", nil},
		testEntry{"fatal", "c", "2026-11-22T10:01:00.000000000Z", nil},
		testEntry{"huh", "d", "no time", nil},
	)
	for _, test := range []struct{ name, query, want string }{
		{
			name:  "two buckets",
			query: "buckets=2",
			want: `{"since":"2026-11-22T10:00:00Z","until":"2026-11-22T10:02:00Z","step":60,` +
				`"undated":1,"levels":{"unknown":1,"fatal":1,"error":2},"buckets":[
{"time":"2026-11-22T10:00:00Z","levels":{"error":2}},
{"time":"2026-11-22T10:01:00Z","levels":{"fatal":1}}]}
`,
		},
		{
			name:  "filters",
			query: "level=error&details.n=1",
			want: `{"since":"2026-11-22T10:00:00Z","until":"2026-11-22T10:00:01Z","step":1,` +
				`"undated":0,"levels":{"error":1},"buckets":[
{"time":"2026-11-22T10:00:00Z","levels":{"error":1}}]}
`,
		},
		{
			name:  "time range",
			query: "since=2026-11-22T10:00:30Z&until=2026-11-22T11:00:30Z&buckets=60",
			want: `{"since":"2026-11-22T10:00:30Z","until":"2026-11-22T11:00:30Z","step":300,` +
				`"undated":0,"levels":{"fatal":1,"error":1},"buckets":[
{"time":"2026-11-22T10:00:00Z","levels":{"fatal":1,"error":1}}]}
`,
		},
		{
			name:  "no match",
			query: "q=nowhere&buckets=1",
			want:  empty,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			resp, body := l.get("/logs/histogram?" + test.query)
			if body != test.want {
				t.Errorf("response =\n%s, want\n%s", body, test.want)
			}
			if !json.Valid([]byte(body)) {
				t.Errorf("response is not valid JSON: %s", body)
			}
			for name, want := range map[string]string{
				"Content-Type":  "application/json",
				"Cache-Control": "no-store",
			} {
				if got := resp.Header.Get(name); got != want {
					t.Errorf("%s = %q, want %q", name, got, want)
				}
			}
		})
	}
}

// The number of buckets stays within the limit and every entry is counted, even
// if the times are thousands of years apart.
func TestHistogramWidens(t *testing.T) {
	l := newTestLog(t)
	l.insert(
		testEntry{"error", "", "0001-01-01T00:00:00Z", nil},
		testEntry{"error", "", "1969-12-31T23:59:59Z", nil},
		testEntry{"error", "", "2026-11-22T10:00:00.5Z", nil},
		testEntry{"error", "", "9999-12-31T23:59:59Z", nil},
		testEntry{"error", "", "2026-11-22T10:00:02.5Z", nil},
	)
	for limit := 1; limit <= maxBuckets; limit++ {
		_, body := l.get("/logs/histogram?buckets=" + strconv.Itoa(limit))
		var h struct {
			Step    int64
			Buckets []struct {
				Time   time.Time
				Levels map[string]int
			}
		}
		must(t, json.Unmarshal([]byte(body), &h))
		entries := 0
		for i, b := range h.Buckets {
			entries += b.Levels["error"]
			if i > 0 && !b.Time.After(h.Buckets[i-1].Time) {
				t.Errorf("buckets=%d: buckets are not sorted by time: %s", limit, body)
			}
		}
		// Empty buckets are not in the response, but count towards the limit.
		first, last := h.Buckets[0].Time, h.Buckets[len(h.Buckets)-1].Time
		buckets := (last.Unix()-first.Unix())/h.Step + 1
		if entries != 5 || buckets > int64(limit) {
			t.Errorf("buckets=%d: got %d entries in %d buckets, want 5 in at most %d: %s",
				limit, entries, buckets, limit, body)
		}
	}
}
