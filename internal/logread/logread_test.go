package logread

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log-ingester/internal/entry"
	"log-ingester/internal/logtest"
	"log-ingester/internal/pipetest"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A testLog is a logs.db of its own with a reader on it, served over HTTP.
type testLog struct {
	t      testing.TB
	db     *logtest.DB
	reader *Reader
	server *httptest.Server
}

func newTestLog(t testing.TB) *testLog {
	t.Helper()
	l := openTestLog(t)
	l.server = httptest.NewServer(l.routes())
	t.Cleanup(func() {
		l.reader.EndTails()
		l.server.Close()
	})
	return l
}

func (l *testLog) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /logs", l.reader.ServeLogs)
	mux.HandleFunc("GET /logs/histogram", l.reader.ServeHistogram)
	mux.HandleFunc("GET /logs/tail", l.reader.ServeTail)
	return mux
}

// openTestLog returns a testLog without a server.
func openTestLog(t testing.TB) *testLog {
	t.Helper()
	db := logtest.New(t)
	r, err := Open(db.Path, slog.New(slog.DiscardHandler))
	must(t, err)
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return &testLog{t: t, db: db, reader: r}
}

// serveHTTP2 serves h over HTTP/2 and returns a client whose host is
// https://example.com.
func serveHTTP2(t *testing.T, h http.Handler) *http.Client {
	return pipetest.ServeHTTP2(t, &http.Server{Handler: h}, func(l net.Listener) net.Listener { return l })
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

type testEntry = logtest.Entry

func (l *testLog) insert(entries ...testEntry) int64 { return l.db.Insert(entries...) }
func (l *testLog) fill(n int) int64                  { return l.db.Fill(n) }

// get answers a request, with headers in pairs.
func (l *testLog) get(path string, headers ...string) (*http.Response, string) {
	l.t.Helper()
	req, err := http.NewRequest("GET", l.server.URL+path, nil)
	must(l.t, err)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	must(l.t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(l.t, err)
	return resp, string(body)
}

type answeredEntry struct {
	ID        int64
	Level     string
	Message   string
	Timestamp string
	Details   json.RawMessage
}

// logs returns what /logs answers to parameters, given as name, value, ….
func (l *testLog) logs(parameters ...string) []answeredEntry {
	l.t.Helper()
	q := url.Values{}
	for i := 0; i < len(parameters); i += 2 {
		q.Add(parameters[i], parameters[i+1])
	}
	resp, body := l.get("/logs?" + q.Encode())
	if resp.StatusCode != http.StatusOK {
		l.t.Fatalf("/logs?%s: %s %s", q.Encode(), resp.Status, body)
	}
	var entries []answeredEntry
	if err := json.Unmarshal([]byte(body), &entries); err != nil {
		l.t.Fatalf("/logs?%s: %v in %s", q.Encode(), err, body)
	}
	return entries
}

func ids(entries []answeredEntry) []int64 {
	ids := []int64{}
	for _, e := range entries {
		ids = append(ids, e.ID)
	}
	return ids
}

func TestLogsAnswersEntriesNewestFirst(t *testing.T) {
	l := newTestLog(t)
	if _, body := l.get("/logs"); body != "[]\n" {
		t.Errorf("an empty log is answered as %q", body)
	}
	l.insert(
		testEntry{"error", "first", "2026-11-22T15:24:00.123456789Z", `{"a":1}`},
		testEntry{"err", "say \"hi\"\n\x00\u2028ü", "2026-11-22T15:24:01.000000000Z", nil},
	)
	resp, body := l.get("/logs")
	want := `[
{"id":2,"level":"err","message":"say \"hi\"\n\u0000` + "\u2028" + `ü","timestamp":"2026-11-22T15:24:01.000000000Z","details":null},
{"id":1,"level":"error","message":"first","timestamp":"2026-11-22T15:24:00.123456789Z","details":{"a":1}}
]
`
	if body != want {
		t.Errorf("/logs answers\n%s, want\n%s", body, want)
	}
	for name, value := range map[string]string{
		"Content-Type":           "application/json",
		"Cache-Control":          "no-store",
		"X-Content-Type-Options": "nosniff",
		"Referrer-Policy":        "no-referrer",
	} {
		if got := resp.Header.Get(name); got != value {
			t.Errorf("%s is %q, want %q", name, got, value)
		}
	}
	resp, body = l.get("/logs", "Accept", "text/html, application/x-ndjson;q=0.9")
	want = strings.NewReplacer("[\n", "", ",\n", "\n", "\n]\n", "\n").Replace(want)
	if body != want || resp.Header.Get("Content-Type") != "application/x-ndjson" {
		t.Errorf("as NDJSON, /logs answers %s\n%s, want\n%s", resp.Header.Get("Content-Type"), body, want)
	}
}

func TestLogsParameters(t *testing.T) {
	l := newTestLog(t)
	l.insert(
		/* 1 */ testEntry{"error", "Connection REFUSED", "2026-11-22T10:00:00.000000000Z", `{"host":"db-1","port":5432,"ok":false,"none":null}`},
		/* 2 */ testEntry{"err", "100% of C:\\temp", "2026-11-22T10:00:01.500000000Z", `{"path":"C:\\temp","a.b":"dotted","a":{"b":"nested","c":{"d":[1, 2]}}}`},
		/* 3 */ testEntry{"critical", "Überlauf", "2024-01-02T03:04:05.678901234+00:00", `{"name":"J\u00fcrgen \ud83d\ude00","ke\u0079":"v"}`},
		/* 4 */ testEntry{"error+4", "Kelvin K", "2026-11-22T12:00:00+02:00", `{"snowflake":12345678901234567890,"s":"","dup":1,"dup":"2"}`},
		/* 5 */ testEntry{"weird", "_underscore_", "yesterday, or so", `{"text":"x' OR 1=1 --"}`},
		/* 6 */ testEntry{"unknown", "", "2026-11-22 10:00:02", nil},
		/* 7 */ testEntry{"fatal", "last", "2026-11-22T10:00:03Z", `not json "half":"found`},
	)
	tests := []struct {
		parameters string
		want       []int64
	}{
		{"", []int64{7, 6, 5, 4, 3, 2, 1}},
		{"level=error", []int64{4, 2, 1}},
		{"level=ERROR", []int64{4, 2, 1}},
		{"level=err", []int64{2}},
		{"level=Error%2B4", []int64{4}},
		{"level=fatal", []int64{7, 3}},
		{"level=critical", []int64{3}},
		{"level=unknown", []int64{6, 5}},
		{"level=weird&level=critical", []int64{5, 3}},
		{"level=warn", []int64{}},
		{"level=", []int64{}},

		{"q=refused", []int64{1}},
		{"q=REFUSED", []int64{1}},
		{"q=", []int64{7, 6, 5, 4, 3, 2, 1}},
		{"q=%25", []int64{2}}, // neither % nor _ is a wildcard
		{"q=_", []int64{5}},
		{"q=%C3%BCBERLAUF", []int64{3}},
		{"q=j%C3%9CRGEN", []int64{3}},        // written \u00fc
		{"q=%F0%9F%98%80", []int64{3}},       // written as two surrogates
		{"q=c:%5CTEMP", []int64{2}},          // written with one backslash and with two
		{"q=%22C:%5C%5Ctemp", []int64{2}},    // the JSON text itself
		{"q=kelvin+%E2%84%AA", []int64{4}},   // K is the Kelvin sign
		{"q=DB-1", []int64{1}},               // in details
		{"q=x'+OR+1%3D1+--", []int64{5}},     // bound, not pasted
		{"q=nowhere", []int64{}},             //
		{"q=half%22:%22found", []int64{7}},   // details that are not JSON
		{"q=refused&level=fatal", []int64{}}, // all must hold

		{"details.host=db-1", []int64{1}},
		{"details.host=DB-1", []int64{}},
		{"details.port=5432", []int64{1}},
		{"details.port=543", []int64{}},
		{"details.ok=false", []int64{1}},
		{"details.none=null", []int64{1}},
		{"details.path=C:%5Ctemp", []int64{2}},
		{"details.a.b=dotted", []int64{2}},
		{"details.a.b=nested", []int64{2}},
		{"details.a.c.d=%5B1,+2%5D", []int64{2}},
		{"details.c.d=%5B1,+2%5D", []int64{}},
		{"details.b=nested", []int64{}},
		{"details.name=J%C3%BCrgen+%F0%9F%98%80", []int64{3}},
		{"details.key=v", []int64{3}},
		{"details.snowflake=12345678901234567890", []int64{4}},
		{"details.s=", []int64{4}},
		{"details.dup=1&details.dup=3", []int64{4}}, // any value of a name
		{"details.dup=2", []int64{4}},
		{"details.host=db-1&details.port=1", []int64{}}, // all names
		{"details.half=found", []int64{}},

		{"since=2026-11-22T10:00:01.5Z", []int64{7, 6, 2}},
		{"since=2026-11-22T10:00:01.500000001Z", []int64{7, 6}},
		{"since=2026-11-22t10:00:01.5z&until=2026-11-22t12:00:03%2B02:00", []int64{6, 2}},
		{"since=2026-11-22T12:00:01.5%2B02:00", []int64{7, 6, 2}},
		{"since=2026-11-22T12:00:01.5+02:00", []int64{7, 6, 2}}, // a + that was not escaped
		{"until=2026-11-22T10:00:01.5Z", []int64{4, 3, 1}},
		{"since=2026-11-22T10:00:00Z&until=2026-11-22T10:00:01Z", []int64{4, 1}},
		{"until=2024-01-02T03:04:05.678901234Z", []int64{}},
		{"until=2024-01-02T03:04:05.678901235Z", []int64{3}},
		{"since=2024-01-02&until=2024-01-03", []int64{3}},

		{"limit=2", []int64{7, 6}},
		{"before=3", []int64{2, 1}},
		{"after=5", []int64{7, 6}},
		{"after=5&limit=1", []int64{7}},
		{"after=2&before=5", []int64{4, 3}},
		{"before=0", []int64{}},
		{"after=9223372036854775807", []int64{}},
		{"before=9223372036854775807&limit=10000", []int64{7, 6, 5, 4, 3, 2, 1}},
	}
	for _, test := range tests {
		q, err := url.ParseQuery(test.parameters)
		must(t, err)
		var pairs []string
		for name, values := range q {
			for _, value := range values {
				pairs = append(pairs, name, value)
			}
		}
		if got := ids(l.logs(pairs...)); !slices.Equal(got, test.want) {
			t.Errorf("/logs?%s answers %v, want %v", test.parameters, got, test.want)
		}
	}
}

// A time that 64 bits cannot tell is before or after all others, and no less a
// time.
func TestTimesFarOff(t *testing.T) {
	l := newTestLog(t)
	l.insert(
		testEntry{"error", "", "0044-03-15T12:00:00Z", nil},
		testEntry{"error", "", "2026-11-22T10:00:00Z", nil},
	)
	check := func(want map[string][]int64) {
		t.Helper()
		for parameters, want := range want {
			resp, body := l.get("/logs?" + parameters)
			var found []answeredEntry
			if err := json.Unmarshal([]byte(body), &found); err != nil || !slices.Equal(ids(found), want) {
				t.Errorf("/logs?%s answers %d %s, want %v", parameters, resp.StatusCode, body, want)
			}
			resp, body = l.get("/logs/histogram?" + parameters)
			var counted struct{ Levels map[string]int }
			if err := json.Unmarshal([]byte(body), &counted); err != nil || resp.StatusCode != 200 || counted.Levels["error"] != len(want) {
				t.Errorf("/logs/histogram?%s answers %d %s, want %d entries", parameters, resp.StatusCode, body, len(want))
			}
		}
	}
	check(map[string][]int64{
		"since=9999-01-01T00:00:00Z":                  {},
		"until=1600-01-01T00:00:00Z":                  {},
		"since=3000-01-01&until=9999-01-01":           {},
		"since=0001-01-01&until=1600-01-01":           {},
		"since=1600-01-01":                            {2, 1},
		"until=9999-01-01":                            {2, 1},
		"since=1700-01-01&until=9999-01-01T00:00:00Z": {2},
	})
	l.insert(testEntry{"error", "", "9999-12-31T23:59:59Z", nil})
	check(map[string][]int64{
		"since=2026-01-01": {3, 2},
		"since=9999-01-01": {3},
		"until=9999-01-01": {2, 1},
		"until=2027-01-01": {2, 1},
	})
}

func TestDurationsCountBackFromNow(t *testing.T) {
	l := newTestLog(t)
	for _, age := range []time.Duration{50 * time.Hour, 90 * time.Minute, time.Minute} {
		l.insert(testEntry{"error", "", time.Now().Add(-age).UTC().Format(time.RFC3339Nano), nil})
	}
	for parameters, want := range map[string][]int64{
		"since=1h":            {3},
		"since=1h30m30s":      {3, 2},
		"since=3d":            {3, 2, 1},
		"since=2.5d&until=1h": {2, 1},
		"until=15m":           {2, 1},
		"since=0s":            {},
	} {
		q, _ := url.ParseQuery(parameters)
		var pairs []string
		for name, values := range q {
			pairs = append(pairs, name, values[0])
		}
		if got := ids(l.logs(pairs...)); !slices.Equal(got, want) {
			t.Errorf("/logs?%s answers %v, want %v", parameters, got, want)
		}
	}
}

func TestWrongParametersAreRefusedWithASentence(t *testing.T) {
	l := newTestLog(t)
	for path, mentions := range map[string]string{
		"/logs?colour=red":                                   `"colour"`,
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
		"/logs/histogram?limit=5":                            `"limit"`,
		"/logs/histogram?buckets=501":                        "500",
		"/logs/tail?before=5":                                `"before"`,
		"/logs/tail?limit=5":                                 `"limit"`,
		"/logs/tail?after=x":                                 "after",
	} {
		resp, body := l.get(path)
		var answer struct{ Error string }
		if err := json.Unmarshal([]byte(body), &answer); err != nil {
			t.Errorf("%s: %v in %s", path, err, body)
		}
		if resp.StatusCode != http.StatusBadRequest || !strings.Contains(answer.Error, mentions) {
			t.Errorf("%s is answered %d %q, want 400 that mentions %s", path, resp.StatusCode, answer.Error, mentions)
		}
	}
	if resp, body := l.get("/logs/tail", "Last-Event-ID", "x"); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("Last-Event-ID: x is answered %d %s", resp.StatusCode, body)
	}
}

// Another program can put anything into the table; the answer stays JSON, and
// shows the rest.
func TestRowsOfOthersNeverBreakTheAnswer(t *testing.T) {
	l := newTestLog(t)
	l.insert(
		testEntry{"error", "whole", "2026-11-22T10:00:00.000000000Z", `{"a":1}`},
		testEntry{7, 1.5, []byte("blob \xff"), []byte("\x00\x01")},
		testEntry{[]byte("\xc3("), "cut \xe2\x82", "", `{"a":`},
		testEntry{"error", "m", "t", "{\"s\":\"bad \xff\xfe\",\r\n \"b\":[1,\n2]}"},
		testEntry{"error", "m", "t", ""},
		testEntry{"error", "m", "t", `"text"`},
		testEntry{"error", "m", "t", 12},
		testEntry{"error", "m", "t", strings.Repeat("[", 20000) + strings.Repeat("]", 20000)},
		testEntry{"error", "m", "t", "{\"raw\":\"line\nbreak\"}"},
	)
	want := map[int64]answeredEntry{
		1: {1, "error", "whole", "2026-11-22T10:00:00.000000000Z", json.RawMessage(`{"a":1}`)},
		2: {2, "7", "1.5", "blob \ufffd", json.RawMessage(`"\u0000\u0001"`)},
		3: {3, "\ufffd(", "cut \ufffd\ufffd", "", json.RawMessage(`"{\"a\":"`)},
		4: {4, "error", "m", "t", json.RawMessage("{\"s\":\"bad \ufffd\ufffd\",   \"b\":[1, 2]}")},
		6: {6, "error", "m", "t", json.RawMessage(`"text"`)},
		7: {7, "error", "m", "t", json.RawMessage(`12`)},
		9: {9, "error", "m", "t", json.RawMessage(`"{\"raw\":\"line\nbreak\"}"`)},
	}
	entries := l.logs()
	if len(entries) != 9 {
		t.Fatalf("%d entries are answered, want 9", len(entries))
	}
	for _, e := range entries {
		if w, ok := want[e.ID]; ok && !reflect.DeepEqual(e, w) {
			t.Errorf("entry %d is answered as\n%+v, want\n%+v", e.ID, e, w)
		}
	}
	_, body := l.get("/logs", "Accept", "application/x-ndjson")
	if lines := strings.Count(body, "\n"); lines != 9 {
		t.Errorf("NDJSON of 9 entries has %d lines", lines)
	}
	for _, filter := range []string{"q=zzz", "details.a=zzz", "details.a=1", "level=7", "since=1h", "q=%EF%BF%BD"} {
		if resp, body := l.get("/logs?" + filter); resp.StatusCode != 200 {
			t.Errorf("%s: %d %s", filter, resp.StatusCode, body)
		}
	}
	if got := ids(l.logs("level", "7")); !slices.Equal(got, []int64{2}) {
		t.Errorf("level=7 finds %v", got)
	}
}

// Reading is over pages of ids, so it has no gap and nothing twice while
// entries come in and the oldest go.
func TestPagingIsStableWhileEntriesArrive(t *testing.T) {
	l := newTestLog(t)
	last := l.fill(50)
	var back []int64
	for page := l.logs("limit", "7"); len(page) > 0; page = l.logs("limit", "7", "before", fmt.Sprint(back[len(back)-1])) {
		back = append(back, ids(page)...)
		l.fill(3)
	}
	for i, id := range back {
		if id != last-int64(i) {
			t.Fatalf("paging back gives %v", back)
		}
	}
	if len(back) != 50 {
		t.Errorf("paging back gives %d entries, want 50", len(back))
	}

	// Forward from an id: the pages between it and the newest, then on from
	// the newest.
	var forward []int64
	from := int64(10)
	for range 4 {
		var news []int64
		page := l.logs("after", fmt.Sprint(from), "limit", "7")
		for len(page) > 0 {
			news = append(news, ids(page)...)
			l.fill(1)
			page = l.logs("after", fmt.Sprint(from), "before", fmt.Sprint(news[len(news)-1]), "limit", "7")
		}
		slices.Reverse(news)
		forward = append(forward, news...)
		from = forward[len(forward)-1]
	}
	for i, id := range forward {
		if id != int64(11+i) {
			t.Fatalf("paging forward gives %v", forward)
		}
	}
}

// Blocks of ids, and what is remembered of their times, must not show.
func TestScanOverManyBlocks(t *testing.T) {
	l := newTestLog(t)
	const n = 3<<blockBits + 100
	l.fill(n)
	// A gap that whole blocks fall into, and ids far apart.
	_, err := l.db.Exec("DELETE FROM logs WHERE id BETWEEN 100 AND 40000")
	must(t, err)
	_, err = l.db.Exec("INSERT INTO logs VALUES (-5, 'error', 'below', '2000-01-01T00:00:00Z', NULL), (?, 'error', 'above', '2000-01-01T00:00:00Z', NULL)", int64(1)<<62)
	must(t, err)
	at := func(i int) string { return time.Date(2026, 11, 22, 0, 0, i, 0, time.UTC).Format(time.RFC3339) }
	// The lowest and the highest ids in blocks that no entry can come to any more.
	// The third block begins in the gap; that of the newest entry is not here.
	blocks := map[block][2]int{-1: {-5, -5}, 0: {1, 99}, 2: {40001, 3<<blockBits - 1}, 3: {3 << blockBits, n}}
	// The first time, nothing is known of the blocks; the second time, their times.
	for range 2 {
		for _, block := range blocks {
			for _, id := range block {
				if id > 0 {
					if got := ids(l.logs("since", at(id-1), "until", at(id))); !slices.Equal(got, []int64{int64(id)}) {
						t.Errorf("entry %d is found by its time as %v", id, got)
					}
				}
			}
		}
		if got := ids(l.logs("q", "entry 98", "until", at(99))); !slices.Equal(got, []int64{99}) {
			t.Errorf("the entry before the gap is found as %v", got)
		}
		if got := ids(l.logs("until", at(2))); !slices.Equal(got, []int64{1 << 62, 2, 1, -5}) {
			t.Errorf("entries at the ends are found as %v", got)
		}
		if got := ids(l.logs("since", at(n-1))); !slices.Equal(got, []int64{n}) {
			t.Errorf("the newest entry is found as %v", got)
		}
		if got := ids(l.logs("since", at(40000), "until", at(40003), "limit", "2")); !slices.Equal(got, []int64{40003, 40002}) {
			t.Errorf("entries after the gap are found as %v", got)
		}
	}
	for block, ids := range blocks {
		first, _ := entry.ParseStoredTime(at(ids[0] - 1))
		last, _ := entry.ParseStoredTime(at(ids[1] - 1))
		if block < 0 {
			first, _ = entry.ParseStoredTime("2000-01-01T00:00:00Z")
			last = first
		}
		if got, known := l.reader.scanner.times.get(block); !known || got != (timeSpan{first, last}) {
			t.Errorf("of block %d, the times %v are remembered (%v), want from %d to %d", block, got, known, first, last)
		}
	}
	if len(l.reader.scanner.times.spans) != len(blocks) {
		t.Errorf("the times of %d blocks are remembered, want %d", len(l.reader.scanner.times.spans), len(blocks))
	}
	last := l.insert(testEntry{"error", "late, with an early time", at(50), nil})
	if got := ids(l.logs("since", at(49), "until", at(51))); !slices.Equal(got, []int64{last, 51, 50}) {
		t.Errorf("an entry with an early time is not found: %v", got)
	}
	all := l.logs("limit", "10000", "q", "entry")
	if len(all) != n-39901 {
		t.Errorf("%d entries are answered, want %d", len(all), n-39901)
	}
	if !slices.IsSortedFunc(all, func(a, b answeredEntry) int { return int(b.ID - a.ID) }) {
		t.Error("entries are out of order")
	}
}

// What is remembered of a block makes searches leave it out.
func TestABlockOfOtherTimesIsLeftOut(t *testing.T) {
	l := newTestLog(t)
	l.fill(1<<blockBits + 1)
	const since, until = "2026-11-22T00:00:10Z", "2026-11-22T00:00:12Z"
	if got := ids(l.logs("since", since, "until", until)); !slices.Equal(got, []int64{12, 11}) {
		t.Errorf("two entries are found as %v", got)
	}
	from, _ := entry.ParseStoredTime(since)
	to, _ := entry.ParseStoredTime(until)
	for _, c := range []struct {
		times timeSpan
		want  []int64
	}{
		{timeSpan{from - 2, from - 1}, []int64{}},
		{timeSpan{from - 1, from}, []int64{12, 11}},
		{timeSpan{to - 1, to}, []int64{12, 11}},
		{timeSpan{to, to + 1}, []int64{}},
	} {
		l.reader.scanner.times.set(0, c.times)
		if got := ids(l.logs("since", since, "until", until)); !slices.Equal(got, c.want) {
			t.Errorf("where a block has the times %v, from %d to %d are found %v, want %v", c.times, from, to, got, c.want)
		}
	}
}

// A block that entries still come to is not remembered as it was.
func TestABlockThatGrowsIsSearchedAgain(t *testing.T) {
	l := newTestLog(t)
	l.fill(1<<blockBits - 3)
	early := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC).Format(time.RFC3339)
	want := []int64{}
	for range 5 { // two come to this block, and the others to the next
		if got := ids(l.logs("until", early)); !slices.Equal(got, want) {
			t.Errorf("the early entries are found as %v, want %v", got, want)
		}
		want = slices.Insert(want, 0, l.insert(testEntry{"error", "", "2026-11-20T00:00:00Z", nil}))
	}
}

