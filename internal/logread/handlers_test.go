package logread

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestLogsResponse(t *testing.T) {
	l := newTestLog(t)
	if _, body := l.get("/logs"); body != "[]\n" {
		t.Errorf("GET /logs of an empty log = %q, want %q", body, "[]\n")
	}
	l.insert(
		testEntry{"error", "first", "2026-11-22T15:24:00.123456789Z", `{"a":1}`},
		testEntry{"err", "say \"hi\"\n\x00\u2028ü", "2026-11-22T15:24:01.000000000Z", nil},
	)
	resp, body := l.get("/logs")
	want := `[
{"id":2,"level":"err","message":"say \"hi\"\n\u0000` + "\u2028" + `ü",` +
		`"timestamp":"2026-11-22T15:24:01.000000000Z","details":null},
{"id":1,"level":"error","message":"first","timestamp":"2026-11-22T15:24:00.123456789Z","details":{"a":1}}
]
`
	if body != want {
		t.Errorf("GET /logs =\n%s, want\n%s", body, want)
	}
	for name, want := range map[string]string{
		"Content-Type":           "application/json",
		"Cache-Control":          "no-store",
		"X-Content-Type-Options": "nosniff",
		"Referrer-Policy":        "no-referrer",
	} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
}

func TestLogsNDJSON(t *testing.T) {
	l := newTestLog(t)
	l.fill(2)
	resp, body := l.get("/logs", "Accept", "text/html, application/x-ndjson;q=0.9")
	want := `{"id":2,"level":"error","message":"entry 1","timestamp":"2026-11-22T00:00:01.000000000Z","details":{"n":1}}
{"id":1,"level":"error","message":"entry 0","timestamp":"2026-11-22T00:00:00.000000000Z","details":{"n":0}}
`
	if body != want {
		t.Errorf("GET /logs as NDJSON =\n%s, want\n%s", body, want)
	}
	if got := resp.Header.Get("Content-Type"); got != "application/x-ndjson" {
		t.Errorf("Content-Type = %q, want application/x-ndjson", got)
	}
}

