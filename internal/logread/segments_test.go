package logread

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"log-ingester/internal/summary"
)

// installSummaries creates the tables and triggers of the summaries.
func (l *testLog) installSummaries() {
	l.t.Helper()
	for _, o := range append(summary.Tables(), summary.Triggers()...) {
		_, err := l.db.Exec(o.SQL)
		must(l.t, err)
	}
}

// summarize stores the summaries that are missing.
func (l *testLog) summarize() {
	l.t.Helper()
	source, err := summary.OpenSource(l.db.Path)
	must(l.t, err)
	defer source.Close()
	for {
		task, ok, err := source.Next(context.Background(), true)
		must(l.t, err)
		if !ok {
			return
		}
		s, err := source.Build(context.Background(), task, func(time.Duration) error { return nil })
		must(l.t, err)
		l.store(task, s)
	}
}

func (l *testLog) store(task summary.Task, s *summary.Summary) {
	l.t.Helper()
	tx, err := l.db.Begin()
	must(l.t, err)
	defer tx.Rollback() // has no effect after Commit
	_, err = tx.Exec("DELETE FROM logs_segments WHERE segment = ?", task.Segment)
	must(l.t, err)
	first := int64(0)
	for i, page := range s.Pages {
		result, err := tx.Exec("INSERT INTO logs_filters(bits) VALUES (?)", page)
		must(l.t, err)
		if i == 0 {
			first, err = result.LastInsertId()
			must(l.t, err)
		}
	}
	_, err = tx.Exec("INSERT INTO logs_segments(segment, upto, filter, pages, summary, counts) VALUES (?, ?, ?, ?, ?, ?)",
		task.Segment, task.UpTo(), first, len(s.Pages), s.Segment, s.Counts)
	must(l.t, err)
	must(l.t, tx.Commit())
}

// fillSparse inserts n random entries, with ids that are about step apart, so that few
// entries fill many blocks.
func (l *testLog) fillSparse(r *rand.Rand, n int, step int64) {
	l.t.Helper()
	tx, err := l.db.Begin()
	must(l.t, err)
	defer tx.Rollback() // has no effect after Commit
	id := int64(0)
	for range n {
		id += 1 + r.Int64N(2*step-1)
		e := randomEntry(r, id)
		_, err := tx.Exec("INSERT OR REPLACE INTO logs(id, level, message, timestamp, details) VALUES (?, ?, ?, ?, ?)",
			id, e[0], e[1], e[2], e[3])
		must(l.t, err)
	}
	must(l.t, tx.Commit())
}

// pick returns one of the values.
func pick[T any](r *rand.Rand, values ...T) T { return values[r.IntN(len(values))] }

// randomEntry returns an entry whose time grows with n.
func randomEntry(r *rand.Rand, n int64) testEntry {
	at := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(n) * time.Second)
	timestamp := at.Format(pick(r, time.RFC3339, "2006-01-02T15:04:05.000000000Z", "2006-01-02 15:04:05"))
	if r.IntN(200) == 0 {
		timestamp = pick(r, "", "no time", "0001-01-01T00:00:00Z", "9999-12-31T00:00:00Z", "2026-11-01T00:00:00Z")
	}
	var details any
	switch r.IntN(20) {
	case 0:
	case 1:
		details = pick(r, `{"user":{"id":7,"tags":["a",{"b":1}]},"a.b":"c"}`,
			`{"user":{"id":8},"x":`, `[1]`,
			`{"x":"\ud83d\ude00 C:\\logs"}`,
			"{\"x\":\"\xff\"}", `{"x":{"y":{"z":null}},"k":"{\"a\":1}"}`, `{"o":{"a":1}}`, "plain \\u00fcber", "")
	default:
		details = fmt.Sprintf(`{"service":"%s","user_id": %d,"request_id":"%016x%016x","ok":%v,"text":"%s"}`,
			pick(r, "checkout", "payment", "auth"), r.IntN(5000), r.Uint64(), r.Uint64(), r.IntN(2) == 0,
			pick(r, "plain", `J\u00fcrgen`, "Straße", `a\"b`, "日本語", "İK"))
	}
	return testEntry{
		pick(r, "error", "error", "error", "error", "err", "fatal", "critical", "WARN", "info", "odd"),
		pick(r, "user not found", "connection to upstream lost", "timeout after retry", "zanzibar", "Über 10.0.52.127") +
			pick(r, "", "", fmt.Sprint(" ", r.IntN(100000))),
		timestamp,
		details,
	}
}

