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

// Memory goes by the batch, not by the file: here 330 MB, a third of which is
// one value. The race detector uses memory of its own, so builds with it leave
// this test out.
func TestMemoryIsBounded(t *testing.T) {
	address := sharedPostgres(t).newDatabase(t, "")
	path := filepath.Join(t.TempDir(), "logs.db")
	db := newFile(t, path)
	large := strings.Repeat("x", 1<<20)
	for range 200 {
		write(t, db, entry{"error", large, "2026-11-22T15:24:00Z", nil})
	}
	change(t, db, fmt.Sprintf("INSERT INTO logs (level, message, timestamp) VALUES ('error', zeroblob(%d), '2026-11-22T15:24:00Z')", 4*valueLimit))
	write(t, db, entries(1000, 0)...)

	f := startProcess(t, "-db", path, "-to", address, "-source", "web1")
	waitForRows(t, address, 1201)
	// Not the process's ru_maxrss, which begins with that of this test.
	status := string(readFile(t, fmt.Sprintf("/proc/%d/status", f.cmd.Process.Pid)))
	kB, err := strconv.Atoi(regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindStringSubmatch(status)[1])
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("at most %d MB", kB/1000)
	if kB > 100_000 {
		t.Errorf("it took %d MB", kB/1000)
	}
	f.terminate(t)
}
