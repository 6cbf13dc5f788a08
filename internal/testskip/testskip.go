// Package testskip makes skipped tests visible. Without -v, go test does not
// mention them, so a machine that lacks a program would skip tests unnoticed.
//
// A package uses it in two places: TestMain calls Main, and tests that this
// machine cannot run call SkipOrFail. If the CI environment variable is not
// empty, such tests fail instead, because CI must run all of them.
//
// Only tests may import this package.
package testskip

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
	mu    sync.Mutex
	skips = map[string][]string{} // names of the skipped tests, by what they need
)

// SkipOrFail skips a test that this machine cannot run; need says what is
// missing and how to get it. If the CI variable is not empty, the test fails
// instead.
func SkipOrFail(tb testing.TB, need string) {
	tb.Helper()
	if os.Getenv("CI") != "" {
		tb.Fatalf("tests must not be skipped while CI is set: %s", need)
	}
	mu.Lock()
	skips[need] = append(skips[need], tb.Name())
	mu.Unlock()
	tb.Skip(need)
}

// Main runs the tests, prints which of them were skipped and what they need, and
// returns the exit code for os.Exit.
func Main(m *testing.M) int {
	code := m.Run()
	if len(skips) == 0 {
		return code
	}
	text := report()
	fmt.Fprint(os.Stderr, text)
	log := flag.Lookup("test.testlogfile").Value.String() // empty if no packages are listed
	// The go command discards the output of packages that pass, unless it is
	// verbose or no packages are listed.
	if code == 0 && !testing.Verbose() {
		printPastGo(text, log != "")
	}
	// Without its list of inputs the go command does not cache the result. A
	// cached result would hide this report, and would still be used after the
	// missing programs are installed.
	os.Truncate(log, 0) // if this fails, the result is cached
	return code
}

// report lists the skipped tests.
func report() string {
	text := filepath.Base(os.Args[0]) + ": skipped tests\n"
	for _, need := range slices.Sorted(maps.Keys(skips)) {
		names := slices.Compact(slices.Sorted(slices.Values(skips[need])))
		text += fmt.Sprintf("  %s (%d)\n    %s\n", need, len(names), strings.Join(names, ", "))
	}
	return text
}

// printPastGo writes text to the standard error of the go command or, on systems
// other than Linux, to the terminal. listed says whether the command line of the
// go command lists packages: only then it hides the output of this process.
func printPastGo(text string, listed bool) {
	path := "/dev/tty"
	if runtime.GOOS == "linux" {
		parent := fmt.Sprintf("/proc/%d/", os.Getppid())
		name, _ := os.ReadFile(parent + "comm") // empty after an error, so not go
		ours, _ := os.Stdout.Stat()
		theirs, err := os.Stat(parent + "fd/1")
		listed = string(name) == "go\n" && err == nil && !os.SameFile(ours, theirs)
		path = parent + "fd/2"
	}
	if !listed {
		return // the output of this process is visible
	}
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
		// The go command writes its next lines at its own offset in the file, so
		// it overwrites the start of this text. Let it overwrite spaces.
		text = strings.Repeat(" ", 400) + "\n" + text
	}
	// O_NONBLOCK, because opening a pipe without a reader would block.
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|syscall.O_NONBLOCK, 0)
	if err != nil {
		return // there is no terminal
	}
	fmt.Fprint(f, text) // an error means that the reading end is closed
	f.Close()
}