func TestLogsParameters(t *testing.T) {
	l := newTestLog(t)
	l.insert(
		/* 1 */ testEntry{"error", "Connection REFUSED", "2026-11-22T10:00:00.000000000Z",
			`{"host":"db-1","port":5432,"ok":false,"none":null}`},
		/* 2 */ testEntry{"err", "100% of C:\\temp", "2026-11-22T10:00:01.500000000Z",
			`{"path":"C:\\temp","a.b":"dotted","a":{"b":"nested","c":{"d":[1, 2]}}}`},
		/* 3 */ testEntry{"critical", "Überlauf", "2024-01-02T03:04:05.678901234+00:00",
			`{"name":"J\u00fcrgen \ud83d\ude00","ke\u0079":"v"}`},
		/* 4 */ testEntry{"error+4", "Kelvin K", "2026-11-22T12:00:00+02:00",
			`{"snowflake":12345678901234567890,"s":"","dup":1,"dup":"2"}`},
		/* 5 */ testEntry{"weird", "_underscore_", "yesterday, or so", `{"text":"x' OR 1=1 --"}`},
		/* 6 */ testEntry{"unknown", "", "2026-11-22 10:00:02", nil},
		/* 7 */ testEntry{"fatal", "last", "2026-11-22T10:00:03Z", `not json "half":"found`},
	)
	for query, want := range map[string][]int64{
		"": {7, 6, 5, 4, 3, 2, 1},

		"level=error":                {4, 2, 1},
		"level=ERROR":                {4, 2, 1},
		"level=err":                  {2},
		"level=Error%2B4":            {4},
		"level=fatal":                {7, 3},
		"level=critical":             {3},
		"level=unknown":              {6, 5},
		"level=weird&level=critical": {5, 3},
		"level=warn":                 {},
		"level=":                     {},

		"q=refused":             {1},
		"q=REFUSED":             {1},
		"q=":                    {7, 6, 5, 4, 3, 2, 1},
		"q=%25":                 {2}, // neither % nor _ is a wildcard
		"q=_":                   {5},
		"q=%C3%BCBERLAUF":       {3},
		"q=j%C3%9CRGEN":         {3}, // stored as \u00fc
		"q=%F0%9F%98%80":        {3}, // stored as two surrogates
		"q=c:%5CTEMP":           {2}, // stored with one backslash and with two
		"q=%22C:%5C%5Ctemp":     {2}, // the JSON text itself
		"q=kelvin+%E2%84%AA":    {4}, // U+212A, the Kelvin sign
		"q=DB-1":                {1}, // in details
		"q=x'+OR+1%3D1+--":      {5}, // not SQL
		"q=nowhere":             {},
		"q=half%22:%22found":    {7}, // details that are not JSON
		"q=refused&level=fatal": {},  // all conditions must hold

		"details.host=db-1":                      {1},
		"details.host=DB-1":                      {},
		"details.port=5432":                      {1},
		"details.port=543":                       {},
		"details.ok=false":                       {1},
		"details.none=null":                      {1},
		"details.path=C:%5Ctemp":                 {2},
		"details.a.b=dotted":                     {2},
		"details.a.b=nested":                     {2},
		"details.a.c.d=%5B1,+2%5D":               {2},
		"details.c.d=%5B1,+2%5D":                 {},
		"details.b=nested":                       {},
		"details.name=J%C3%BCrgen+%F0%9F%98%80":  {3},
		"details.key=v":                          {3},
		"details.snowflake=12345678901234567890": {4},
		"details.s=":                             {4},
		"details.dup=1&details.dup=3":            {4}, // one value of a name is enough
		"details.dup=2":                          {4},
		"details.host=db-1&details.port=1":       {}, // all names must match
		"details.half=found":                     {},

		"since=2026-11-22T10:00:01.5Z":                                   {7, 6, 2},
		"since=2026-11-22T10:00:01.500000001Z":                           {7, 6},
		"since=2026-11-22t10:00:01.5z&until=2026-11-22t12:00:03%2B02:00": {6, 2},
		"since=2026-11-22T12:00:01.5%2B02:00":                            {7, 6, 2},
		"since=2026-11-22T12:00:01.5+02:00":                              {7, 6, 2}, // unescaped +
		"until=2026-11-22T10:00:01.5Z":                                   {4, 3, 1},
		"since=2026-11-22T10:00:00Z&until=2026-11-22T10:00:01Z":          {4, 1},
		"until=2024-01-02T03:04:05.678901234Z":                           {},
		"until=2024-01-02T03:04:05.678901235Z":                           {3},
		"since=2024-01-02&until=2024-01-03":                              {3},

		"limit=2":                                {7, 6},
		"before=3":                               {2, 1},
		"after=5":                                {7, 6},
		"after=5&limit=1":                        {7},
		"after=2&before=5":                       {4, 3},
		"before=0":                               {},
		"after=9223372036854775807":              {},
		"before=9223372036854775807&limit=10000": {7, 6, 5, 4, 3, 2, 1},
	} {
		t.Run(query, func(t *testing.T) {
			if got := ids(l.logs(query)); !slices.Equal(got, want) {
				t.Errorf("GET /logs?%s = ids %v, want %v", query, got, want)
			}
		})
	}
}

// Durations count back from the time of the request.
func TestLogsDurations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := openTestLog(t)
		for _, age := range []time.Duration{50 * time.Hour, 90 * time.Minute, time.Minute} {
			l.insert(testEntry{"error", "", time.Now().Add(-age).UTC().Format(time.RFC3339Nano), nil})
		}
		for query, want := range map[string][]int64{
			"since=1h":            {3},
			"since=1h30m":         {3, 2},
			"since=1h29m59s":      {3},
			"since=3d":            {3, 2, 1},
			"since=2.5d&until=1h": {2, 1},
			"until=15m":           {2, 1},
			"since=0s":            {},
		} {
			got := ids(decodeEntries(t, l.serve("/logs?"+query).Body.String()))
			if !slices.Equal(got, want) {
				t.Errorf("GET /logs?%s = ids %v, want %v", query, got, want)
			}
		}
	})
}