func TestAnswersAreCompressedForThoseWhoAccept(t *testing.T) {
	l := newTestLog(t)
	l.fill(2000)
	_, plain := l.get("/logs?limit=2000", "Accept-Encoding", "identity")
	for _, accept := range []string{"gzip", "br, GZIP;q=0.5", "deflate,gzip"} {
		resp, body := l.get("/logs?limit=2000", "Accept-Encoding", accept)
		if resp.Header.Get("Content-Encoding") != "gzip" {
			t.Errorf("Accept-Encoding: %s is answered in %q", accept, resp.Header.Get("Content-Encoding"))
			continue
		}
		z, err := gzip.NewReader(strings.NewReader(body))
		must(t, err)
		inflated, err := io.ReadAll(z)
		must(t, err)
		if string(inflated) != plain {
			t.Errorf("Accept-Encoding: %s gives another answer", accept)
		}
	}
	for _, accept := range []string{"gzip;q=0", "br", "gzip; q=0.0", "identity"} {
		resp, body := l.get("/logs?limit=2000", "Accept-Encoding", accept)
		if resp.Header.Get("Content-Encoding") != "" || body != plain {
			t.Errorf("Accept-Encoding: %s is answered in %q", accept, resp.Header.Get("Content-Encoding"))
		}
	}
}

