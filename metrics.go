package main

import (
	"sync/atomic"
	"time"
)

// metrics counts what the service does. Any goroutine may count.
type metrics struct {
	accepted, filtered, refused atomic.Int64 // entries that came
	stored                      atomic.Int64 // entries that were committed
	retries                     atomic.Int64 // transactions that failed
	lastError                   atomic.Int64 // when the last one did, in Unix nanoseconds; 0 for never
	commits                     histogram
}

// failed counts a failed transaction.
func (m *metrics) failed() {
	m.retries.Add(1)
	m.lastError.Store(time.Now().UnixNano())
}

// A histogram counts durations by their size.
type histogram struct {
	sum    atomic.Int64 // in nanoseconds
	counts [len(histogramBounds) + 1]atomic.Int64
}

// histogramBounds are the upper ends of a histogram's buckets.
var histogramBounds = [...]time.Duration{
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, time.Second, 5 * time.Second,
}

func (h *histogram) observe(d time.Duration) {
	i := 0
	for i < len(histogramBounds) && d > histogramBounds[i] {
		i++
	}
	h.counts[i].Add(1)
	h.sum.Add(int64(d))
}
