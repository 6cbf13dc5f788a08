package main

import (
	"bytes"
	"io"
	"sync"
)

// A statusWriter keeps a status line below the text that is written to it. Any
// goroutine may use it.
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

// setStatus replaces the status line. An empty status removes it.
func (s *statusWriter) setStatus(status string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if status == s.status {
		return
	}
	s.status = status
	s.w.Write(s.redraw(nil)) // an error of the terminal cannot be reported
}

// redraw replaces the status line by text and draws it again below.
func (s *statusWriter) redraw(text []byte) []byte {
	var b bytes.Buffer
	b.WriteString("\r\x1b[K")
	b.Write(text)
	b.WriteString(s.status)
	return b.Bytes()
}