func TestReadsAreBounded(t *testing.T) {
	l := newTestLog(t)
	l.fill(1)
	l.reader.slotTimeout = time.Millisecond
	for range maxReads {
		number := <-l.reader.reads
		defer func() { l.reader.reads <- number }()
	}
	for _, path := range []string{"/logs", "/logs/histogram"} {
		resp, body := l.get(path)
		if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" || !strings.Contains(body, `{"error":`) {
			t.Errorf("one more %s is answered %d %s", path, resp.StatusCode, body)
		}
	}
}

func TestAScanThatTakesTooLongIsAnswered503(t *testing.T) {
	l := newTestLog(t)
	l.fill(1000)
	// With no connection to be had, every scan takes too long.
	l.reader.db.SetMaxOpenConns(1)
	held, err := l.reader.db.Conn(context.Background())
	must(t, err)
	l.reader.scanner.timeout = time.Millisecond
	for _, path := range []string{"/logs?q=nowhere", "/logs/histogram"} {
		resp, body := l.get(path)
		if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" || !strings.Contains(body, "narrow") {
			t.Errorf("%s is answered %d %s", path, resp.StatusCode, body)
		}
	}
	if len(l.reader.reads) != maxReads {
		t.Errorf("%d of %d numbers came back", len(l.reader.reads), maxReads)
	}
	must(t, held.Close())
	l.reader.scanner.timeout = scanTimeout
	if got := l.logs("limit", "5"); len(got) != 5 {
		t.Errorf("after that, %d entries are answered, want 5", len(got))
	}
}

