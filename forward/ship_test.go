//go:build unix

package main

import (
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
)

// Rows as no ingester should have written them, among good ones.
func TestOddRowsDoNotBlockTheRest(t *testing.T) {
	address := sharedPostgres(t).newDatabase(t, "")
	path := filepath.Join(t.TempDir(), "logs.db")
	db := newFile(t, path)
	const at = "2024-01-02T03:04:05.678+00:00"
	deep := func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }
	odd := []struct {
		entry
		message, time, details string // in PostgreSQL; details "" for NULL
	}{
		{entry{"error", "a\x00b", at, nil}, "a\uFFFDb", "2024-01-02 03:04:05.678+00", ""},
		{entry{"error", "a\xffb", at, nil}, "a\uFFFDb", "2024-01-02 03:04:05.678+00", ""},
		{entry{"er\x00ror", []byte("\x00\xfe"), at, nil}, "\uFFFD\uFFFD", "2024-01-02 03:04:05.678+00", ""},
		{entry{"error", 12.5, at, []byte(`{"blob":1}`)}, "12.5", "2024-01-02 03:04:05.678+00", `{"blob": 1}`},
		{entry{"error", "m", at, `{"a":"\u0000","b":"\ud800"}`}, "m", "2024-01-02 03:04:05.678+00", `{"a": "` + "\uFFFD" + `", "b": "` + "\uFFFD" + `"}`},
		{entry{"error", "m", at, `{"a":1e999999}`}, "m", "2024-01-02 03:04:05.678+00", `{"a": "1e999999"}`},
		{entry{"error", "m", at, `{"a":1,"a":2}`}, "m", "2024-01-02 03:04:05.678+00", `{"a": 2}`},
		{entry{"error", "m", at, `{broken`}, "m", "2024-01-02 03:04:05.678+00", `{"_forward": {"details": "{broken"}}`},
		{entry{"error", "m", at, ""}, "m", "2024-01-02 03:04:05.678+00", `{"_forward": {"details": ""}}`},
		{entry{"error", "m", at, deep(maxDepth + 1)}, "m", "2024-01-02 03:04:05.678+00", `{"_forward": {"details": "` + strings.ReplaceAll(deep(maxDepth+1), `"`, `\"`) + `"}}`},
		{entry{"error", "m", "yesterday", `{"a": 1}`}, "m", "2024-01-02 03:04:05.678+00", `{"a": 1, "_forward": {"timestamp": "yesterday"}}`},
		{entry{"error", "m", "2016-12-31T23:59:60Z\x00", nil}, "m", "2024-01-02 03:04:05.678+00", `{"_forward": {"timestamp": "2016-12-31T23:59:60Z` + "\uFFFD" + `"}}`},
		{entry{"error", "m", "2026-11-22T15:24:00.999999999Z", nil}, "m", "2026-11-22 15:24:00.999999+00", ""},
		{entry{"error", "m", "9999-12-31T23:59:59.999999999Z", nil}, "m", "9999-12-31 23:59:59.999999+00", ""},
		{entry{"error", "m", "0000-01-01T00:00:00.0000019Z", nil}, "m", "0001-01-01 00:00:00.000001+00 BC", ""},
	}
	for i, o := range odd {
		write(t, db, append(entries(2, 2*i), o.entry)...)
	}
	write(t, db, entries(1, 100)...)
	// Times of rows before an odd one: the good ones' are in 2026.
	change(t, db, "UPDATE logs SET timestamp = '"+at+"' WHERE message LIKE 'connection%'")
	out := shipAll(t, path, address, "web1")
	if n := query1[int](t, address, "SELECT count(*) FROM logs"); n != 3*len(odd)+1 {
		t.Fatalf("%d rows of %d:\n%s", n, 3*len(odd)+1, out)
	}
	if strings.Contains(out, "refuses") {
		t.Errorf("rows were not made fit:\n%s", out)
	}
	conn := dial(t, address)
	if _, err := conn.Exec(t.Context(), "SET timezone = 'UTC'"); err != nil {
		t.Fatal(err)
	}
	for i, o := range odd {
		var message, at, details string
		err := conn.QueryRow(t.Context(), "SELECT message, timestamp::text, coalesce(details::text, '') FROM logs WHERE id = $1", 3*i+3).Scan(&message, &at, &details)
		if err != nil {
			t.Fatal(err)
		}
		if message != o.message || at != o.time || !(details == o.details || details != "" && o.details != "" && sameJSON(t, &details, &o.details)) {
			t.Errorf("%.100q became\n%q %s %.200s, want\n%q %s %.200s", o.entry, message, at, details, o.message, o.time, o.details)
		}
	}
}

