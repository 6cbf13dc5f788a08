//go:build unix

package main

import (
	"cmp"
	"path/filepath"
	"strings"
	"testing"
)

// Tables that forward did not create must have its columns. The user needs the
// privileges to write to them.
func TestTablesValidated(t *testing.T) {
	p := sharedPostgres(t)
	path := filepath.Join(t.TempDir(), "logs.db")
	insert(t, newLogsDB(t, path), makeEntries(10, 0)...)
	execPostgres(t, p.address("postgres"), "CREATE ROLE reader LOGIN", "CREATE ROLE writer LOGIN")
	const grant = "GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO writer"
	for _, c := range []struct {
		name  string
		user  string // default postgres
		setup []string
		want  string // part of the error; empty if the tables are accepted
	}{
		{
			name:  "json instead of jsonb",
			setup: []string{strings.Replace(createLogs, "jsonb", "json", 1)},
			want:  "details is json, want jsonb",
		},
		{
			name:  "two wrong types",
			setup: []string{"CREATE TABLE logs (source text, id int, level text, message text, timestamp timestamp, details jsonb)"},
			want:  "id is int4, want int8; timestamp is timestamp, want timestamptz",
		},
		{
			name:  "missing column",
			setup: []string{"CREATE TABLE logs (source text, id bigint, level text, message text, timestamp timestamptz)"},
			want:  `column \"details\" does not exist`,
		},
		{
			name:  "different logs_progress",
			setup: []string{"CREATE TABLE logs_progress (source text, at int)"},
			want:  "last_id",
		},
		{
			name: "no privilege to create tables",
			user: "reader",
			want: "permission denied",
		},
		{
			name:  "no privilege to write",
			user:  "reader",
			setup: []string{createLogs, createProgress},
			want:  "permission denied",
		},
		{
			name:  "created by another user",
			user:  "writer",
			setup: []string{createLogs, createProgress, grant},
		},
		{
			name:  "another column",
			setup: []string{createLogs, "ALTER TABLE logs ADD received timestamptz DEFAULT now()"},
		},
		{
			name:  "partitioned",
			setup: []string{createLogs + " PARTITION BY HASH (source)", "CREATE TABLE logs_0 PARTITION OF logs FOR VALUES WITH (MODULUS 1, REMAINDER 0)"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			address := p.newDatabase(t, "")
			execPostgres(t, address, c.setup...)
			address = strings.Replace(address, "user=postgres", "user="+cmp.Or(c.user, "postgres"), 1)
			if c.want == "" {
				shipAll(t, path, address, "web1")
				checkRows(t, path, address, "web1")
				return
			}
			code, out := runForward(t, "-once", "-db", path, "-to", address, "-source", "web1")
			if code != 1 || !strings.Contains(out, c.want) {
				t.Errorf("got exit code %d, want 1 and output with %q:\n%s", code, c.want, out)
			}
		})
	}
	t.Run("another encoding", func(t *testing.T) {
		code, out := runForward(t, "-once", "-db", path, "-to", p.newDatabase(t, "ENCODING 'LATIN1' TEMPLATE template0"), "-source", "web1")
		if code != 1 || !strings.Contains(out, "LATIN1") {
			t.Errorf("got exit code %d, want 1 and output with LATIN1:\n%s", code, out)
		}
	})
}

func TestTableChangedWhileFollowing(t *testing.T) {
	p := sharedPostgres(t)
	for name, statement := range map[string]string{
		"table dropped":       "DROP TABLE logs",
		"column dropped":      "ALTER TABLE logs DROP COLUMN details",
		"column type changed": "ALTER TABLE logs ALTER id TYPE numeric",
	} {
		t.Run(name, func(t *testing.T) {
			address := p.newDatabase(t, "")
			path := filepath.Join(t.TempDir(), "logs.db")
			db := newLogsDB(t, path)
			insert(t, db, makeEntries(10, 0)...)
			shipAll(t, path, address, "web1")
			f := startProcess(t, "-db", path, "-to", address, "-source", "web1")
			insert(t, db, makeEntries(10, 10)...)
			waitForRows(t, address, 20)
			execPostgres(t, address, statement)
			insert(t, db, makeEntries(10, 20)...)
			if code := f.wait(t); code != 1 || !strings.Contains(f.out.String(), "giving up") {
				t.Errorf("got exit code %d, want 1 and output with %q:\n%s", code, "giving up", f.out.String())
			}
		})
	}
}