// scanUntilCancelled cancels a scan at the first entry that it counts, and returns
// how many it counts and how it ends.
func (l *testLog) scanUntilCancelled(rawQuery string) (seen int, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	q, err := parseQuery(rawQuery, time.Now())
	must(l.t, err)
	err = l.reader.scanner.count(ctx, 0, q, func(string, int64, bool) {
		cancel()
		seen++
	})
	return seen, err
}

// A scan ends soon after its context, in the middle of a block too.
func TestAScanEndsWithItsRequest(t *testing.T) {
	l := newTestLog(t)
	l.fill(1 << blockBits)
	seen, err := l.scanUntilCancelled("")
	if !errors.Is(err, context.Canceled) || seen == 0 || seen > 512 {
		t.Errorf("the scan saw %d entries and ended with %v", seen, err)
	}
}

// However large the entries are, it does not take many to see that a scan is to
// end.
func TestAScanOfLargeEntriesEndsWithItsRequest(t *testing.T) {
	l := newTestLog(t)
	large := testEntry{"error", strings.Repeat("x", checkEvery/4), "", `{"y":"` + strings.Repeat("y", checkEvery/4) + `"}`}
	for range 32 {
		l.insert(large)
	}
	seen, err := l.scanUntilCancelled("q=y")
	if !errors.Is(err, context.Canceled) || seen != 1 {
		t.Errorf("the scan saw %d entries and ended with %v", seen, err)
	}
}