// randomFilter returns filter parameters. about how many entries they match varies.
func randomFilter(r *rand.Rand) url.Values {
	v := url.Values{}
	if r.IntN(3) == 0 {
		v.Set("level", pick(r, "error", "fatal", "critical", "debug", "unknown", "warn,info"))
	}
	if r.IntN(2) == 0 {
		v.Set("q", pick(r, "zanzibar", "ZANZI", "upstream lost", "absent word", "jürgen", `\u00fc`, "strasse",
			"STRASSE", "本語", "0.52.12", "1234", "ff", "k", "a\"b", `c:\logs`, "😀", "user_id\": 12", "\ufffd",
			"deadbeefdeadbeef", fmt.Sprintf("%08x", r.Uint32())))
	}
	if r.IntN(4) == 0 {
		v.Set("words", pick(r, "user not", `"not found" user`, "timeout -zanzibar", "-user", `zanzibar -"service":`, "-x 1 2"))
	}
	if r.IntN(4) == 0 {
		v.Set("not.level", pick(r, "error", "critical", "fatal,err,warn,odd", "unknown"))
	}
	if r.IntN(4) == 0 {
		v.Set(pick(r, "not.details.service", "not.details.user.id", "not.details.ok"), pick(r, "checkout", "7", "true"))
	}
	for range r.IntN(3) {
		switch r.IntN(6) {
		case 0:
			v.Add("details.user_id", fmt.Sprint(r.IntN(5000)))
		case 1:
			v.Add("details.service", pick(r, "checkout", "none"))
		case 2:
			v.Add("details.user.id", pick(r, "7", "8"))
		case 3:
			v.Add(pick(r, "details.a.b", "details.o", "details.k", "details.x.y.z"), pick(r, "c", `{"a":1}`, "null"))
		case 4:
			v.Add("details.text", pick(r, "Jürgen", `a"b`, "日本語", "plain"))
		case 5:
			v.Add("details.x", pick(r, "\ufffd", `😀 C:\logs`))
		}
	}
	return v
}

// randomQuery returns the parameters of a request to /logs. last is the highest id.
func randomQuery(r *rand.Rand, last int64) url.Values {
	v := randomFilter(r)
	at := func() string {
		t := time.Date(2026, 11, 1, 0, 0, 0, r.IntN(2), time.UTC)
		return t.Add(time.Duration(r.Int64N(last+1)) * time.Second).Format(time.RFC3339Nano)
	}
	switch r.IntN(4) {
	case 0:
		v.Set("since", at())
	case 1:
		v.Set("until", at())
	case 2:
		since, until := at(), at()
		if since < until {
			v.Set("since", since)
			v.Set("until", until)
		}
	}
	if r.IntN(4) == 0 {
		v.Set("before", fmt.Sprint(r.Int64N(last+10)))
	}
	if r.IntN(4) == 0 {
		v.Set("after", fmt.Sprint(r.Int64N(last+10)))
	}
	if r.IntN(6) == 0 {
		v.Set("kind", string(appendPattern(nil, fmt.Sprint(randomEntry(r, r.Int64N(last+1))[1]))))
	}
	return v
}

// plain makes the reader visit all rows with SQL, without summaries and without reading
// pages, until the returned function is called.
func (l *testLog) plain() (restore func()) {
	s := l.reader.scanner
	s.ignoreSummaries, s.ignorePages = true, true
	return func() { s.ignoreSummaries, s.ignorePages = false, false }
}

