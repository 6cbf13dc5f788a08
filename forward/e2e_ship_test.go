//go:build unix

package main

import (
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
)

// Rows with values that the ingester never writes are sanitized, and do not
// block the rows between them.
func TestShipSanitizesRows(t *testing.T) {
	address := sharedPostgres(t).newDatabase(t, "")
	path := filepath.Join(t.TempDir(), "logs.db")
	db := newLogsDB(t, path)
	const (
		at     = "2024-01-02T03:04:05.678+00:00"
		atText = "2024-01-02 03:04:05.678+00" // in PostgreSQL
	)
	deep := strings.Repeat(`{"a":`, maxDepth+1) + "1" + strings.Repeat("}", maxDepth+1)
	type stored struct{ message, time, details string } // in PostgreSQL; details is empty for NULL
	cases := []struct {
		name string
		in   entry
		want stored
	}{
		{
			name: "NUL in the message",
			in:   entry{"error", "a\x00b", at, nil},
			want: stored{message: "a\uFFFDb", time: atText},
		},
		{
			name: "invalid UTF-8 in the message",
			in:   entry{"error", "a\xffb", at, nil},
			want: stored{message: "a\uFFFDb", time: atText},
		},
		{
			name: "NUL in the level, blob as message",
			in:   entry{"er\x00ror", []byte("\x00\xfe"), at, nil},
			want: stored{message: "\uFFFD\uFFFD", time: atText},
		},
		{
			name: "number as message, blob as details",
			in:   entry{"error", 12.5, at, []byte(`{"blob":1}`)},
			want: stored{message: "12.5", time: atText, details: `{"blob": 1}`},
		},
		{
			name: "escaped NUL and lone surrogate",
			in:   entry{"error", "m", at, `{"a":"\u0000","b":"\ud800"}`},
			want: stored{message: "m", time: atText, details: `{"a": "` + "\uFFFD" + `", "b": "` + "\uFFFD" + `"}`},
		},
		{
			name: "number out of range",
			in:   entry{"error", "m", at, `{"a":1e999999}`},
			want: stored{message: "m", time: atText, details: `{"a": "1e999999"}`},
		},
		{
			name: "equal keys",
			in:   entry{"error", "m", at, `{"a":1,"a":2}`},
			want: stored{message: "m", time: atText, details: `{"a": 2}`},
		},
		{
			name: "details are not JSON",
			in:   entry{"error", "m", at, `{broken`},
			want: stored{message: "m", time: atText, details: `{"_forward": {"details": "{broken"}}`},
		},
		{
			name: "empty details",
			in:   entry{"error", "m", at, ""},
			want: stored{message: "m", time: atText, details: `{"_forward": {"details": ""}}`},
		},
		{
			name: "details too deep",
			in:   entry{"error", "m", at, deep},
			want: stored{message: "m", time: atText, details: `{"_forward": {"details": "` + strings.ReplaceAll(deep, `"`, `\"`) + `"}}`},
		},
		{
			name: "invalid time, details",
			in:   entry{"error", "m", "yesterday", `{"a": 1}`},
			want: stored{message: "m", time: atText, details: `{"a": 1, "_forward": {"timestamp": "yesterday"}}`},
		},
		{
			name: "invalid time, no details",
			in:   entry{"error", "m", "2016-12-31T23:59:60Z\x00", nil},
			want: stored{message: "m", time: atText, details: `{"_forward": {"timestamp": "2016-12-31T23:59:60Z` + "\uFFFD" + `"}}`},
		},
		{
			name: "nanoseconds",
			in:   entry{"error", "m", "2026-11-22T15:24:00.999999999Z", nil},
			want: stored{message: "m", time: "2026-11-22 15:24:00.999999+00"},
		},
		{
			name: "last time of year 9999",
			in:   entry{"error", "m", "9999-12-31T23:59:59.999999999Z", nil},
			want: stored{message: "m", time: "9999-12-31 23:59:59.999999+00"},
		},
		{
			name: "year 0",
			in:   entry{"error", "m", "0000-01-01T00:00:00.0000019Z", nil},
			want: stored{message: "m", time: "0001-01-01 00:00:00.000001+00 BC"},
		},
	}
	for i, c := range cases {
		insert(t, db, append(makeEntries(2, 2*i), c.in)...)
	}
	insert(t, db, makeEntries(1, 100)...)
	// An invalid time becomes the time of the row before. Set that time.
	execSQLite(t, db, "UPDATE logs SET timestamp = '"+at+"' WHERE message LIKE 'connection%'")
	out := shipAll(t, path, address, "web1")
	if n := countRows(t, address); n != 3*len(cases)+1 {
		t.Fatalf("got %d rows, want %d:\n%s", n, 3*len(cases)+1, out)
	}
	if strings.Contains(out, "refuses") {
		t.Errorf("got refused rows, want none:\n%s", out)
	}
	conn := dial(t, address)
	if _, err := conn.Exec(timeoutContext(t), "SET timezone = 'UTC'"); err != nil {
		t.Fatal(err)
	}
	for i, c := range cases {
		var got stored
		err := conn.QueryRow(timeoutContext(t), "SELECT message, timestamp::text, coalesce(details::text, '') FROM logs WHERE id = $1", 3*i+3).
			Scan(&got.message, &got.time, &got.details)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		sameDetails := got.details == c.want.details ||
			got.details != "" && c.want.details != "" && sameJSON(t, &got.details, &c.want.details)
		if got.message != c.want.message || got.time != c.want.time || !sameDetails {
			t.Errorf("%s: got %.300q, want %.300q", c.name, got, c.want)
		}
	}
}