// The text makes no difference to how long an entry takes, nor does the entry but
// for its length.
func TestATextIsSoughtInOnePass(t *testing.T) {
	text, longest := strings.Repeat("a", 28_000), strings.Repeat("a", 700_000)
	for _, c := range []struct{ text, in string }{
		{text + "e", longest},
		{text + "\ufffde", longest},
		{"\ufffd" + text + "e", "\xff" + longest},
		{text + "ü", longest + text + "ÜB"},
		{"ü" + text + "e", strings.Repeat("Ü", 10_000) + longest},
	} {
		began := time.Now()
		if got, want := newFoldedText(c.text).contains(c.in), strings.HasSuffix(c.in, "B"); got != want {
			t.Errorf("%.10q…%q in %.10q…: %v, want %v", c.text, c.text[len(c.text)-4:], c.in, got, want)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("%.10q…%q in %.10q… took %v", c.text, c.text[len(c.text)-4:], c.in, took)
		}
	}
}

// An answer that fails on the way is cut off, so that it cannot pass for whole.
func TestAFailureOnTheWayCutsTheAnswerOff(t *testing.T) {
	l := newTestLog(t)
	l.fill(5000)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w := &cancellingWriter{ResponseRecorder: httptest.NewRecorder(), cancel: cancel}
	req := httptest.NewRequestWithContext(ctx, "GET", "/logs?limit=5000", nil)
	func() {
		defer func() {
			if recover() != http.ErrAbortHandler {
				t.Error("the answer was ended as if it were whole")
			}
		}()
		l.reader.ServeLogs(w, req)
	}()
	if n := w.Body.Len(); n < flushSize || n > 2*flushSize {
		t.Errorf("%d bytes went out", n)
	}
}

// A cancellingWriter ends the request when it has sent something.
type cancellingWriter struct {
	*httptest.ResponseRecorder
	cancel context.CancelFunc
}

func (w *cancellingWriter) Write(p []byte) (int, error) {
	defer w.cancel()
	return w.ResponseRecorder.Write(p)
}

// While a client reads slowly, the writer can check the WAL in and start it
// anew: no statement is open meanwhile.
func TestASlowClientDoesNotHoldTheWAL(t *testing.T) {
	for _, parameters := range []string{"limit=10000", "limit=10000&q=entry"} {
		testSlowClient(t, parameters)
	}
}

func testSlowClient(t *testing.T, parameters string) {
	l := newTestLog(t)
	l.fill(20_000)
	checked := false
	w := &hookedWriter{ResponseRecorder: httptest.NewRecorder(), hook: func() {
		if checked {
			return
		}
		checked = true
		l.fill(10)
		var busy, log, moved int
		must(t, l.db.QueryRow("PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &log, &moved))
		if busy != 0 || log != 0 {
			t.Errorf("the checkpoint answers busy=%d log=%d checkpointed=%d", busy, log, moved)
		}
	}}
	l.reader.ServeLogs(w, httptest.NewRequest("GET", "/logs?"+parameters, nil))
	var entries []answeredEntry
	must(t, json.Unmarshal(w.Body.Bytes(), &entries))
	if !checked || len(entries) != 10_000 || entries[9999].ID != 10_001 {
		t.Errorf("with %s, %d entries were answered", parameters, len(entries))
	}
}

// A part that is looked for as long as the search may take is still sent, over
// HTTP/2 too, where a write deadline cuts off what does not write.
func TestAnAnswerWaitsForItsNextPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := serveHTTP2(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			a := logsResponse{w: w, ndjson: true}
			for _, message := range []string{"first", "second", "third"} {
				a.add(&row{message: []byte(message)})
				if err := a.flush(); err != nil {
					t.Error(err)
				}
				time.Sleep(writeTimeout + time.Second)
			}
			if err := a.finish(); err != nil {
				t.Error(err)
			}
		}))
		resp, err := client.Get("https://example.com/logs")
		must(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if lines := strings.Count(string(body), "\n"); err != nil || resp.ProtoMajor != 2 || lines != 3 {
			t.Errorf("over %s, %d entries came, and then %v", resp.Proto, lines, err)
		}
	})
}

