package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
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

// report tells how shipping goes, until the returned function is called: on a
// terminal in a line that is kept up to date, elsewhere in a log line now and
// then, when something was shipped.
func report(s *stats, source string, out *statusWriter, terminal bool, log *slog.Logger) (end func()) {
	interval := logInterval
	if terminal {
		interval = terminalInterval
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		var p progress
		for {
			select {
			case now := <-ticker.C:
				p.update(now, s)
				p.tell(source, out, terminal, log)
			case <-stop:
				out.setStatus("")
				return
			}
		}
	}()
	return func() { close(stop); <-stopped }
}

// A progress is what the last interval shows.
type progress struct {
	at              time.Time
	before, shipped int64
	left            int64
	rate            float64 // rows a second, smoothed
}

func (p *progress) update(now time.Time, s *stats) {
	p.before, p.shipped = p.shipped, s.shipped.Load()
	p.left = max(0, s.fileEnd.Load()-max(0, s.position.Load()))
	if !p.at.IsZero() {
		rate := float64(p.shipped-p.before) / now.Sub(p.at).Seconds()
		if p.rate == 0 {
			p.rate = rate
		}
		p.rate += (rate - p.rate) / 4
	}
	p.at = now
}

func (p *progress) tell(source string, out *statusWriter, terminal bool, log *slog.Logger) {
	switch {
	case terminal:
		out.setStatus(source + ": " + p.String())
	case p.shipped > p.before:
		log.Info("shipping", "shipped", p.shipped, "left", p.left, "rows_per_s", int64(p.rate), "estimate", p.estimate())
	}
}

func (p *progress) estimate() time.Duration {
	if p.left == 0 || p.rate < 1 {
		return 0
	}
	return time.Duration(float64(p.left) / p.rate * float64(time.Second)).Round(time.Second)
}

func (p *progress) String() string {
	text := fmt.Sprintf("%s rows shipped, %s to go, %s rows/s", thousands(p.shipped), thousands(p.left), thousands(int64(p.rate)))
	if e := p.estimate(); e > 0 {
		text += fmt.Sprintf(", about %s left", e)
	}
	return text
}

func thousands(n int64) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}

// A statusWriter keeps a status line below what is written. Any goroutine may
// use it.
type statusWriter struct {
	mu     sync.Mutex
	w      io.Writer
	status string
}

func (s *statusWriter) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status == "" {
		return s.w.Write(p)
	}
	_, err := s.w.Write(s.redraw(p))
	return len(p), err
}

func (s *statusWriter) setStatus(status string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if status == s.status {
		return
	}
	s.status = status
	s.w.Write(s.redraw(nil)) // there is nobody else to tell of a failure
}

// redraw clears the status line, puts text in its place and the line below.
func (s *statusWriter) redraw(text []byte) []byte {
	var b bytes.Buffer
	b.WriteString("\r\x1b[K")
	b.Write(text)
	b.WriteString(s.status)
	return b.Bytes()
}
