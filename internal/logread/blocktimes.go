package logread

import (
	"math"
	"sync"
)

// A block is a range of ids that have the same value of id >> blockBits. The
// block's number is that value.
type block int64

// blockBits limits how many ids one statement visits, and defaultStepWork how many
// bytes, so that no statement delays a checkpoint of the WAL by more than some
// milliseconds.
const blockBits = 14

func blockOf(id int64) block { return block(id >> blockBits) }

// first and last return the lowest and the highest id that a block can contain.
func (b block) first() int64 { return int64(b) << blockBits }
func (b block) last() int64  { return b.first() | (1<<blockBits - 1) }

// A timeSpan is the earliest and the latest time of some entries, in Unix
// nanoseconds.
type timeSpan struct{ first, last int64 }

// emptySpan is the time span of no entries.
var emptySpan = timeSpan{math.MaxInt64, math.MinInt64}

func (s *timeSpan) add(t int64) {
	s.first = min(s.first, t)
	s.last = max(s.last, t)
}

// maxBlockTimes limits the memory for block times. It covers 134 million
// entries.
const maxBlockTimes = 8192

// blockTimes remembers the time spans of complete blocks, which get no more
// entries. Concurrent scans share it. Its zero value is empty.
type blockTimes struct {
	mu    sync.Mutex
	spans map[block]timeSpan
}

func (bt *blockTimes) get(b block) (span timeSpan, ok bool) {
	bt.mu.Lock()
	defer bt.mu.Unlock()
	span, ok = bt.spans[b]
	return span, ok
}

func (bt *blockTimes) set(b block, span timeSpan) {
	bt.mu.Lock()
	defer bt.mu.Unlock()
	if bt.spans == nil || len(bt.spans) >= maxBlockTimes {
		bt.spans = make(map[block]timeSpan)
	}
	bt.spans[b] = span
}

// mayContain reports whether the block can contain entries with since <= time <
// until. It is true for a block whose times are not known.
func (bt *blockTimes) mayContain(b block, since, until int64) bool {
	span, ok := bt.get(b)
	return !ok || span.last >= since && span.first < until
}