// compareQueries sends random requests to l and to a plain reader.
func (l *testLog) compareQueries(r *rand.Rand, n int) {
	l.t.Helper()
	var last int64
	must(l.t, l.db.QueryRow("SELECT ifnull(max(id), 0) FROM logs").Scan(&last))
	for range n {
		v := randomQuery(r, last)
		l.compare("/logs?limit=" + pick(r, "3", "10000") + "&" + v.Encode())
		l.compare("/logs/histogram?buckets=" + pick(r, "7", "100", "500") + "&" + v.Encode())
		l.compare("/logs/kinds?from=2026-11-01T00:00:00Z&to=2026-12-31T00:00:00Z&" + v.Encode())
		l.compareOrder(v, pick(r, 1, 3, 300, 10_000))
		v.Del("before")
		v.Del("after")
		l.compareAround(v, r.Int64N(last+10), pick(r, 1, 2, 51, 700))
	}
}

// reference returns the ids of at most 10,000 entries that match, newest first, from a
// plain reader.
func (l *testLog) reference(v url.Values) []int64 {
	l.t.Helper()
	defer l.plain()()
	return ids(decodeEntries(l.t, l.serve("/logs?limit=10000&"+v.Encode()).Body.String()))
}

// compareOrder compares the oldest entries with the last ones of the reference.
func (l *testLog) compareOrder(v url.Values, limit int) {
	l.t.Helper()
	want := l.reference(v)
	slices.Reverse(want)
	want = want[:min(limit, len(want))]
	target := fmt.Sprintf("/logs?order=asc&limit=%d&%s", limit, v.Encode())
	if got := ids(decodeEntries(l.t, l.serve(target).Body.String())); !slices.Equal(got, want) {
		l.t.Errorf("GET %s = ids %v, want %v", target, got, want)
	}
}

// compare sends a request to l, to a reader that reads pages, and to a plain reader.
func (l *testLog) compare(target string) {
	l.t.Helper()
	got := l.serve(target).Body.String()
	restore := l.plain()
	want := l.serve(target).Body.String()
	l.reader.scanner.ignorePages = false
	pages := l.serve(target).Body.String()
	restore()
	if got != want {
		l.t.Errorf("GET %s with summaries = %.2000s\nplain = %.2000s", target, got, want)
	}
	if pages != want {
		l.t.Errorf("GET %s from pages = %.2000s\nplain = %.2000s", target, pages, want)
	}
}

// A search that uses summaries and reads pages returns the same as a plain one, also
// after other programs have changed entries.
func TestSummariesChangeNoResult(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	l := openTestLog(t)
	l.reader.scanner.helpAfter = 0
	l.installSummaries()
	l.fillSparse(r, 4000, 50)
	l.summarize()
	queries, changes := 40, 12
	if testing.Short() {
		queries, changes = 8, 3
	}
	l.compareQueries(r, queries)
	for range changes {
		l.change(r)
		l.compareQueries(r, 5)
		if r.IntN(2) == 0 {
			l.summarize()
			l.compareQueries(r, 5)
		}
	}
}

// compareAround compares the entries around an id with those of the reference.
func (l *testLog) compareAround(v url.Values, around int64, limit int) {
	l.t.Helper()
	all := l.reference(v)
	centre := slices.IndexFunc(all, func(id int64) bool { return id <= around })
	if centre < 0 {
		centre = len(all)
	}
	newer := (limit - 1) / 2
	want := all[max(0, centre-newer):min(len(all), centre+limit-newer)]
	target := fmt.Sprintf("/logs?around=%d&limit=%d&%s", around, limit, v.Encode())
	if got := ids(decodeEntries(l.t, l.serve(target).Body.String())); !slices.Equal(got, want) {
		l.t.Errorf("GET %s = ids %v, want %v", target, got, want)
	}
}

