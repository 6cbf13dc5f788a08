//go:build linux

package examples

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The Collector sends the JSON lines that programs write to app.log. No line is lost or
// stored twice while the service is busy or down.
func TestFileLoggers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, built string // built is the file that exists if the program is built
		command     func(root string) *exec.Cmd
	}{
		{"log4j2", "log4j2/target/dependency", func(root string) *exec.Cmd {
			return exec.Command("java", "-Dlog4j2.configurationFile="+filepath.Join(root, "log4j2/log4j2.xml"),
				"-cp", filepath.Join(root, "log4j2/target/classes")+":"+filepath.Join(root, "log4j2/target/dependency/*"), "Main")
		}},
		{"rust", "rust/target/debug/rust-example", func(root string) *exec.Cmd {
			return exec.Command(filepath.Join(root, "rust/target/debug/rust-example"))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			root, err := filepath.Abs(".")
			if err != nil {
				t.Fatal(err)
			}
			require(t, exists(c.built), "the program of examples/"+c.name)
			s := collector("collector", feedFile)
			require(t, s.installed(), s.name)
			e := newEndpoint(t)
			dir := s.prepare(e)
			stop := e.failRequests(busy, closed)
			s.start(t, dir)
			cmd := c.command(root)
			cmd.Dir = dir
			p := startProcess(t, cmd)
			p.writeLines("plain", `"quoted" \ {"level":"debug"}`, "Zoé — 注文 ✓")
			checkSuccess(t, p)
			stop()
			e.startService()
			e.waitForRows(5)
			checkRows(t, e.rows(), []row{
				{"info", "started"}, {"error", "plain"}, {"error", `"quoted" \ {"level":"debug"}`},
				{"error", "Zoé — 注文 ✓"}, {"warn", "end of input"},
			})
		})
	}
}

// The Collector sends the output of the .NET example, as Docker stores it.
func TestDotnet(t *testing.T) {
	t.Parallel()
	program, err := filepath.Abs("../testdata/dotnet/out/run")
	if err != nil {
		t.Fatal(err)
	}
	require(t, exists(program), "the program of examples/dotnet")
	s := collector("docker", feedDocker)
	require(t, s.installed(), s.name)
	e := newEndpoint(t)
	dir := s.prepare(e)
	cmd := exec.Command(program)
	cmd.Stdin = strings.NewReader("plain\n\"quoted\" \\ {\"LogLevel\":\"Debug\"}\nZoé — 注文 ✓\n")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		appendDockerLine(t, dir, line)
	}
	stop := e.failRequests(busy, closed)
	s.start(t, dir)
	stop()
	e.startService()
	e.waitForRows(5)
	checkRows(t, e.rows(), []row{
		{"information", "started"}, {"error", "plain"}, {"error", `"quoted" \ {"LogLevel":"Debug"}`},
		{"error", "Zoé — 注文 ✓"}, {"warn", "end of input"},
	})
}