type hookedWriter struct {
	*httptest.ResponseRecorder
	hook func()
}

func (w *hookedWriter) Write(p []byte) (int, error) {
	w.hook()
	return w.ResponseRecorder.Write(p)
}

func TestReaderCannotWrite(t *testing.T) {
	l := newTestLog(t)
	l.fill(1)
	for _, statement := range []string{"DELETE FROM logs", "PRAGMA query_only=0; DELETE FROM logs"} {
		if _, err := l.reader.db.Exec(statement); err == nil {
			t.Errorf("the reader can %s", statement)
		}
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none.db"), nil); err == nil {
		t.Error("a database that is not there was opened")
	}
}

func TestHistogram(t *testing.T) {
	l := newTestLog(t)
	if _, body := l.get("/logs/histogram"); body != `{"since":null,"until":null,"step":1,"undated":0,"levels":{},"buckets":[]}`+"\n" {
		t.Errorf("an empty log is counted as %s", body)
	}
	l.insert(
		testEntry{"error", "a", "2026-11-22T10:00:00.000000000Z", `{"n":1}`},
		testEntry{"err", "b", "2026-11-22T10:00:59.999999999Z", nil},
		testEntry{"fatal", "c", "2026-11-22T10:01:00.000000000Z", nil},
		testEntry{"huh", "d", "no time", nil},
	)
	for path, want := range map[string]string{
		"/logs/histogram?buckets=2": `{"since":"2026-11-22T10:00:00Z","until":"2026-11-22T10:02:00Z","step":60,"undated":1,"levels":{"unknown":1,"fatal":1,"error":2},"buckets":[
{"time":"2026-11-22T10:00:00Z","levels":{"error":2}},
{"time":"2026-11-22T10:01:00Z","levels":{"fatal":1}}]}
`,
		"/logs/histogram?level=error&details.n=1": `{"since":"2026-11-22T10:00:00Z","until":"2026-11-22T10:00:01Z","step":1,"undated":0,"levels":{"error":1},"buckets":[
{"time":"2026-11-22T10:00:00Z","levels":{"error":1}}]}
`,
		"/logs/histogram?since=2026-11-22T10:00:30Z&until=2026-11-22T11:00:30Z&buckets=60": `{"since":"2026-11-22T10:00:30Z","until":"2026-11-22T11:00:30Z","step":300,"undated":0,"levels":{"fatal":1,"error":1},"buckets":[
{"time":"2026-11-22T10:00:00Z","levels":{"fatal":1,"error":1}}]}
`,
		"/logs/histogram?q=nowhere&buckets=1": `{"since":null,"until":null,"step":1,"undated":0,"levels":{},"buckets":[]}` + "\n",
	} {
		resp, body := l.get(path)
		if body != want {
			t.Errorf("%s answers\n%s, want\n%s", path, body, want)
		}
		if !json.Valid([]byte(body)) || resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s answers %v", path, resp.Header)
		}
	}
}

// However far apart the times are, the buckets stay few, and count every entry.
func TestHistogramWidens(t *testing.T) {
	l := newTestLog(t)
	l.insert(
		testEntry{"error", "", "0001-01-01T00:00:00Z", nil},
		testEntry{"error", "", "1969-12-31T23:59:59Z", nil},
		testEntry{"error", "", "2026-11-22T10:00:00.5Z", nil},
		testEntry{"error", "", "9999-12-31T23:59:59Z", nil},
		testEntry{"error", "", "2026-11-22T10:00:02.5Z", nil},
	)
	for buckets := 1; buckets <= maxBuckets; buckets++ {
		_, body := l.get("/logs/histogram?buckets=" + strconv.Itoa(buckets))
		var h struct {
			Step    int64
			Buckets []struct {
				Time   time.Time
				Levels map[string]int
			}
		}
		must(t, json.Unmarshal([]byte(body), &h))
		n := 0
		for i, b := range h.Buckets {
			n += b.Levels["error"]
			if i > 0 && !b.Time.After(h.Buckets[i-1].Time) {
				t.Errorf("buckets are out of order: %s", body)
			}
		}
		// Those without an entry are left out, but count.
		reach := (h.Buckets[len(h.Buckets)-1].Time.Unix()-h.Buckets[0].Time.Unix())/h.Step + 1
		if n != 5 || reach > int64(buckets) {
			t.Errorf("with %d buckets, %d entries are counted in %d: %s", buckets, n, reach, body)
		}
	}
}

// A tailClient reads the events of one tail.
type tailClient struct {
	t    *testing.T
	resp *http.Response
	r    *bufio.Reader
}

type tailEvent struct{ id, name, data string }

func (l *testLog) tail(path string, headers ...string) *tailClient {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	l.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, "GET", l.server.URL+path, nil)
	must(l.t, err)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	must(l.t, err)
	l.t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" || resp.Header.Get("Cache-Control") != "no-store" {
		l.t.Fatalf("%s is answered %s %v", path, resp.Status, resp.Header)
	}
	return &tailClient{l.t.(*testing.T), resp, bufio.NewReader(resp.Body)}
}

// next returns the next event that has data; one without an id and a name has
// ended with the stream.
func (c *tailClient) next() tailEvent {
	c.t.Helper()
	var e tailEvent
	for {
		line, err := c.r.ReadString('\n')
		if err == io.EOF && line == "" {
			return tailEvent{}
		}
		must(c.t, err)
		line = strings.TrimSuffix(line, "\n")
		field, value, _ := strings.Cut(line, ": ")
		switch field {
		case "id":
			e.id = value
		case "event":
			e.name = value
		case "data":
			e.data += value
		case "":
			if e.data != "" {
				return e
			}
			e = tailEvent{} // an id alone is no event
		}
	}
}

