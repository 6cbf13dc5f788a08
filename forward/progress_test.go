package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestProgressEstimate(t *testing.T) {
	s := newStats()
	var p progress
	now := time.Now()
	p.update(now, s)
	if got, want := p.String(), "0 rows shipped, 0 remaining, 0 rows/s"; got != want {
		t.Errorf("at the start: got %q, want %q", got, want)
	}
	for range 40 {
		now = now.Add(time.Second)
		s.shipped.Add(100_000)
		s.position.Store(s.shipped.Load())
		s.fileEnd.Store(10_000_000)
		p.update(now, s)
	}
	if got, want := p.String(), "4,000,000 rows shipped, 6,000,000 remaining, "; !strings.HasPrefix(got, want) {
		t.Errorf("got %q, want prefix %q", got, want)
	}
	if p.rate < 99_000 || p.rate > 101_000 {
		t.Errorf("got %f rows per second, want about 100,000", p.rate)
	}
	if left := p.timeLeft(); left < 59*time.Second || left > 61*time.Second {
		t.Errorf("got %s left, want about a minute", left)
	}
}

func TestProgressReport(t *testing.T) {
	p := progress{previous: 10, shipped: 3000, remaining: 7000, rate: 1000}
	var terminal, file bytes.Buffer
	log := slog.New(slog.NewTextHandler(&file, nil))
	p.report("web1", &statusWriter{w: &terminal}, true, nil)
	if got, want := terminal.String(), "web1: 3,000 rows shipped, 7,000 remaining, 1,000 rows/s, about 7s left"; !strings.HasSuffix(got, want) {
		t.Errorf("terminal: got %q, want suffix %q", got, want)
	}
	p.report("web1", nil, false, log)
	if got, want := file.String(), "shipped=3000 remaining=7000 rows_per_s=1000 time_left=7s"; !strings.Contains(got, want) {
		t.Errorf("log: got %q, want it to contain %q", got, want)
	}
	file.Reset()
	p.previous = p.shipped
	p.report("web1", nil, false, log)
	if got := file.String(); got != "" {
		t.Errorf("log without new rows: got %q, want nothing", got)
	}
}

func TestThousandsSeparators(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1_002_003: "1,002,003"} {
		if got := thousands(n); got != want {
			t.Errorf("thousands(%d) = %s, want %s", n, got, want)
		}
	}
}