// Times outside the int64 nanosecond range are before or after all others.
func TestLogsFarTimes(t *testing.T) {
	l := newTestLog(t)
	l.insert(
		testEntry{"error", "", "0044-03-15T12:00:00Z", nil},
		testEntry{"error", "", "2026-11-22T10:00:00Z", nil},
	)
	check := func(query string, want ...int64) {
		t.Helper()
		if got := ids(l.logs(query)); !slices.Equal(got, want) {
			t.Errorf("GET /logs?%s = ids %v, want %v", query, got, want)
		}
		resp, body := l.get("/logs/histogram?" + query)
		var counted struct{ Levels map[string]int }
		err := json.Unmarshal([]byte(body), &counted)
		if err != nil || resp.StatusCode != 200 || counted.Levels["error"] != len(want) {
			t.Errorf("GET /logs/histogram?%s = %d %s, want %d entries", query, resp.StatusCode, body, len(want))
		}
	}
	check("since=9999-01-01T00:00:00Z")
	check("until=1600-01-01T00:00:00Z")
	check("since=3000-01-01&until=9999-01-01")
	check("since=0001-01-01&until=1600-01-01")
	check("since=1600-01-01", 2, 1)
	check("until=9999-01-01", 2, 1)
	check("since=1700-01-01&until=9999-01-01T00:00:00Z", 2)

	l.insert(testEntry{"error", "", "9999-12-31T23:59:59Z", nil})
	check("since=2026-01-01", 3, 2)
	check("since=9999-01-01", 3)
	check("until=9999-01-01", 2, 1)
	check("until=2027-01-01", 2, 1)
}

func TestInvalidParameters(t *testing.T) {
	l := newTestLog(t)
	// The error must contain the text.
	for target, text := range map[string]string{
		"/logs?colour=red":                                   `unknown parameter "colour"`,
		"/logs?details.=x":                                   `"details."`,
		"/logs?limit=0":                                      "limit",
		"/logs?limit=10001":                                  "10000",
		"/logs?limit=ten":                                    `"ten"`,
		"/logs?limit=":                                       "limit",
		"/logs?limit=1&limit=2":                              "limit is given 2 times",
		"/logs?q=a&q=b":                                      "q is given 2 times",
		"/logs?before=-1":                                    "before",
		"/logs?after=1.5":                                    `"1.5"`,
		"/logs?after=99999999999999999999":                   "after",
		"/logs?since=tomorrow":                               `"tomorrow"`,
		"/logs?since=-5m":                                    "since",
		"/logs?since=NaNd":                                   "since",
		"/logs?until=1e999d":                                 "until",
		"/logs?until=15":                                     "such as",
		"/logs?since=2026-13-01T00:00:00Z":                   "since",
		"/logs?since=1h&until=2h":                            "since must be before until",
		"/logs?since=2026-01-01&until=1600-01-01":            "since must be before until",
		"/logs?since=9999-01-01&until=2026-01-01":            "since must be before until",
		"/logs?q=%zz":                                        "query string",
		"/logs?q=" + strings.Repeat("%C3%BC", 1001):          "q is longer than 2000 bytes",
		"/logs?details." + strings.Repeat("a.", 251) + "a=1": "name",
		"/logs?a;b":                                          "query string",
		"/logs?buckets=5":                                    `"buckets"`,
		"/logs?" + strings.Repeat("level=a&", 65):            "more than",
		"/logs?level=" + strings.Repeat("a,", 64):            "level has more than 64 levels",
		"/logs?not.level=" + strings.Repeat("a,", 64):        "not.level has more than 64 levels",
		"/logs/histogram?limit=5":                            `"limit"`,
		"/logs/histogram?buckets=501":                        "500",
		"/logs?around=5&before=7":                            "around cannot be combined",
		"/logs?around=5&after=3":                             "around cannot be combined",
		"/logs?around=5&order=desc":                          "around cannot be combined",
		"/logs?around=x":                                     `"x"`,
		"/logs/histogram?around=5":                           `"around"`,
		"/logs?order=up":                                     `"up"`,
		"/logs/kinds?order=asc":                              `"order"`,
		"/logs/tail?before=5":                                `"before"`,
		"/logs/tail?limit=5":                                 `"limit"`,
		"/logs/tail?after=x":                                 "after",
	} {
		t.Run(fmt.Sprintf("%.60s", target), func(t *testing.T) {
			checkError(t, l.serve(target), http.StatusBadRequest, text)
		})
	}
	t.Run("Last-Event-ID", func(t *testing.T) {
		req := httptest.NewRequest("GET", "/logs/tail", nil)
		req.Header.Set("Last-Event-ID", "x")
		w := httptest.NewRecorder()
		l.reader.ServeTail(w, req)
		checkError(t, w, http.StatusBadRequest, "Last-Event-ID")
	})
}