// A scan in ascending order reads the summaries in several batches, and stops when it has
// found enough entries.
func TestSummariesOldestFirst(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	l := openTestLog(t)
	l.installSummaries()
	l.fillSparse(r, 3000, summary.BlocksPerSegment*summary.BlockSize*maxSegmentBatch*5/2/3000)
	l.summarize()
	queries := 30
	if testing.Short() {
		queries = 6
	}
	l.compareQueries(r, queries)
	q, err := parseQuery("not.level=absent&order=asc", time.Now(), "order")
	must(t, err)
	l.reader.scanner.helpAfter = time.Hour
	sc := &scan{q: q}
	visited := 0
	sc.blockDone = func(_ context.Context, found *idSet) (bool, error) {
		visited++
		return len(found.appendAbove(nil, 0, 1)) > 0, nil
	}
	lease := l.newLease()
	err = l.reader.scanner.run(context.Background(), lease, 0, func(ctx context.Context) error {
		return l.reader.scanner.scan(ctx, lease, sc)
	})
	if err != nil || visited != 1 {
		t.Errorf("got %d parts visited, error %v; want the first only", visited, err)
	}
}

// The batches of summaries grow from minSegmentBatch to maxSegmentBatch. Each segment is
// found, except those without a summary.
func TestSegmentReaderBatches(t *testing.T) {
	r := rand.New(rand.NewPCG(15, 16))
	l := openTestLog(t)
	l.installSummaries()
	l.fillSparse(r, 2000, summary.BlocksPerSegment*summary.BlockSize*maxSegmentBatch*3/2000)
	l.summarize()
	var newest int64
	must(t, l.db.QueryRow("SELECT max(segment) FROM logs_segments").Scan(&newest))
	const missing = 9
	_, err := l.db.Exec("DELETE FROM logs_segments WHERE segment = ?", newest-missing)
	must(t, err)
	for _, order := range []order{newestFirst, oldestFirst} {
		q, err := parseQuery("q=zanzibar", time.Now())
		must(t, err)
		q.order = order
		segments, err := newSegmentReader(context.Background(), l.reader.db, q, false)
		must(t, err)
		var sizes []int
		for i := range newest + 1 {
			number := newest - i
			if order == oldestFirst {
				number = i
			}
			low := segments.low
			s, err := segments.find(context.Background(), number)
			must(t, err)
			if got, want := s != nil && s.number == number, number != newest-missing; got != want {
				t.Errorf("order %s: segment %d was found: %v, want %v", order, number, got, want)
			}
			if segments.low != low {
				sizes = append(sizes, len(segments.batch))
			}
		}
		if want := []int{4, 8, 16, 32, 64}; len(sizes) < len(want) || !slices.Equal(sizes[:len(want)], want) {
			t.Errorf("order %s: got batches of %v segments, want them to start with %v", order, sizes, want)
		}
	}
}

// A search finds the same entries when rows of the filters are missing.
func TestSummariesWithoutFilterRows(t *testing.T) {
	r := rand.New(rand.NewPCG(17, 18))
	l := openTestLog(t)
	l.installSummaries()
	l.fillSparse(r, 2000, 300)
	l.summarize()
	_, err := l.db.Exec("DELETE FROM logs_filters WHERE id % 3 > 0")
	must(t, err)
	l.compareQueries(r, 10)
}