// jsonb accepts all JSON that sanitizeJSON accepts: no other details are stored
// as text.
func TestShipRandomJSON(t *testing.T) {
	address := sharedPostgres(t).newDatabase(t, "")
	path := filepath.Join(t.TempDir(), "logs.db")
	db := newLogsDB(t, path)
	withDetails := func(details string) entry { return entry{"error", "m", "2026-11-22T15:24:00Z", details} }
	r := rand.New(rand.NewPCG(1, 2))
	wantText := 0
	for range 30 {
		var entries []entry
		for range 100 {
			details := randomJSON(r, 0)
			if _, ok := sanitizeJSON(details); !ok {
				wantText++
			}
			entries = append(entries, withDetails(details))
		}
		insert(t, db, entries...)
	}
	for _, number := range []string{"1e131063", "-" + strings.Repeat("9", 131_063), "1e-16376", "0." + strings.Repeat("1", 16_376), "-0", "0e131063", "0e-16376", "1.5E+00000000000000000000001"} {
		insert(t, db, withDetails(number))
	}
	insert(t, db, withDetails(strings.Repeat("[", maxDepth)+strings.Repeat("]", maxDepth)))
	insert(t, db, withDetails("[1"+strings.Repeat(",1", maxValues-2)+"]"))

	out := shipAll(t, path, address, "web1")
	if got := countRows(t, address); got != 3010 {
		t.Errorf("got %d rows, want 3010:\n%s", got, out)
	}
	got := queryValue[int](t, address, `SELECT count(*) FROM logs WHERE jsonb_typeof(details) = 'object' AND details ? '_forward'`)
	if got != wantText {
		t.Errorf("got %d details as text, want %d", got, wantText)
	}
}

func randomJSON(r *rand.Rand, depth int) string {
	pick := func(s ...string) string { return s[r.IntN(len(s))] }
	str := func() string {
		var b strings.Builder
		for range r.IntN(6) {
			b.WriteString(pick(`\u0000`, `\\u0000`, `\ud83d`, `\ude00`, `\ud83d\ude00`, `\uD800\u0041`, `\\`, `\"`, `\n`, "\xff", "é", "😀", "x", "\u007f", `\u001f`))
		}
		return `"` + b.String() + `"`
	}
	switch k := r.IntN(6); {
	case k == 0 || depth > 5:
		return pick("1", "-0.0", "1e400", "-1e-400", "1e131064", "1e131073", "1e-16377", "1e-16384", "1E+999999999", "123456789012345678901234567890", "true", "false", "null")
	case k == 1:
		return str()
	case k <= 3:
		var fields []string
		for range r.IntN(4) {
			fields = append(fields, str()+pick(":", " : ", "\t:\n")+randomJSON(r, depth+1))
		}
		return "{" + strings.Join(fields, ",") + "}"
	default:
		var values []string
		for range r.IntN(4) {
			values = append(values, randomJSON(r, depth+1))
		}
		return "[" + strings.Join(values, pick(",", " , ")) + "]"
	}
}