// around=N returns entries on both sides of N, also if N is not stored.
func TestLogsAround(t *testing.T) {
	l := newTestLog(t)
	l.fill(20)
	_, err := l.db.Exec("DELETE FROM logs WHERE id = 10")
	must(t, err)
	for query, want := range map[string][]int64{
		"around=5&limit=5":                   {7, 6, 5, 4, 3},
		"around=5&limit=4":                   {6, 5, 4, 3},
		"around=5&limit=1":                   {5},
		"around=10&limit=5":                  {12, 11, 9, 8, 7},
		"around=10&limit=1":                  {9},
		"around=20&limit=5":                  {20, 19, 18},
		"around=1&limit=5":                   {3, 2, 1},
		"around=0&limit=5":                   {2, 1},
		"around=100&limit=3":                 {20, 19},
		"around=9223372036854775807&limit=3": {20, 19},
	} {
		for _, filter := range []string{"", "&q=entry"} {
			if got := ids(l.logs(query + filter)); !slices.Equal(got, want) {
				t.Errorf("GET /logs?%s%s = ids %v, want %v", query, filter, got, want)
			}
		}
	}
	if got, want := ids(l.logs("around=15&limit=3&q=entry+1")), []int64{16, 15, 14}; !slices.Equal(got, want) {
		t.Errorf("with a filter: got ids %v, want %v", got, want)
	}
}

// Pages have no gaps and no duplicates while entries are inserted.
func TestLogsPaging(t *testing.T) {
	t.Run("backward", func(t *testing.T) {
		l := newTestLog(t)
		last := l.fill(50)
		var got, want []int64
		for page := l.logs("limit=7"); len(page) > 0; page = l.logs(fmt.Sprint("limit=7&before=", got[len(got)-1])) {
			got = append(got, ids(page)...)
			l.fill(3)
		}
		for id := last; id > 0; id-- {
			want = append(want, id)
		}
		if !slices.Equal(got, want) {
			t.Errorf("pages contain ids %v, want %v", got, want)
		}
	})
	t.Run("oldest first", func(t *testing.T) {
		for _, filter := range []string{"", "&q=entry"} {
			l := newTestLog(t)
			l.fill(50)
			var got []int64
			for len(got) < 90 {
				last := int64(10)
				if len(got) > 0 {
					last = got[len(got)-1]
				}
				page := ids(l.logs(fmt.Sprintf("order=asc&limit=7&after=%d", last) + filter))
				if len(page) == 0 {
					break
				}
				got = append(got, page...)
				l.fill(1)
			}
			for i, id := range got {
				if id != int64(11+i) {
					t.Fatalf("%q: pages contain ids %v, want all from 11 on", filter, got)
				}
			}
			if len(got) < 40 {
				t.Errorf("%q: pages contain %d ids, want at least 40", filter, len(got))
			}
			for _, none := range []string{"after=9223372036854775807", "before=0", "after=5&before=5"} {
				if got := l.logs("order=asc&" + none + filter); len(got) != 0 {
					t.Errorf("order=asc&%s%s = %d entries, want none", none, filter, len(got))
				}
			}
		}
	})
	// Each round reads the pages after an id, from the newest down to that id.
	t.Run("forward", func(t *testing.T) {
		l := newTestLog(t)
		l.fill(50)
		var got []int64
		after := int64(10)
		for range 4 {
			var round []int64
			for page := l.logs(fmt.Sprintf("after=%d&limit=7", after)); len(page) > 0; {
				round = append(round, ids(page)...)
				l.fill(1)
				page = l.logs(fmt.Sprintf("after=%d&before=%d&limit=7", after, round[len(round)-1]))
			}
			slices.Reverse(round)
			got = append(got, round...)
			after = got[len(got)-1]
		}
		for i, id := range got {
			if id != int64(11+i) {
				t.Fatalf("pages contain ids %v, want all from 11 on", got)
			}
		}
		if len(got) < 40 {
			t.Errorf("pages contain %d ids, want at least 40", len(got))
		}
	})
}