// What sanitizeJSON lets through, jsonb takes: no row has to go as text for it.
func TestAnyJSONFits(t *testing.T) {
	address := sharedPostgres(t).newDatabase(t, "")
	path := filepath.Join(t.TempDir(), "logs.db")
	db := newFile(t, path)
	r := rand.New(rand.NewPCG(1, 2))
	asText := 0
	for range 30 {
		var batch []entry
		for range 100 {
			details := randomJSON(r, 0)
			if _, ok := sanitizeJSON(details); !ok {
				asText++
			}
			batch = append(batch, entry{"error", "m", "2026-11-22T15:24:00Z", details})
		}
		write(t, db, batch...)
	}
	for _, number := range []string{"1e131063", "-" + strings.Repeat("9", 131_063), "1e-16376", "0." + strings.Repeat("1", 16_376), "-0", "0e131063", "0e-16376", "1.5E+00000000000000000000001"} {
		write(t, db, entry{"error", "m", "2026-11-22T15:24:00Z", number})
	}
	write(t, db, entry{"error", "m", "2026-11-22T15:24:00Z", strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth)})
	write(t, db, entry{"error", "m", "2026-11-22T15:24:00Z", "[1" + strings.Repeat(",1", maxValues-2) + "]"})

	out := shipAll(t, path, address, "web1")
	if got := query1[int](t, address, "SELECT count(*) FROM logs"); got != 3010 {
		t.Errorf("%d rows arrived of 3010:\n%s", got, out)
	}
	got := query1[int](t, address, `SELECT count(*) FROM logs WHERE jsonb_typeof(details) = 'object' AND details ? '_forward'`)
	if got != asText {
		t.Errorf("%d details went as text, want %d", got, asText)
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

// What sanitize does not foresee, a trigger stands in for it here: of 1,000 rows
// one goes as text, one not at all, and the others as they are.
func TestARefusedRowDoesNotBlockTheRest(t *testing.T) {
	address := sharedPostgres(t).newDatabase(t, "")
	execute(t, address, createLogs, `
		CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			IF NEW.id = 700 OR NEW.id = 333 AND NOT NEW.details ? '_forward' THEN
				RAISE EXCEPTION 'not this one' USING ERRCODE = '54000';
			END IF;
			RETURN NEW;
		END $$`,
		"CREATE TRIGGER refuse BEFORE INSERT ON logs FOR EACH ROW EXECUTE FUNCTION refuse()")
	path := filepath.Join(t.TempDir(), "logs.db")
	db := newFile(t, path)
	write(t, db, entries(1000, 0)...)
	change(t, db, "DELETE FROM logs WHERE id IN (100, 500, 501, 699)")
	out := shipAll(t, path, address, "web1")
	if !strings.Contains(out, "refuses a row") || !strings.Contains(out, "id=700") || strings.Contains(out, "id=333") {
		t.Errorf("the log:\n%s", out)
	}
	var n, skipped, lost, unaccounted int
	err := dial(t, address).QueryRow(t.Context(), `
		SELECT n, skipped, lost, last_id - n - skipped - lost FROM logs_progress, (SELECT count(*) n FROM logs) c`).
		Scan(&n, &skipped, &lost, &unaccounted)
	if err != nil || n != 995 || skipped != 1 || lost != 4 || unaccounted != 0 {
		t.Errorf("%d rows, %d skipped, %d lost, %d not accounted for, %v", n, skipped, lost, unaccounted, err)
	}
	details := query1[string](t, address, "SELECT details->'_forward'->>'details' FROM logs WHERE id = 333")
	if want := entries(1, 332)[0].details.(string); details != want {
		t.Errorf("details as text: %s, want %s", details, want)
	}
	change(t, db, "DELETE FROM logs WHERE id IN (333, 700)")
	execute(t, address, "DELETE FROM logs WHERE id = 333")
	compare(t, path, address, "web1")
}

// Rows may be deleted from the table: they do not come again.
func TestOldRowsMayBeDeletedFromPostgreSQL(t *testing.T) {
	address := sharedPostgres(t).newDatabase(t, "")
	path := filepath.Join(t.TempDir(), "logs.db")
	db := newFile(t, path)
	write(t, db, entries(100, 0)...)
	shipAll(t, path, address, "web1")
	execute(t, address, "DELETE FROM logs")
	write(t, db, entries(10, 100)...)
	shipAll(t, path, address, "web1")
	if n := query1[int](t, address, "SELECT count(*) FROM logs"); n != 10 {
		t.Errorf("%d rows, want the 10 new ones", n)
	}
	// Without the note of the progress, the rows say where to go on.
	execute(t, address, "DELETE FROM logs_progress")
	write(t, db, entries(10, 110)...)
	shipAll(t, path, address, "web1")
	if n := query1[int](t, address, "SELECT count(*) FROM logs"); n != 20 {
		t.Errorf("%d rows, want 20", n)
	}
}

func TestTheSecondForwarderOfASourceWaits(t *testing.T) {
	address := sharedPostgres(t).newDatabase(t, "")
	path := filepath.Join(t.TempDir(), "logs.db")
	db := newFile(t, path)
	write(t, db, entries(100, 0)...)
	first := startProcess(t, "-db", path, "-to", address, "-source", "web1")
	waitForRows(t, address, 100)
	second := startProcess(t, "-db", path, "-to", address, "-source", "web1")
	third := startProcess(t, "-db", path, "-to", address, "-source", "web1")
	second.waitFor(t, "another forwarder ships this source")
	third.waitFor(t, "another forwarder ships this source")
	shipAll(t, path, address, "another source") // is not kept waiting
	third.terminate(t)
	first.kill()
	write(t, db, entries(100, 100)...)
	waitForRows(t, address, 300) // the second takes over
	compare(t, path, address, "web1")
	second.terminate(t)
}

// On a database without advisory locks two forwarders may run: the progress
// lets one of them commit.
func TestWithoutAdvisoryLocksRowsStillArriveOnce(t *testing.T) {
	p := sharedPostgres(t)
	address := p.newDatabase(t, "")
	execute(t, address, "CREATE SCHEMA other", `
		CREATE FUNCTION other.pg_try_advisory_lock(bigint) RETURNS boolean LANGUAGE plpgsql AS $$
		BEGIN RAISE EXCEPTION 'not supported' USING ERRCODE = '0A000'; END $$`)
	address += "&search_path=other,public,pg_catalog"
	execute(t, address, strings.Replace(createLogs, "EXISTS logs", "EXISTS public.logs", 1), strings.Replace(createProgress, "EXISTS logs", "EXISTS public.logs", 1))
	path := filepath.Join(t.TempDir(), "logs.db")
	db := newFile(t, path)
	write(t, db, entries(8*batchRows, 0)...)
	var forwarders []*process
	for range 3 {
		forwarders = append(forwarders, startProcess(t, "-db", path, "-to", address, "-source", "web1"))
	}
	overtaken := false
	for i := 0; !overtaken || i < 20; i++ {
		if i == 1000 {
			t.Fatal("no forwarder was ever overtaken by another")
		}
		write(t, db, entries(100, 8*batchRows+100*i)...)
		waitForRows(t, address, 8*batchRows+100*(i+1))
		for _, f := range forwarders {
			overtaken = overtaken || strings.Contains(f.out.String(), "another forwarder ships it")
		}
	}
	for _, f := range forwarders {
		f.terminate(t)
		if !strings.Contains(f.out.String(), "no advisory locks") {
			t.Errorf("it does not warn:\n%s", f.out.String())
		}
	}
	compare(t, path, address, "web1")
}

func TestTablesOtherThanExpected(t *testing.T) {
	p := sharedPostgres(t)
	path := filepath.Join(t.TempDir(), "logs.db")
	write(t, newFile(t, path), entries(10, 0)...)
	execute(t, p.address("postgres"), "CREATE ROLE reader LOGIN", "CREATE ROLE writer LOGIN")
	grant := "GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO writer"
	for _, c := range []struct {
		name, user string
		setup      []string
		want       string // part of the error; empty: it works
	}{
		{"json for jsonb", "postgres", []string{strings.Replace(createLogs, "jsonb", "json", 1)}, "details is json, want jsonb"},
		{"two wrong types", "postgres", []string{"CREATE TABLE logs (source text, id int, level text, message text, timestamp timestamp, details jsonb)"}, "id is int4, want int8; timestamp is timestamp, want timestamptz"},
		{"a column missing", "postgres", []string{"CREATE TABLE logs (source text, id bigint, level text, message text, timestamp timestamptz)"}, `column \"details\" does not exist`},
		{"progress changed", "postgres", []string{"CREATE TABLE logs_progress (source text, at int)"}, "last_id"},
		{"no right to make them", "reader", nil, "permission denied"},
		{"no right to write", "reader", []string{createLogs, createProgress}, "permission denied"},
		{"made by somebody else", "writer", []string{createLogs, createProgress, grant}, ""},
		{"a column more", "postgres", []string{createLogs, "ALTER TABLE logs ADD received timestamptz DEFAULT now()"}, ""},
		{"partitioned", "postgres", []string{createLogs + " PARTITION BY HASH (source)", "CREATE TABLE logs_0 PARTITION OF logs FOR VALUES WITH (MODULUS 1, REMAINDER 0)"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			address := p.newDatabase(t, "")
			execute(t, address, c.setup...)
			address = strings.Replace(address, "user=postgres", "user="+c.user, 1)
			if c.want == "" {
				shipAll(t, path, address, "web1")
				compare(t, path, address, "web1")
				return
			}
			code, out := forwardArgs(t, "-once", "-db", path, "-to", address, "-source", "web1")
			if code != 1 || !strings.Contains(out, c.want) {
				t.Errorf("exit code %d, want 1 with %q:\n%s", code, c.want, out)
			}
		})
	}
	t.Run("another encoding", func(t *testing.T) {
		code, out := forwardArgs(t, "-once", "-db", path, "-to", p.newDatabase(t, "ENCODING 'LATIN1' TEMPLATE template0"), "-source", "web1")
		if code != 1 || !strings.Contains(out, "LATIN1") {
			t.Errorf("exit code %d:\n%s", code, out)
		}
	})
	for name, statement := range map[string]string{
		"dropped while following": "DROP TABLE logs",
		"changed while following": "ALTER TABLE logs DROP COLUMN details",
		"retyped while following": "ALTER TABLE logs ALTER id TYPE numeric",
	} {
		t.Run(name, func(t *testing.T) {
			address := p.newDatabase(t, "")
			path := filepath.Join(t.TempDir(), "logs.db")
			db := newFile(t, path)
			write(t, db, entries(10, 0)...)
			shipAll(t, path, address, "web1")
			f := startProcess(t, "-db", path, "-to", address, "-source", "web1")
			write(t, db, entries(10, 10)...)
			waitForRows(t, address, 20)
			execute(t, address, statement)
			write(t, db, entries(10, 20)...)
			if code := f.wait(t); code != 1 || !strings.Contains(f.out.String(), "giving up") {
				t.Errorf("exit code %d:\n%s", code, f.out.String())
			}
		})
	}
}

func TestARowOfAnotherHandIsNeitherOverwrittenNorPassedOver(t *testing.T) {
	address := sharedPostgres(t).newDatabase(t, "")
	path := filepath.Join(t.TempDir(), "logs.db")
	write(t, newFile(t, path), entries(10, 0)...)
	shipAll(t, path, address, "web1")
	write(t, newFile(t, path), entries(10, 10)...)
	execute(t, address, "INSERT INTO logs SELECT source, 15, level, message, timestamp, details FROM logs WHERE id = 1")
	code, out := forwardArgs(t, "-once", "-db", path, "-to", address, "-source", "web1")
	if code != 1 || !strings.Contains(out, "duplicate key") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	if n := query1[int](t, address, "SELECT last_id::int FROM logs_progress"); n != 10 {
		t.Errorf("progress %d, want 10", n)
	}
}