// A trigger refuses rows for a reason that sanitize does not know. Of 1,000
// rows, one is stored with its details as text, one is skipped, and the others
// are stored unchanged.
func TestShipRefusedRows(t *testing.T) {
	address := sharedPostgres(t).newDatabase(t, "")
	execPostgres(t, address, createLogs, `
		CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			IF NEW.id = 700 OR NEW.id = 333 AND NOT NEW.details ? '_forward' THEN
				RAISE EXCEPTION 'refused' USING ERRCODE = '54000';
			END IF;
			RETURN NEW;
		END $$`,
		"CREATE TRIGGER refuse BEFORE INSERT ON logs FOR EACH ROW EXECUTE FUNCTION refuse()")
	path := filepath.Join(t.TempDir(), "logs.db")
	db := newLogsDB(t, path)
	insert(t, db, makeEntries(1000, 0)...)
	execSQLite(t, db, "DELETE FROM logs WHERE id IN (100, 500, 501, 699)")
	out := shipAll(t, path, address, "web1")
	if !strings.Contains(out, "refuses a row") || !strings.Contains(out, "id=700") || strings.Contains(out, "id=333") {
		t.Errorf("got this log, want an error for id=700 and none for id=333:\n%s", out)
	}
	type counts struct{ rows, skipped, lost, unaccounted int }
	var got counts
	err := dial(t, address).QueryRow(timeoutContext(t), `
		SELECT n, skipped, lost, last_id - n - skipped - lost FROM logs_progress, (SELECT count(*) n FROM logs) c`).
		Scan(&got.rows, &got.skipped, &got.lost, &got.unaccounted)
	if want := (counts{rows: 995, skipped: 1, lost: 4}); err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	details := queryValue[string](t, address, "SELECT details->'_forward'->>'details' FROM logs WHERE id = 333")
	if want := makeEntries(1, 332)[0].details.(string); details != want {
		t.Errorf("got details %s as text, want %s", details, want)
	}
	execSQLite(t, db, "DELETE FROM logs WHERE id IN (333, 700)")
	execPostgres(t, address, "DELETE FROM logs WHERE id = 333")
	checkRows(t, path, address, "web1")
}

// Rows that are deleted in PostgreSQL are not shipped again.
func TestDeletedRowsNotReshipped(t *testing.T) {
	address := sharedPostgres(t).newDatabase(t, "")
	path := filepath.Join(t.TempDir(), "logs.db")
	db := newLogsDB(t, path)
	insert(t, db, makeEntries(100, 0)...)
	shipAll(t, path, address, "web1")
	execPostgres(t, address, "DELETE FROM logs")
	insert(t, db, makeEntries(10, 100)...)
	shipAll(t, path, address, "web1")
	if n := countRows(t, address); n != 10 {
		t.Errorf("got %d rows, want the 10 new ones", n)
	}
	// Without a position, forward resumes after the last row.
	execPostgres(t, address, "DELETE FROM logs_progress")
	insert(t, db, makeEntries(10, 110)...)
	shipAll(t, path, address, "web1")
	if n := countRows(t, address); n != 20 {
		t.Errorf("without a position: got %d rows, want 20", n)
	}
}

// A row that another program inserted with the next id is neither overwritten
// nor skipped.
func TestForeignRowConflicts(t *testing.T) {
	address := sharedPostgres(t).newDatabase(t, "")
	path := filepath.Join(t.TempDir(), "logs.db")
	db := newLogsDB(t, path)
	insert(t, db, makeEntries(10, 0)...)
	shipAll(t, path, address, "web1")
	insert(t, db, makeEntries(10, 10)...)
	execPostgres(t, address, "INSERT INTO logs SELECT source, 15, level, message, timestamp, details FROM logs WHERE id = 1")
	code, out := runForward(t, "-once", "-db", path, "-to", address, "-source", "web1")
	if code != 1 || !strings.Contains(out, "duplicate key") {
		t.Errorf("got exit code %d, want 1 and output with %q:\n%s", code, "duplicate key", out)
	}
	if n := queryValue[int](t, address, "SELECT last_id::int FROM logs_progress"); n != 10 {
		t.Errorf("got position %d, want 10", n)
	}
}
