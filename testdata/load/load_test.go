package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestParseWrk(t *testing.T) {
	res, err := parseWrk(`Running 2s test @ http://127.0.0.1:3002/ingest
  Latency Distribution
     50%  412.00us
     75%  600.00us
     90%    1.00ms
     99%    1.25s 
  150 requests in 2.00s, 28.10MB read
  Non-2xx or 3xx responses: 50
Requests/sec:  75.00
`)
	want := result{requests: 100, rate: 50, p50: 412 * time.Microsecond, p99: 1250 * time.Millisecond}
	if err != nil || res != want {
		t.Errorf("got %+v and error %v, want %+v", res, err, want)
	}
	if _, err := parseWrk("unable to connect"); err == nil {
		t.Error("without requests: got no error")
	}
}

func TestParseH2load(t *testing.T) {
	res, err := parseH2load([]byte("1000\t202\t300\n1001\t202\t100\n1002\t202\t200\n"))
	want := result{requests: 3, p50: 200 * time.Microsecond, p99: 300 * time.Microsecond}
	if err != nil || res != want {
		t.Errorf("got %+v and error %v, want %+v", res, err, want)
	}
	if _, err := parseH2load([]byte("1000\t503\t300\n")); err == nil {
		t.Error("with status 503: got no error")
	}
}

func TestRealisticEntries(t *testing.T) {
	dir := t.TempDir()
	size, err := writeBodies(dir, load{entries: 100, errors: 33, realistic: true})
	if err != nil {
		t.Fatal(err)
	}
	if size < 100*1000 || size > 100*2000 {
		t.Errorf("got bodies of %d bytes, want 1 to 2 KB for each entry", size)
	}
	body, err := os.ReadFile(filepath.Join(dir, "0"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range bytes.Split(bytes.TrimSpace(body), []byte("\n")) {
		if !json.Valid(line) {
			t.Fatalf("got invalid JSON: %s", line)
		}
	}
}

func TestThousands(t *testing.T) {
	for v, want := range map[float64]string{7.3: "7", 999.6: "1,000", 75_432: "75,400", 1_234_567: "1,230,000"} {
		if got := thousands(v); got != want {
			t.Errorf("%v: got %q, want %q", v, got, want)
		}
	}
}

// TestProcess starts the test binary as a server.
func TestProcess(t *testing.T) {
	if os.Getenv("LOAD_SERVE") != "" {
		t.Fatal(serveEmpty([]string{"net/http", os.Getenv("LOAD_SERVE")}))
	}
	cfg := config{dir: t.TempDir(), ctx: t.Context()}
	s := server{name: "empty", command: func(_ *config, _, addr string, _ bool) ([]string, error) {
		self, err := os.Executable()
		t.Setenv("LOAD_SERVE", addr)
		return []string{self, "-test.run=^TestProcess$"}, err
	}}
	p, err := cfg.start(s)
	if err != nil {
		t.Fatal(err)
	}
	defer p.stop()
	if _, err := p.idleTime(); err != nil {
		t.Error(err)
	}
	if peak, err := p.peakMemory(); err != nil || peak < 1<<20 {
		t.Errorf("got peak memory %d and error %v, want more than 1 MiB", peak, err)
	}
}
