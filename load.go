package main

import (
	"sync"
	"time"
)

const (
	// busyRate is the number of entries per millisecond above which searches use no
	// helpers and the summarizer pauses.
	busyRate = 10

	// loadInterval is the shortest time over which the rate is measured.
	loadInterval = 2 * time.Millisecond
)

// A loadMeter measures how many entries clients send. Any goroutine may use it.
type loadMeter struct {
	received func() int64 // returns how many entries were received so far

	mu    sync.Mutex
	start time.Time // of the current interval
	count int64     // value of received at start
	busy  bool      // the rate in the last interval exceeded busyRate
}

// isBusy reports whether clients sent more than busyRate in the last interval.
func (m *loadMeter) isBusy() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if elapsed := now.Sub(m.start); elapsed >= loadInterval {
		count := m.received()
		m.busy = count-m.count > busyRate*elapsed.Milliseconds()
		m.start, m.count = now, count
	}
	return m.busy
}