func TestTailSendsWhatComes(t *testing.T) {
	l := newTestLog(t)
	l.fill(3)
	all := l.tail("/logs/tail")
	some := l.tail("/logs/tail?level=fatal&q=disk&details.n=1&since=1h")
	now := time.Now().UTC().Format("2006-01-02T15:04:05.000000000Z")
	l.reader.Committed(l.insert(
		testEntry{"error", "one", now, "{\"a\":\n1}"},
		testEntry{"fatal", "the disk", now, `{"n":1}`},
	))
	want := []tailEvent{
		{"4", "", `{"id":4,"level":"error","message":"one","timestamp":"` + now + `","details":{"a": 1}}`},
		{"5", "", `{"id":5,"level":"fatal","message":"the disk","timestamp":"` + now + `","details":{"n":1}}`},
	}
	for _, w := range want {
		if e := all.next(); e != w {
			t.Errorf("the tail sends %q, want %q", e, w)
		}
	}
	if e := some.next(); e != want[1] {
		t.Errorf("the filtered tail sends %q, want %q", e, want[1])
	}
	// Nobody tells of what another program writes.
	l.insert(testEntry{"error", "by another", now, nil})
	if e := all.next(); e.id != "6" {
		t.Errorf("the tail sends %q, want entry 6", e)
	}
}

func TestTailResumes(t *testing.T) {
	l := newTestLog(t)
	l.fill(5)
	for _, client := range []*tailClient{
		l.tail("/logs/tail", "Last-Event-ID", "3"),
		l.tail("/logs/tail?after=3"),
		l.tail("/logs/tail?after=1", "Last-Event-ID", "3"),
	} {
		for _, id := range []string{"4", "5"} {
			if e := client.next(); e.id != id {
				t.Errorf("the tail sends %q, want entry %s", e, id)
			}
		}
	}
	// An id of a database that was there before.
	client := l.tail("/logs/tail", "Last-Event-ID", "1000")
	l.fill(1)
	if e := client.next(); e.id != "6" {
		t.Errorf("the tail sends %q, want entry 6", e)
	}
}

func TestTailSkipsAheadAndSaysSo(t *testing.T) {
	l := newTestLog(t)
	last := l.fill(tailWindow + 5000)
	client := l.tail("/logs/tail?after=10")
	want := fmt.Sprintf(`{"skipped":%d,"after":10,"before":%d}`, last-tailBurst-10, last-tailBurst+1)
	if e := client.next(); e.name != "skipped" || e.data != want || e.id != "" {
		t.Errorf("the tail begins with %q, want skipped %s", e, want)
	}
	for id := last - tailBurst + 1; id <= last; id++ {
		if e := client.next(); e.id != fmt.Sprint(id) {
			t.Fatalf("the tail sends %q, want entry %d", e, id)
		}
	}
	// What is rare is not lost among what is frequent.
	rare := l.tail("/logs/tail?q=entry+6000&after=10")
	want = fmt.Sprintf(`{"skipped":%d,"after":10,"before":%d}`, last-tailWindow-10, last-tailWindow+1)
	if e := rare.next(); e.name != "skipped" || e.data != want {
		t.Errorf("the filtered tail begins with %q, want skipped %s", e, want)
	}
	if e := rare.next(); e.id != "6001" {
		t.Errorf("the filtered tail sends %q, want entry 6001", e)
	}
}

func TestTailsEndWithTheServer(t *testing.T) {
	before := runtime.NumGoroutine()
	l := newTestLog(t)
	l.fill(1)
	client := l.tail("/logs/tail")
	stuck := l.tail("/logs/tail?after=0") // reads nothing
	l.fill(tailBurst)
	if client.next().id == "" {
		t.Error("the tail ended early")
	}
	l.reader.EndTails()
	for e := client.next(); e.id != ""; e = client.next() {
	}
	if resp, _ := l.get("/logs/tail"); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a tail at the end is answered %d", resp.StatusCode)
	}
	must(t, l.reader.Close()) // waits for all that runs
	stuck.resp.Body.Close()
	l.server.Close()
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before+3; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines are left of %d", runtime.NumGoroutine(), before)
		}
	}
}

// An idle tail stays, over HTTP/2 too, where a write deadline cuts off what does
// not write.
func TestAnIdleTailHasAHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := openTestLog(t)
		l.fill(3)
		client := serveHTTP2(t, l.routes())
		began := time.Now()
		resp, err := client.Get("https://example.com/logs/tail")
		must(t, err)
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK || resp.ProtoMajor != 2 {
			t.Fatalf("%s %s", resp.Proto, resp.Status)
		}
		lines := bufio.NewReader(resp.Body)
		for _, want := range []time.Duration{0, tailHeartbeat, 2 * tailHeartbeat} {
			for line := ""; line != "id: 3\n"; line, err = lines.ReadString('\n') {
				must(t, err)
			}
			if at := time.Since(began); at < want || at > want+time.Second {
				t.Errorf("an id comes after %v, want %v", at, want)
			}
		}
	})
}

// A tail that always has entries to look through, and finds none to send, has a
// heartbeat too.
func TestABusyTailHasAHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := openTestLog(t)
		l.fill(3)
		for range maxTailReads {
			number := <-l.reader.tailReads // so that no round gets anywhere
			defer func() { l.reader.tailReads <- number }()
		}
		time.AfterFunc(time.Second, func() { l.reader.Committed(l.fill(1)) })
		time.AfterFunc(2*tailHeartbeat+5*time.Second, l.reader.EndTails)
		w := httptest.NewRecorder()
		l.reader.ServeTail(w, httptest.NewRequest("GET", "/logs/tail", nil))
		if ids := strings.Count(w.Body.String(), "id: 3\n"); ids != 3 {
			t.Errorf("%d ids are sent, want one at the beginning and two heartbeats", ids)
		}
	})
}

// A tailWriter answers a tail, and tells of its deadlines and flushes.
type tailWriter struct {
	*httptest.ResponseRecorder
	setDeadline func(time.Time)
	flushed     func()
}

func (w *tailWriter) SetWriteDeadline(at time.Time) error { w.setDeadline(at); return nil }
func (w *tailWriter) FlushError() error                   { w.flushed(); return nil }

// However the end and a tail's own deadlines fall together, the end's counts, and
// none is set when the answer is over: in HTTP/2 there is nothing left to set.
func TestTheEndOfATailHasADeadline(t *testing.T) {
	for _, ends := range []string{"while it waits", "while it sends"} {
		synctest.Test(t, func(t *testing.T) {
			l := openTestLog(t)
			var deadline time.Time
			over := false
			w := &tailWriter{ResponseRecorder: httptest.NewRecorder()}
			w.setDeadline = func(at time.Time) {
				time.Sleep(time.Millisecond)
				if over {
					t.Errorf("%s: a deadline is set after the answer", ends)
				}
				deadline = at
			}
			w.flushed = func() {
				if ends == "while it sends" {
					l.reader.EndTails()
					time.Sleep(time.Millisecond)
					synctest.Wait()
				}
			}
			if ends == "while it waits" {
				time.AfterFunc(time.Minute, l.reader.EndTails)
			}
			l.reader.ServeTail(w, httptest.NewRequest("GET", "/logs/tail", nil))
			over = true
			if left := time.Until(deadline); left <= 0 || left > time.Second {
				t.Errorf("%s: %v are left at the end, want at most a second", ends, left)
			}
			time.Sleep(time.Second)
		})
	}
}

