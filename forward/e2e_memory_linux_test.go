//go:build !race

package main

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// Memory depends on the size of a batch, not on the size of the file: 330 MB
// here, a third of it in one value. Builds with the race detector leave this
// test out because it uses memory itself.
func TestMemoryBounded(t *testing.T) {
	const limit = 100_000 // kB
	address := sharedPostgres(t).newDatabase(t, "")
	path := filepath.Join(t.TempDir(), "logs.db")
	db := newLogsDB(t, path)
	large := strings.Repeat("x", 1<<20)
	for range 200 {
		insert(t, db, entry{"error", large, "2026-11-22T15:24:00Z", nil})
	}
	execSQLite(t, db, fmt.Sprintf("INSERT INTO logs (level, message, timestamp) VALUES ('error', zeroblob(%d), '2026-11-22T15:24:00Z')", 4*valueLimit))
	insert(t, db, makeEntries(1000, 0)...)

	f := startProcess(t, "-db", path, "-to", address, "-source", "web1")
	waitForRows(t, address, 1201)
	// Not the process's ru_maxrss, which starts at the value of this test.
	status := string(readFile(t, fmt.Sprintf("/proc/%d/status", f.cmd.Process.Pid)))
	match := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindStringSubmatch(status)
	if match == nil {
		t.Fatalf("got no VmHWM in the status of the process:\n%s", status)
	}
	peak, err := strconv.Atoi(match[1])
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("peak memory: %d kB", peak)
	if peak > limit {
		t.Errorf("got peak memory of %d kB, want at most %d kB", peak, limit)
	}
	f.terminate(t)
}
