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

	// maxLoadInterval is the longest one. A mean over a longer time can hide a load that
	// has just begun.
	maxLoadInterval = time.Second
)

// A loadMeter measures how many entries clients send. Any goroutine may use it.
type loadMeter struct {
	received func() int64 // returns how many entries were received so far

	mu    sync.Mutex
	start time.Time // of the current interval
	count int64     // value of received at start
	busy  bool      // the rate in the last interval exceeded busyRate, or is not known
}

// isBusy reports whether clients sent more than busyRate in the last interval. It is
// true if the rate is not known because of a long time since the last call.
func (m *loadMeter) isBusy() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if elapsed := now.Sub(m.start); elapsed >= loadInterval {
		count := m.received()
		m.busy = elapsed > maxLoadInterval || count-m.count > busyRate*elapsed.Milliseconds()
		m.start, m.count = now, count
	}
	return m.busy
}
