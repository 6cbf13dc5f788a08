//go:build !race

package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// residentMemory returns the resident memory of the process in bytes, as the
// system reports it.
func (p *process) residentMemory() float64 {
	p.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	must(p.t, err)
	_, text, _ := strings.Cut(string(status), "VmRSS:")
	var kibibytes float64 // Linux calls the unit kB
	_, err = fmt.Sscan(text, &kibibytes)
	must(p.t, err)
	return kibibytes * 1024
}

// checkMemoryClasses fails the test unless the memory classes add up to the
// resident memory within 20%. It returns the classes.
func (p *process) checkMemoryClasses(when string, scrape func() map[string]float64) map[string]float64 {
	p.t.Helper()
	before := p.residentMemory()
	m := scrape()
	after := p.residentMemory()
	classes := map[string]float64{}
	sum := 0.0
	for name, v := range m {
		if class, ok := strings.CutPrefix(name, `memory_class_bytes{class="`); ok {
			classes[strings.TrimSuffix(class, `"}`)] = v
			sum += v
		}
	}
	p.t.Logf("%s: %.1f MiB resident, %.1f MiB in classes: %v", when, after/(1<<20), sum/(1<<20), classes)
	for name, v := range map[string]float64{"the sum of the classes": sum, "resident_bytes": m["resident_bytes"]} {
		if low, high := 0.8*min(before, after), 1.2*max(before, after); v < low || v > high {
			p.t.Errorf("%s: got %s %.0f, want %.0f to %.0f", when, name, v, low, high)
		}
	}
	return classes
}

// The memory classes add up to the resident memory: idle, under load, and under
// attacks. Each attack shows in its class.
func TestMemoryClasses(t *testing.T) {
	p := start(t, filepath.Join(t.TempDir(), "logs.db"))
	idle := p.checkMemoryClasses("idle", p.metrics)
	want := []string{"connections", "files", "free", "garbage", "headers", "other", "queue", "reads", "requests", "tails"}
	if got := slices.Sorted(maps.Keys(idle)); !slices.Equal(got, want) {
		t.Errorf("got classes %v, want %v", got, want)
	}
	if idle["other"] > 16<<20 {
		t.Errorf("idle: got %.0f bytes of other memory, want at most 16 MiB", idle["other"])
	}

	done := make(chan struct{})
	stop := time.Now().Add(time.Second)
	go func() {
		defer close(done)
		for time.Now().Before(stop) {
			p.post("", strings.Repeat(smallBody, 5000)) // other tests check the response
		}
	}()
	time.Sleep(500 * time.Millisecond)
	p.checkMemoryClasses("load", p.metrics)
	receive(t, "the end of the load", done)

	for _, c := range []struct {
		class, text string
		min         float64
	}{
		{"headers", "GET / HTTP/1.1\r\nHost: localhost\r\nLong: " + strings.Repeat("a", 30_000), 4 << 20},
		{"requests", head("/ingest", 1<<20) + "[" + strings.Repeat(smallBody+",", 1000), 16 << 20},
	} {
		p := start(t, filepath.Join(t.TempDir(), "logs.db"))
		openHostile(t, p, "127.0.0.1", 800, c.text)
		scrape := func() map[string]float64 { return p.metricsFrom("127.0.0.2") }
		p.waitFor(c.class+" and connections have memory", func() bool {
			m := scrape()
			class := func(name string) float64 { return m[`memory_class_bytes{class="`+name+`"}`] }
			return class(c.class) >= c.min && class("connections") >= 2<<20
		})
		p.checkMemoryClasses(c.class, scrape)
	}
}

// metricsFrom requests the metrics from a local address.
func (p *process) metricsFrom(address string) map[string]float64 {
	p.t.Helper()
	resp, err := clientFrom(address).Get(p.url + "/metrics")
	must(p.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(p.t, err)
	return parseMetrics(p.t, string(text))
}