// Scans that are helped return entries in order, at most as many as requested, and free
// all slots.
func TestScanHelpers(t *testing.T) {
	l := openTestLog(t)
	l.reader.scanner.helpAfter = 0
	l.fill(2 << blockBits)
	for _, limit := range []int{1, 100, 10_000} {
		entries := decodeEntries(t, l.serve(fmt.Sprintf("/logs?q=entry&limit=%d", limit)).Body.String())
		if len(entries) != limit || entries[0].ID != 2<<blockBits || entries[limit-1].ID != int64(2<<blockBits-limit+1) {
			t.Errorf("limit=%d: got %d entries, want the newest in order", limit, len(entries))
		}
	}
	if body := l.serve("/logs/histogram?q=entry").Body.String(); !strings.Contains(body, fmt.Sprintf(`"error":%d}`, 2<<blockBits)) {
		t.Errorf("GET /logs/histogram?q=entry = %s, want %d entries", body, 2<<blockBits)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	w := httptest.NewRecorder()
	l.routes().ServeHTTP(w, httptest.NewRequestWithContext(ctx, "GET", "/logs/histogram?q=none", nil))
	if s := l.reader.scanner.helpers; len(s) != cap(s) {
		t.Errorf("%d of %d slots for helpers are free, want all", len(s), cap(s))
	}
	if n := l.reader.readSteps.total; n != 0 {
		t.Errorf("%d slots for steps are held, want none", n)
	}
}

// change changes some entries as another program could.
func (l *testLog) change(r *rand.Rand) {
	l.t.Helper()
	var last int64
	must(l.t, l.db.QueryRow("SELECT ifnull(max(id), 0) FROM logs").Scan(&last))
	id, e := r.Int64N(last+1), randomEntry(r, r.Int64N(last+1))
	e[1] = fmt.Sprint(e[1], " changed zanzibar ", id)
	statement, args := "", []any{}
	switch r.IntN(11) {
	case 0:
		statement, args = "UPDATE logs SET message = ?, level = ? WHERE id >= ? AND id < ? + 500", []any{e[1], e[0], id, id}
	case 1:
		statement, args = "DELETE FROM logs WHERE id >= ? AND id < ? + 1000", []any{id, id}
	case 2:
		statement = "INSERT OR REPLACE INTO logs VALUES" +
			" ((SELECT id FROM logs WHERE id >= ? ORDER BY id LIMIT 1), ?, ?, ?, ?)"
		args = []any{id, e[0], e[1], e[2], e[3]}
	case 3:
		statement, args = "INSERT OR IGNORE INTO logs VALUES (?, ?, ?, ?, ?)", []any{id, e[0], e[1], e[2], e[3]}
	case 4:
		statement = "UPDATE OR REPLACE logs SET id = ? WHERE id = (SELECT id FROM logs WHERE id >= ? ORDER BY id LIMIT 1)"
		args = []any{r.Int64N(last + 1), id}
	case 5:
		statement = "INSERT INTO logs VALUES ((SELECT max(id) FROM logs), ?, ?, ?, ?)" +
			" ON CONFLICT DO UPDATE SET message = 'zanzibar'"
		args = []any{e[0], e[1], e[2], e[3]}
	case 6:
		statement = "INSERT INTO logs(level, message, timestamp, details) VALUES (?, ?, ?, ?)"
		args = []any{e[0], e[1], e[2], e[3]}
	case 7:
		statement = "VACUUM"
	case 8:
		statement, args = "UPDATE logs SET timestamp = ? WHERE id >= ? AND id < ? + 300", []any{e[2], id, id}
	case 9:
		statement = "UPDATE logs SET message = printf('%.*c', ?, 'x') || message WHERE id >= ? AND id < ? + 50"
		args = []any{pick(r, 3000, 9000, 14_000, 30_000), id, id}
	case 10:
		statement = "UPDATE logs SET details = CAST(printf('%.*c', 70000, ' ') || details AS BLOB)" +
			" WHERE id = (SELECT id FROM logs WHERE id >= ? ORDER BY id LIMIT 1)"
		args = []any{id}
	}
	_, err := l.db.Exec(statement, args...)
	must(l.t, err)
}

// Each kind of change is visible at once, in the histogram and in searches.
func TestSummariesForeignChanges(t *testing.T) {
	const create = "CREATE TABLE logs(id INTEGER PRIMARY KEY AUTOINCREMENT, level, message, timestamp, details); "
	const values = "'fatal', 'zanzibar', '2026-11-02T00:00:00Z', '{\"user_id\":9999}'"
	for _, statement := range []string{
		"UPDATE logs SET level = 'fatal', message = 'zanzibar', details = '{\"user_id\":9999}' WHERE id = 1000",
		"UPDATE logs SET id = 70001 WHERE id = 1000", // to another segment
		"UPDATE OR REPLACE logs SET id = 70000 WHERE id = 1000",
		"DELETE FROM logs WHERE id = 1000",
		"DELETE FROM logs",
		"INSERT INTO logs VALUES (1001, " + values + ")",
		"INSERT OR REPLACE INTO logs VALUES (1000, " + values + ")",
		"REPLACE INTO logs VALUES (1000, " + values + ")",
		"INSERT INTO logs VALUES (1000, " + values + ") ON CONFLICT DO UPDATE SET level = excluded.level, message = 'zanzibar'",
		"INSERT INTO logs(level, message, timestamp, details) VALUES (" + values + ")",
		"DROP TABLE logs; " + create + "INSERT INTO logs VALUES (1000, " + values + ")",
		"ALTER TABLE logs RENAME TO old; " + create + "INSERT INTO logs VALUES (1000, " + values + ")",
		"ALTER TABLE logs ADD COLUMN host TEXT; UPDATE logs SET level = 'fatal', host = 'a' WHERE id = 1000",
		"ALTER TABLE logs RENAME TO old; CREATE TABLE logs(level, message, timestamp, details, id INTEGER PRIMARY KEY);" +
			" INSERT INTO logs(id, level, message) VALUES (1000, 'fatal', 7)",
		"ALTER TABLE logs RENAME TO old; CREATE VIEW logs AS SELECT * FROM old WHERE id % 200",
	} {
		l := openTestLog(t)
		l.installSummaries()
		_, err := l.db.Exec("WITH RECURSIVE ids(id) AS (VALUES (0) UNION ALL SELECT id + 100 FROM ids WHERE id < 80000)" +
			" INSERT INTO logs" +
			" SELECT id, 'error', 'user ' || id, '2026-11-01T00:00:00Z', '{\"user_id\":' || id || '}' FROM ids")
		must(t, err)
		l.summarize()
		_, err = l.db.Exec(statement)
		must(t, err)
		for _, target := range []string{"/logs/histogram", "/logs/histogram?level=fatal", "/logs?q=zanzibar", "/logs?level=fatal",
			"/logs?details.user_id=9999", "/logs?details.user_id=1000"} {
			l.compare(target)
		}
		if t.Failed() {
			t.Fatalf("after %s", statement)
		}
	}
}

// If a trigger was removed, no summary is used.
func TestSummariesWithoutTrigger(t *testing.T) {
	for _, o := range append(summary.Tables(), summary.Triggers()...) {
		l := newTestLog(t)
		l.installSummaries()
		l.fill(3 * summary.BlockSize)
		l.summarize()
		_, err := l.db.Exec("DROP " + o.Type + " " + o.Name)
		must(t, err)
		_, err = l.db.Exec("UPDATE logs SET message = 'zanzibar' WHERE id = 7")
		if err != nil && !strings.Contains(err.Error(), "no such table") {
			t.Fatal(err)
		}
		if err == nil && len(l.logs("q=zanzibar")) != 1 {
			t.Errorf("without %s, the changed entry is not found", o.Name)
		}
	}
}

// The text of large entries is not in a summary, so their blocks are always searched.
func TestSummariesLargeEntries(t *testing.T) {
	l := newTestLog(t)
	l.installSummaries()
	l.fill(10)
	id := l.insert(testEntry{"error", strings.Repeat("x", 70<<10) + "needle", "2026-11-22T00:00:00Z", `{"a":1}`})
	l.fill(3 * summary.BlockSize)
	l.summarize()
	for _, query := range []string{"q=needle", "details.a=1", "level=error&q=needle&details.a=1"} {
		if got := ids(l.logs(query)); !slices.Equal(got, []int64{id}) {
			t.Errorf("GET /logs?%s = ids %v, want %d", query, got, id)
		}
	}
}

// A search reads only the blocks that can match.
func TestSummariesSkipBlocks(t *testing.T) {
	l := openTestLog(t)
	l.installSummaries()
	l.fill(20 * summary.BlockSize)
	l.summarize()
	// Another program that disables triggers can change an entry unnoticed. The search
	// does not find it, which shows that it has not read the block.
	_, err := l.db.Exec("DROP TRIGGER logs_updated")
	must(t, err)
	_, err = l.db.Exec("UPDATE logs SET message = 'zanzibar', details = '{\"user\":\"4711\"}', level = 'debug'" +
		" WHERE id % 1000 = 0")
	must(t, err)
	_, err = l.db.Exec(triggerSQL("logs_updated"))
	must(t, err)
	for _, query := range []string{"q=zanzibar", "details.user=4711", "level=debug"} {
		got := ids(decodeEntries(t, l.serve("/logs?limit=10000&"+query).Body.String()))
		if len(got) > 1 || len(got) == 1 && got[0] < 20*summary.BlockSize-summary.BlockSize {
			t.Errorf("GET /logs?%s = ids %v, want at most one in the last block", query, got)
		}
	}
	if body := l.serve("/logs/histogram").Body.String(); strings.Contains(body, `"debug":20`) {
		t.Errorf("GET /logs/histogram has visited all entries: %s", body)
	}
}

// readsRows reports whether a scan has read rows with SQL.
func (l *testLog) readsRows() bool {
	for statement := range l.reader.db.statements {
		if strings.Contains(statement, "log_visit") {
			return true
		}
	}
	return false
}

// A scan of the service's table reads only pages, and a scan of another one only rows.
func TestScanReadsPages(t *testing.T) {
	l := openTestLog(t)
	l.fill(3 * summary.BlockSize)
	if body := l.serve("/logs?q=entry+77&limit=1").Body.String(); !strings.Contains(body, "entry 77") {
		t.Errorf("GET /logs?q=entry+77 = %s, want an entry", body)
	}
	if l.readsRows() {
		t.Error("the scan has read rows, want pages only")
	}
	_, err := l.db.Exec("ALTER TABLE logs ADD COLUMN other TEXT")
	must(t, err)
	l.serve("/logs?q=entry+77&limit=1")
	if !l.readsRows() {
		t.Error("the scan has read no rows, want rows only")
	}
}

// A scan reads pages of any size.
func TestScanPageSizes(t *testing.T) {
	for _, size := range []int{512, 4096, 65536} {
		l := openTestLog(t)
		l.fill(100)
		_, err := l.db.Exec(fmt.Sprintf("PRAGMA journal_mode = DELETE; PRAGMA page_size = %d; PRAGMA auto_vacuum = FULL;"+
			" VACUUM; PRAGMA journal_mode = WAL", size))
		must(t, err)
		l.insert(testEntry{"error", strings.Repeat("x", 9000) + "entry", "2026-11-22T00:00:00Z", `{"entry":1}`})
		if got := len(decodeEntries(t, l.serve("/logs?q=entry&limit=1000").Body.String())); got != 101 {
			t.Errorf("pages of %d bytes: got %d entries, want 101", size, got)
		}
		if l.readsRows() {
			t.Errorf("pages of %d bytes: the scan has read rows, want pages only", size)
		}
		l.compare("/logs?q=entry&limit=1000")
	}
}

// Rows that cannot be read from pages do not end a scan, also at the end of the ids.
func TestScanLargeRows(t *testing.T) {
	l := openTestLog(t)
	for _, id := range []int64{1, 2, 3, 20, 40, math.MaxInt64 - 2, math.MaxInt64 - 1} {
		const row = "(?1, 'error', printf('%.*c', 20000 + ?1 % 2 * 50000, 'x') || 'entry', '', '')"
		_, err := l.db.Exec("INSERT INTO logs VALUES "+row, id)
		must(t, err)
	}
	l.compare("/logs?q=entry&limit=1000")
	if got := len(decodeEntries(t, l.serve("/logs?q=entry").Body.String())); got != 7 {
		t.Errorf("got %d entries, want 7", got)
	}
}

// A damaged page has the same result as SQL has with it.
func TestScanDamagedPage(t *testing.T) {
	for i, damage := range []string{"\x00\x00\x00\x00\x00\x00\x00\x00", "\x0d\x00\x00\xff\xff", "\x05\x00\x00\x00\x03"} {
		l := openTestLog(t)
		l.fill(5000)
		var leaf int64
		const tenthLeaf = "SELECT pageno FROM dbstat WHERE name = 'logs' AND pagetype = 'leaf' LIMIT 1 OFFSET 9"
		must(t, l.db.QueryRow(tenthLeaf).Scan(&leaf))
		_, err := l.db.Exec("PRAGMA wal_checkpoint(TRUNCATE)")
		must(t, err)
		file, err := os.OpenFile(l.db.Path, os.O_WRONLY, 0)
		must(t, err)
		_, err = file.WriteAt([]byte(damage), (leaf-1)*8192)
		must(t, err)
		must(t, file.Close())
		pages := l.serve("/logs?q=entry&limit=10000")
		restore := l.plain()
		plain := l.serve("/logs?q=entry&limit=10000")
		restore()
		if pages.Code != http.StatusServiceUnavailable || pages.Code != plain.Code || pages.Body.String() != plain.Body.String() {
			t.Errorf("damage %d: got %d %.200s, want %d %.200s", i, pages.Code, pages.Body, plain.Code, plain.Body)
		}
	}
}

// triggerSQL returns the statement that creates a trigger.
func triggerSQL(name string) string {
	triggers := summary.Triggers()
	return triggers[slices.IndexFunc(triggers, func(o summary.Object) bool { return o.Name == name })].SQL
}

// FuzzSummary checks that the summary of an entry never hides it from a search that
// finds it.
func FuzzSummary(f *testing.F) {
	f.Add("error", "user 37920 not found", `{"user":{"id":7},"a.b":"J\u00fcrgen"}`, "JÜRGEN", "user.id", "7")
	f.Add("error", "", `{"a":"\ud83d\ude00","b":[1,{"c":"]"}],"d":1e5} x`, "\U0001f600", "d", "1e5")
	f.Add("", "1cfb10f62827688de6a16a3b0d464138", `{"a" : {"" : "\ufffd"}}`, "f10f62827688de6a", "a.", "\ufffd")
	f.Add("x", "K\xff", "{\"\xff\":\"\xff\",\"a\":tr\"u}", "\u212a", "\ufffd", "\ufffd")
	f.Fuzz(func(t *testing.T, level, message, details, text, name, value string) {
		var fl filter
		fl.anyLevel = true
		if text != "" {
			fl.texts = []*foldedText{newFoldedText(text)}
		}
		if name != "" {
			fl.fields = []fieldFilter{{name: name, values: []string{value}}}
		}
		m := matcher{work: *newWork()}
		if !m.matches(&fl, message, details) {
			return
		}
		b := summary.NewBuilder()
		b.Add(5, level, message, "", details, true)
		s := b.Summary(1)
		var seg summary.Segment
		if !seg.Decode(s.Segment) {
			t.Fatal("cannot decode the segment")
		}
		probe := fl.probe()
		blocks := []uint64{seg.Covered()}
		err := probe.Match([]*summary.Segment{&seg}, blocks, func(position uint32, rows []uint64) error {
			page, offset := seg.RowOf(position)
			rows[0] = uint64(s.Pages[page][offset])
			return nil
		})
		if err != nil || blocks[0] != 1 {
			t.Errorf("the summary hides the entry: blocks %b, %v, want 1", blocks[0], err)
		}
	})
}
