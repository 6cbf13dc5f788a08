package testskip

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
)

// runSkipping is the environment variable that makes TestSkipping skip.
const runSkipping = "TESTSKIP_TEST_SKIP"

func TestMain(m *testing.M) { os.Exit(Main(m)) }

// TestSkipping is the test that the tests below run.
func TestSkipping(t *testing.T) {
	if os.Getenv(runSkipping) != "" {
		SkipOrFail(t, "needs a unicorn")
	}
}

// goTest runs TestSkipping as a user does and returns the output of go test.
func goTest(t *testing.T, ci string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, errs strings.Builder
	cmd := exec.CommandContext(t.Context(), "go", append(append([]string{"test", "-run", "^TestSkipping$"}, args...), ".")...)
	cmd.Env = append(os.Environ(), runSkipping+"=1", "CI="+ci)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// The report appears without -v, and in a second run too, for which go test
// would otherwise use the cached result.
func TestReport(t *testing.T) {
	if runtime.GOOS != "linux" {
		SkipOrFail(t, "needs Linux: elsewhere the report goes to the terminal")
	}
	const want = ": skipped tests\n  needs a unicorn (1)\n    TestSkipping\n"
	for run := range 2 {
		stdout, stderr, err := goTest(t, "")
		if err != nil || strings.Contains(stdout, "unicorn") || strings.Count(stderr, want) != 1 {
			t.Errorf("run %d: got stdout %q, stderr %q, error %v; want %q once in stderr", run, stdout, stderr, err, want)
		}
	}
	stdout, stderr, err := goTest(t, "", "-v")
	if err != nil || strings.Count(stdout+stderr, want) != 1 {
		t.Errorf("with -v: got stdout %q, stderr %q, error %v; want %q once", stdout, stderr, err, want)
	}
}

// Any value of CI turns a skip into a failure.
func TestSkipFailsInCI(t *testing.T) {
	for _, ci := range []string{"1", "false"} {
		stdout, _, err := goTest(t, ci)
		if err == nil || !strings.Contains(stdout, "--- FAIL: TestSkipping") || !strings.Contains(stdout, "needs a unicorn") {
			t.Errorf("CI=%s: got error %v and stdout %q, want a failure that says what is needed", ci, err, stdout)
		}
	}
}
