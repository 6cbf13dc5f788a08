//go:build unix

package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// BenchmarkShip compares a whole run of forward with psql's \copy of the same
// rows into the same table. The two take turns and the fastest run of each is
// reported, so that other load distorts the ratio as little as possible.
//
//	go test -C forward -run '^$' -bench Ship
func BenchmarkShip(b *testing.B) {
	const (
		rows  = 500_000
		turns = 5
	)
	p := sharedPostgres(b)
	address := p.newDatabase(b, "")
	path, text := filepath.Join(b.TempDir(), "logs.db"), filepath.Join(b.TempDir(), "rows")
	db := newLogsDB(b, path)
	for n := 0; n < rows; n += 100_000 {
		insert(b, db, makeEntries(100_000, n)...)
	}
	psql := func(command string) {
		b.Helper()
		cmd := exec.CommandContext(timeoutContext(b), filepath.Join(p.bin, "psql"), "-q", "-X", "-v", "ON_ERROR_STOP=1", "-c", command, address)
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("psql: %v\n%s", err, out)
		}
	}
	shipAll(b, path, address, "web1")
	psql(fmt.Sprintf(`\copy logs to '%s'`, text))

	fastest := map[string]time.Duration{}
	measure := func(name string, ship func()) {
		b.Helper()
		execPostgres(b, address, "TRUNCATE logs, logs_progress", "CHECKPOINT")
		start := time.Now()
		ship()
		took := time.Since(start)
		if n := countRows(b, address); n != rows {
			b.Fatalf("%s: got %d rows, want %d", name, n, rows)
		}
		if best, ok := fastest[name]; !ok || took < best {
			fastest[name] = took
		}
	}
	for b.Loop() {
		for range turns {
			measure("psql", func() { psql(fmt.Sprintf(`\copy logs from '%s'`, text)) })
			measure("forward", func() {
				f := startProcess(b, "-once", "-db", path, "-to", address, "-source", "web1")
				if code := f.wait(b); code != 0 {
					b.Fatalf("got exit code %d, want 0:\n%s", code, f.out.String())
				}
			})
		}
	}
	b.ReportMetric(0, "ns/op") // an operation is all turns, so its time means nothing
	b.ReportMetric(rows/fastest["psql"].Seconds(), "psql-rows/s")
	b.ReportMetric(rows/fastest["forward"].Seconds(), "forward-rows/s")
	b.ReportMetric(fastest["psql"].Seconds()/fastest["forward"].Seconds(), "of-psql")
}
