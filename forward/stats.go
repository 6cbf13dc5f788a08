package main

import (
	"sync/atomic"
	"time"
)

// stats are the counters of this process. Any goroutine may use them.
type stats struct {
	shipped   atomic.Int64 // rows committed
	lost      atomic.Int64 // rows deleted from the file before they were shipped
	skipped   atomic.Int64 // rows that PostgreSQL refused
	sanitized atomic.Int64 // rows changed so that PostgreSQL can store them
	errors    atomic.Int64 // failures followed by a retry
	lastError atomic.Int64 // Unix nanoseconds; 0 if there was none
	position  atomic.Int64 // all ids up to this one are accounted for; -1 until it was read
	fileEnd   atomic.Int64 // the highest id in the file at the last read
}

func newStats() *stats {
	s := &stats{}
	s.position.Store(-1)
	return s
}

func (s *stats) committed(b batch) {
	s.shipped.Add(int64(len(b.rows)))
	s.lost.Add(b.lost)
	s.skipped.Add(b.skipped)
	s.sanitized.Add(b.sanitized)
	s.position.Store(b.end.id)
	s.fileEnd.Store(b.fileEnd)
}

func (s *stats) failed() {
	s.errors.Add(1)
	s.lastError.Store(time.Now().UnixNano())
}
