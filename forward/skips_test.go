package main

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

var (
	skipsMu sync.Mutex
	skips   = map[string][]string{} // names of the skipped tests, by what they need
)

// skipOrFail skips a test that this machine cannot run; need says what is missing and how to get it.
// If the CI variable is not empty, the test fails instead.
func skipOrFail(tb testing.TB, need string) {
	tb.Helper()
	if os.Getenv("CI") != "" {
		tb.Fatalf("tests must not be skipped while CI is set: %s", need)
	}
	skipsMu.Lock()
	skips[need] = append(skips[need], tb.Name())
	skipsMu.Unlock()
	tb.Skip(need)
}

// reportSkips prints what was skipped and what it needs. TestMain calls it with the result of m.Run.
func reportSkips(code int) {
	if len(skips) == 0 {
		return
	}
	report := filepath.Base(os.Args[0]) + ": skipped tests\n"
	for _, need := range slices.Sorted(maps.Keys(skips)) {
		names := slices.Compact(slices.Sorted(slices.Values(skips[need])))
		report += fmt.Sprintf("  %s (%d)\n    %s\n", need, len(names), strings.Join(names, ", "))
	}
	fmt.Fprint(os.Stderr, report)
	log := flag.Lookup("test.testlogfile").Value.String() // empty in local-directory mode
	if code == 0 && !testing.Verbose() {                  // otherwise the go command prints our output
		reportPastGo(report, log != "")
	}
	// Without its list of inputs the go command does not cache the result. A cached result would
	// hide this report, and would still be used after the missing programs are installed.
	os.Truncate(log, 0) // if this fails, the result is cached
}

// reportPastGo writes the report to the user if the go command discards our output. It does so for
// packages that pass, if packages are listed on its command line.
func reportPastGo(report string, listed bool) {
	path := "/dev/tty"
	if runtime.GOOS == "linux" {
		parent := fmt.Sprintf("/proc/%d/", os.Getppid())
		name, _ := os.ReadFile(parent + "comm")
		ours, _ := os.Stdout.Stat()
		theirs, err := os.Stat(parent + "fd/1")
		listed = string(name) == "go\n" && err == nil && !os.SameFile(ours, theirs)
		path = parent + "fd/2"
	}
	if !listed {
		return // the user sees our own output
	}
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
		// The go command keeps its own offset in the file: its next lines replace these spaces.
		report = strings.Repeat(" ", 400) + "\n" + report
	}
	// O_NONBLOCK, because opening a pipe without a reader would block.
	if f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|syscall.O_NONBLOCK, 0); err == nil {
		fmt.Fprint(f, report)
		f.Close()
	}
}
