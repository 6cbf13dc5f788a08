package logread

import (
	"errors"
	"slices"
	"strconv"
)

const (
	tailBurst = 500     // entries in one batch
	tailBytes = 1 << 20 // bytes in one batch, unless its last entry is larger
)

// errBatchFull ends a search once the batch is full.
var errBatchFull = errors.New("batch is full")

// A tailBatch is a sink that formats entries as server-sent events. It receives
// the newest entry first; the client must get it last.
type tailBatch struct {
	events []byte // one after another, the newest first
	ends   []int  // the offset in events at which each event ends
	lastID int64  // id of the last entry added, which is the oldest
}

func (b *tailBatch) add(r *row) (full bool) {
	b.events = append(strconv.AppendInt(append(b.events, "id: "...), r.id, 10), "\ndata: "...)
	b.events = append(r.appendJSON(b.events), "\n\n"...)
	b.ends = append(b.ends, len(b.events))
	b.lastID = r.id
	return len(b.ends) >= tailBurst || len(b.events) >= tailBytes
}

// flush ends the search, because the client gets only the newest entries.
func (b *tailBatch) flush() error { return errBatchFull }

// reset empties the batch, and drops a buffer that large entries grew.
func (b *tailBatch) reset() {
	b.events, b.ends = b.events[:0], b.ends[:0]
	if cap(b.events) > 4*flushSize {
		b.events = nil
	}
}

// oldestFirst returns the events in the order of their ids.
func (b *tailBatch) oldestFirst() [][]byte {
	var events [][]byte
	for i, end := range slices.Backward(b.ends) {
		start := 0
		if i > 0 {
			start = b.ends[i-1]
		}
		events = append(events, b.events[start:end])
	}
	return events
}