func TestLogsCompression(t *testing.T) {
	l := newTestLog(t)
	l.fill(2000)
	_, plain := l.get("/logs?limit=2000", "Accept-Encoding", "identity")
	for _, accept := range []string{"gzip", "br, GZIP;q=0.5", "deflate,gzip"} {
		t.Run(accept, func(t *testing.T) {
			resp, body := l.get("/logs?limit=2000", "Accept-Encoding", accept)
			if got := resp.Header.Get("Content-Encoding"); got != "gzip" {
				t.Fatalf("Content-Encoding = %q, want gzip", got)
			}
			z, err := gzip.NewReader(strings.NewReader(body))
			must(t, err)
			inflated, err := io.ReadAll(z)
			must(t, err)
			if string(inflated) != plain {
				t.Error("the inflated response differs from the uncompressed one")
			}
		})
	}
	for _, accept := range []string{"gzip;q=0", "br", "gzip; q=0.0", "identity"} {
		t.Run(accept, func(t *testing.T) {
			resp, body := l.get("/logs?limit=2000", "Accept-Encoding", accept)
			if got := resp.Header.Get("Content-Encoding"); got != "" {
				t.Errorf("Content-Encoding = %q, want none", got)
			}
			if body != plain {
				t.Error("the response differs from the uncompressed one")
			}
		})
	}
}

// Compression does not pay off for a response that fits into one packet.
func TestLogsCompressionMinimum(t *testing.T) {
	l := newTestLog(t)
	l.fill(1)
	resp, body := l.get("/logs", "Accept-Encoding", "gzip")
	if got := resp.Header.Get("Content-Encoding"); got != "" || len(decodeEntries(t, body)) != 1 {
		t.Errorf("response = %q with Content-Encoding %q, want one entry uncompressed", body, got)
	}
}

// A response that fails halfway is aborted, so that it does not look complete.
func TestLogsAbort(t *testing.T) {
	l := openTestLog(t)
	l.fill(5000)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w := &hookedRecorder{ResponseRecorder: httptest.NewRecorder(), beforeWrite: cancel}
	defer func() {
		if got := recover(); got != http.ErrAbortHandler {
			t.Errorf("ServeLogs panicked with %v, want http.ErrAbortHandler", got)
		}
		if n := w.Body.Len(); n < partSize/2 || n > partSize {
			t.Errorf("ServeLogs sent %d bytes, want one part of about %d", n, partSize)
		}
	}()
	l.reader.ServeLogs(w, httptest.NewRequestWithContext(ctx, "GET", "/logs?limit=5000", nil))
}

// While a client reads slowly, the writer can checkpoint and truncate the WAL,
// because no statement runs.
func TestLogsSlowClient(t *testing.T) {
	for _, query := range []string{"limit=10000", "limit=10000&q=entry"} {
		t.Run(query, func(t *testing.T) {
			l := openTestLog(t)
			l.fill(20_000)
			checked := false
			w := &hookedRecorder{ResponseRecorder: httptest.NewRecorder(), beforeWrite: func() {
				if checked {
					return
				}
				checked = true
				l.fill(10)
				var busy, log, checkpointed int
				must(t, l.db.QueryRow("PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &log, &checkpointed))
				if busy != 0 || log != 0 {
					t.Errorf("wal_checkpoint = busy %d, log %d, checkpointed %d, want busy 0, log 0", busy, log, checkpointed)
				}
			}}
			l.reader.ServeLogs(w, httptest.NewRequest("GET", "/logs?"+query, nil))
			if !checked {
				t.Error("ServeLogs wrote nothing")
			}
			entries := decodeEntries(t, w.Body.String())
			if len(entries) != 10_000 || entries[9999].ID != 10_001 {
				t.Errorf("got %d entries, want 10000 down to id 10001", len(entries))
			}
		})
	}
}

func TestReadsAreBounded(t *testing.T) {
	l := openTestLog(t)
	l.fill(1)
	l.reader.slotTimeout = time.Millisecond
	for range maxReads {
		defer holdSlot(t, l.reader.openReads)()
	}
	for _, target := range []string{"/logs", "/logs/histogram"} {
		checkError(t, l.serve(target), http.StatusServiceUnavailable, "too many")
	}
}

// If another file has taken the database's place, no connection is opened.
func TestReadsAfterReplacement(t *testing.T) {
	l := openTestLog(t)
	must(t, os.Rename(l.db.Path, l.db.Path+".moved"))
	must(t, os.WriteFile(l.db.Path, nil, 0o600))
	for _, target := range []string{"/logs", "/logs/histogram", "/logs/tail"} {
		t.Run(target, func(t *testing.T) {
			checkError(t, l.serve(target), http.StatusServiceUnavailable, "cannot read the log")
		})
	}
}
