package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestProgress(t *testing.T) {
	s := newStats()
	var p progress
	now := time.Now()
	p.update(now, s)
	if got := p.String(); got != "0 rows shipped, 0 remaining, 0 rows/s" {
		t.Errorf("before anything: %s", got)
	}
	for range 40 {
		now = now.Add(time.Second)
		s.shipped.Add(100_000)
		s.position.Store(s.shipped.Load())
		s.fileEnd.Store(10_000_000)
		p.update(now, s)
	}
	if got, want := p.String(), "4,000,000 rows shipped, 6,000,000 remaining, "; !strings.HasPrefix(got, want) {
		t.Errorf("%s, want %s…", got, want)
	}
	if p.rate < 99_000 || p.rate > 101_000 {
		t.Errorf("%f rows a second, want about 100,000", p.rate)
	}
	if e := p.timeLeft(); e < 59*time.Second || e > 61*time.Second {
		t.Errorf("estimate %s, want about a minute", e)
	}
}

func TestStatusLineStaysBelowTheLog(t *testing.T) {
	var b bytes.Buffer
	s := &statusWriter{w: &b}
	s.Write([]byte("one\n"))
	s.setStatus("10 rows")
	s.setStatus("10 rows")
	s.setStatus("20 rows")
	s.Write([]byte("two\n"))
	s.setStatus("")
	s.Write([]byte("three\n"))
	const clear = "\r\x1b[K"
	if got, want := b.String(), "one\n"+clear+"10 rows"+clear+"20 rows"+clear+"two\n20 rows"+clear+"three\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestProgressGoesWhereItCanBeRead(t *testing.T) {
	p := progress{previous: 10, shipped: 3000, remaining: 7000, rate: 1000}
	var terminal, file bytes.Buffer
	log := slog.New(slog.NewTextHandler(&file, nil))
	p.report("web1", &statusWriter{w: &terminal}, true, nil)
	if got := terminal.String(); !strings.HasSuffix(got, "web1: 3,000 rows shipped, 7,000 remaining, 1,000 rows/s, about 7s left") {
		t.Errorf("on a terminal: %q", got)
	}
	p.report("web1", nil, false, log)
	if got := file.String(); !strings.Contains(got, "shipped=3000 remaining=7000 rows_per_s=1000 time_left=7s") {
		t.Errorf("elsewhere: %q", got)
	}
	file.Reset()
	p.previous = p.shipped
	p.report("web1", nil, false, log)
	if got := file.String(); got != "" {
		t.Errorf("with nothing new: %q", got)
	}
}

func TestThousands(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1_002_003: "1,002,003"} {
		if got := thousands(n); got != want {
			t.Errorf("thousands(%d) = %s, want %s", n, got, want)
		}
	}
}