func TestTailsAreBounded(t *testing.T) {
	l := newTestLog(t)
	for range maxTails {
		l.tail("/logs/tail")
	}
	if resp, body := l.get("/logs/tail"); resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("one more tail is answered %d %s", resp.StatusCode, body)
	}
}

// A client that stops reading holds up nobody but itself.
func TestASlowTailHoldsUpNobody(t *testing.T) {
	l := newTestLog(t)
	l.tail("/logs/tail") // never read from
	quick := l.tail("/logs/tail")
	big := strings.Repeat("x", 100_000)
	for range 12 {
		entries := make([]testEntry, 10)
		for i := range entries {
			entries[i] = testEntry{"error", big, "", nil}
		}
		id := l.insert(entries...)
		l.reader.Committed(id)
		for e := quick.next(); e.id != fmt.Sprint(id); e = quick.next() {
			if e.id == "" && e.name == "" {
				t.Fatal("the tail ended")
			}
		}
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
		must(t, err)
		if got, ok := entry.ParseStoredTime(text); !ok || got != want.UnixNano() {
			t.Errorf("%s is read as %d, %v, want %d", text, got, ok, want.UnixNano())
		}
	}
	for day := time.Date(1678, 1, 1, 12, 30, 15, 5000, time.UTC); day.Year() < 2262; day = day.AddDate(0, 0, 13) {
		text := day.Format("2006-01-02T15:04:05.000000000Z")
		if got, ok := entry.ParseStoredTime(text); !ok || got != day.UnixNano() {
			t.Fatalf("%s is read as %d, %v, want %d", text, got, ok, day.UnixNano())
		}
	}
	for _, text := range []string{
		"", "yesterday", "2024-01-02T03:04:05.Z", "2024-01-02T03:04:60Z", "2024-01-02T24:04:00Z", "2023-02-29T00:00:00Z",
		"2024-00-02T03:04:05Z", "2024-01-00T03:04:05Z", "2024-1x-02T03:04:05Z", "2024-01-02T03:04:05", "20240102T030405Z ",
		"2024-01-02T03:0-:05Z", "2024-01-02z", "2024-01-02t03:04:05zz", "2024-01-02z03:04:05Z",
	} {
		want, err := time.Parse(time.RFC3339, text)
		got, ok := entry.ParseStoredTime(text)
		if text == "2024-01-02T03:04:05" { // UTC by our leave
			want, err = time.Parse(time.RFC3339, text+"Z")
		}
		if ok != (err == nil) || ok && got != want.UnixNano() {
			t.Errorf("%q is read as %d, %v", text, got, ok)
		}
	}
}

// The tolerant reader of details agrees with encoding/json on all that is JSON,
// and does not panic on what is not.
func FuzzHasField(f *testing.F) {
	f.Add(`{"a":1,"b":{"c":"d\u00e9\ud83d\ude00\n"},"e":[1,{"f":2}],"g":""}`, "b.c")
	f.Add(`{"a\"b":"\\","x":null , "a":{"b.c":true}}`, "a.b.c")
	f.Add(`{"a":"x`, "a")
	f.Add(`{"a" 1}`, "a")
	f.Add(`}{`, "")
	f.Add("{\"a\":\"x\xff\"}", "a")
	f.Add("{\"a\":\"\\n\xff\",\"b\":[\"\xfe\"]}", "b")
	f.Fuzz(func(t *testing.T, object, name string) {
		var scratch []byte
		want := []string{}
		if json.Valid([]byte(object)) && strings.HasPrefix(strings.TrimLeft(object, " \t\r\n"), "{") {
			want = fieldTexts(object, name)
			for _, text := range want {
				filter := fieldFilter{name, []string{text}}
				if !filter.matches(object, &scratch) {
					t.Errorf("%q has %q as %q, which is not found", object, name, text)
				}
			}
		}
		if hasField(object, name, []string{"no such value"}, &scratch) != slices.Contains(want, "no such value") {
			t.Errorf("%q has no such value at %q", object, name)
		}
	})
}

// fieldTexts returns all values that a filter by name compares with, as
// encoding/json reads them.
func fieldTexts(object, name string) []string {
	d := json.NewDecoder(strings.NewReader(object))
	var texts []string
	if _, err := d.Token(); err != nil {
		return nil
	}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil
		}
		key := token.(string)
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil
		}
		if key == name {
			var text string
			if json.Unmarshal(value, &text) != nil || value[0] != '"' {
				text = string([]rune(string(value)))
			}
			texts = append(texts, text)
		} else if rest, ok := strings.CutPrefix(name, key+"."); ok && value[0] == '{' {
			texts = append(texts, fieldTexts(string(value), rest)...)
		}
	}
	return texts
}

// A text is found where strings.EqualFold finds it.
func FuzzFoldedText(f *testing.F) {
	f.Add("Connection refused", "REFUSED")
	f.Add("Straße ſ K ǅ", "s")
	f.Add("ΑΣΑΣ", "ας")
	f.Add("\xff\xfe", "\ufffd")
	f.Add("AaAbaaabAaabaaaab", "aaaab")
	f.Add("abcabcabdabcabcabcabd", "ABCABCABCABD")
	f.Add("ſsſsſKſsſſK", "ssſk")
	f.Fuzz(func(t *testing.T, s, text string) {
		if text == "" {
			return
		}
		want := false
		runes, wanted := []rune(s), []rune(text)
		for i := 0; i+len(wanted) <= len(runes); i++ {
			want = want || strings.EqualFold(string(runes[i:i+len(wanted)]), string(wanted))
		}
		folded := newFoldedText(text)
		if got := folded.contains(s); got != want {
			t.Errorf("%q in %q: %v, want %v", text, s, got, want)
		}
		if got, _ := folded.searchKMP(s); got != want {
			t.Errorf("%q in %q in one pass: %v, want %v", text, s, got, want)
		}
	})
}
