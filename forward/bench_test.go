//go:build unix

package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// BenchmarkShip measures the program, from its start to its end, against
// psql's \copy of the same rows into the same table. They take turns, and the
// fastest run of each counts, so that other load spoils the ratio least.
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
	db := newFile(b, path)
	for n := 0; n < rows; n += 100_000 {
		write(b, db, entries(100_000, n)...)
	}
	psql := func(command string) {
		b.Helper()
		cmd := exec.Command(filepath.Join(p.bin, "psql"), "-q", "-X", "-v", "ON_ERROR_STOP=1", "-c", command, address)
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("psql: %v\n%s", err, out)
		}
	}
	shipAll(b, path, address, "web1")
	psql(fmt.Sprintf(`\copy logs to '%s'`, text))

	fastest := map[string]time.Duration{}
	turn := func(name string, ship func()) {
		b.Helper()
		execute(b, address, "TRUNCATE logs, logs_progress", "CHECKPOINT")
		start := time.Now()
		ship()
		took := time.Since(start)
		if n := query1[int](b, address, "SELECT count(*) FROM logs"); n != rows {
			b.Fatalf("%s: %d rows arrived of %d", name, n, rows)
		}
		if best, ok := fastest[name]; !ok || took < best {
			fastest[name] = took
		}
	}
	for b.Loop() {
		for range turns {
			turn("psql", func() { psql(fmt.Sprintf(`\copy logs from '%s'`, text)) })
			turn("forward", func() {
				f := startProcess(b, "-once", "-db", path, "-to", address, "-source", "web1")
				if code := f.wait(b); code != 0 {
					b.Fatalf("exit code %d:\n%s", code, f.out.String())
				}
			})
		}
	}
	b.ReportMetric(0, "ns/op") // of no meaning: an op is all the turns
	b.ReportMetric(rows/fastest["psql"].Seconds(), "psql-rows/s")
	b.ReportMetric(rows/fastest["forward"].Seconds(), "forward-rows/s")
	b.ReportMetric(fastest["psql"].Seconds()/fastest["forward"].Seconds(), "of-psql")
}
