package main

import (
	"fmt"
	"log/slog"
	"os"
	"time"
)

const (
	terminalInterval = 500 * time.Millisecond
	logInterval      = 10 * time.Second
)

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// reportProgress reports the progress until stop is called. On a terminal it
// keeps a status line up to date. Elsewhere it logs a line every logInterval if
// rows were shipped since the last one.
func reportProgress(s *stats, source string, out *statusWriter, terminal bool, log *slog.Logger) (stop func()) {
	interval := logInterval
	if terminal {
		interval = terminalInterval
	}
	stopping, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		var p progress
		for {
			select {
			case now := <-ticker.C:
				p.update(now, s)
				p.report(source, out, terminal, log)
			case <-stopping:
				out.setStatus("")
				return
			}
		}
	}()
	return func() { close(stopping); <-stopped }
}

// progress is the progress at the last update.
type progress struct {
	at                time.Time
	previous, shipped int64   // rows shipped at the last two updates
	remaining         int64   // rows in the file after the position
	rate              float64 // rows per second, smoothed
}

func (p *progress) update(now time.Time, s *stats) {
	p.previous, p.shipped = p.shipped, s.shipped.Load()
	p.remaining = max(0, s.fileEnd.Load()-max(0, s.position.Load()))
	if !p.at.IsZero() {
		rate := float64(p.shipped-p.previous) / now.Sub(p.at).Seconds()
		if p.rate == 0 {
			p.rate = rate
		}
		p.rate += (rate - p.rate) / 4
	}
	p.at = now
}

func (p *progress) report(source string, out *statusWriter, terminal bool, log *slog.Logger) {
	switch {
	case terminal:
		out.setStatus(source + ": " + p.String())
	case p.shipped > p.previous:
		log.Info("shipping", "shipped", p.shipped, "remaining", p.remaining, "rows_per_s", int64(p.rate), "time_left", p.timeLeft())
	}
}

// timeLeft estimates the time to the end of the file. It returns 0 if there is
// no estimate.
func (p *progress) timeLeft() time.Duration {
	if p.remaining == 0 || p.rate < 1 {
		return 0
	}
	return time.Duration(float64(p.remaining) / p.rate * float64(time.Second)).Round(time.Second)
}

func (p *progress) String() string {
	text := fmt.Sprintf("%s rows shipped, %s remaining, %s rows/s", thousands(p.shipped), thousands(p.remaining), thousands(int64(p.rate)))
	if left := p.timeLeft(); left > 0 {
		text += fmt.Sprintf(", about %s left", left)
	}
	return text
}

func thousands(n int64) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}
