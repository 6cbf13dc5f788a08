//go:build linux

package examples

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// OpenTelemetry's SDKs send each line again while the service is busy or, except the one
// for Go, closes the connection.
func TestOTelSDKs(t *testing.T) {
	t.Parallel()
	const packages = "../testdata/otlp/clients" // with the same versions as those of the examples
	for _, c := range []struct {
		name, needs string
		failures    []failure
		command     func(t *testing.T, dir, packages string) *exec.Cmd
	}{
		{"go", ".", []failure{busy}, func(t *testing.T, dir, _ string) *exec.Cmd {
			build := exec.Command("go", "build", "-o", "client", ".")
			build.Dir = dir
			if out, err := build.CombinedOutput(); err != nil {
				t.Fatalf("building the client: %v\n%s", err, out)
			}
			return exec.Command(filepath.Join(dir, "client"))
		}},
		{"node", "node/node_modules", []failure{busy, closed}, func(t *testing.T, dir, packages string) *exec.Cmd {
			if err := os.Symlink(packages, filepath.Join(dir, "node_modules")); err != nil {
				t.Fatal(err)
			}
			return exec.Command("node", filepath.Join(dir, "main.mjs"))
		}},
		{"python", "python/venv/bin/python", []failure{busy, closed}, func(_ *testing.T, dir, python string) *exec.Cmd {
			return exec.Command(python, filepath.Join(dir, "main.py"))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path, err := filepath.Abs(filepath.Join(packages, c.needs))
			if err != nil {
				t.Fatal(err)
			}
			require(t, exists(path), path)
			e := newEndpoint(t)
			dir := e.copyExample("otel-sdk/"+c.name, apiKey)
			stop := e.failRequests(c.failures...)
			p := startProcess(t, c.command(t, dir, path))
			p.writeLines("plain", `"quoted" \ {"level":"debug"}`, "Zoé — 注文 ✓")
			stop()
			e.startService()
			e.waitForRows(4)
			if status := p.finish(); status != 0 {
				t.Errorf("exit status: got %d, want 0; standard error: %s", status, p.stderr.String())
			}
			checkRows(t, e.rows(), []row{
				{"info", "started"}, {"error", "plain"}, {"error", `"quoted" \ {"level":"debug"}`},
				{"error", "Zoé — 注文 ✓"}, {"warn", "end of input"},
			})
		})
	}
}
