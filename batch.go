package main

import (
	"database/sql/driver"
	"sync"
	"unsafe"
)

// A row is one entry as the table takes it: where each of its columns ends in
// the text of its batch. The first begins where the row before it ended.
type row struct{ level, message, timestamp, details uint32 }

// A batch is what one request brings: its kept entries in their order, to be
// stored all or none; or what several small ones bring. It owns its bytes, so
// that an entry out of a large body does not keep that body in memory. Whoever
// holds the batch may use it: the request until it is queued, then the writer.
type batch struct {
	text []byte // the columns of all rows, one after the other
	rows []row

	// committed, where it is not nil, is told how the transaction ended: nil,
	// or why the batch was given up. It holds one answer, so that telling
	// never blocks.
	committed chan error
}

// batchOverhead is what a batch costs beside its text and rows, in bytes, its
// place in the queue and what its slices have to spare included.
const batchOverhead = 2 << 10

// joinedSize is how much text small batches that are joined have at most, in
// bytes.
const joinedSize = 4 << 10

// rowEstimate is what a row takes beside the bytes of its entry: its ends, and
// a level and a time where the entry has none.
const rowEstimate = int(unsafe.Sizeof(row{})) + len("unknown") + len("2006-01-02T15:04:05.000000000Z")

// maxPooled is the most memory, in bytes, that one buffer may take into a
// pool: a few large requests must not set what an idle service holds.
const maxPooled = 256 << 10

// size is what the batch counts for in the queue, in bytes.
func (b *batch) size() int64 {
	return int64(len(b.text)+len(b.rows)*int(unsafe.Sizeof(row{}))) + batchOverhead
}

// value returns a column of the row r, which starts at start in the text: 0 is
// the level, then message, timestamp and details, nil where there are none. It
// is valid until the batch is released.
func (b *batch) value(start uint32, r *row, column int) driver.Value {
	end := r.level
	switch column {
	case 1:
		start, end = r.level, r.message
	case 2:
		start, end = r.message, r.timestamp
	case 3:
		start, end = r.timestamp, r.details
		if start == end {
			return nil
		}
	}
	return unsafe.String(unsafe.SliceData(b.text[start:end]), end-start)
}

// values returns the columns of row i.
func (b *batch) values(i int) []driver.Value {
	start := uint32(0)
	if i > 0 {
		start = b.rows[i-1].details
	}
	var values []driver.Value
	for column := range 4 {
		values = append(values, b.value(start, &b.rows[i], column))
	}
	return values
}

// join appends the rows of next, unless somebody waits for one of the two, or
// they are too large together.
func (b *batch) join(next *batch) bool {
	if b.committed != nil || next.committed != nil || len(b.text)+len(next.text) > joinedSize {
		return false
	}
	start := uint32(len(b.text))
	b.text = append(b.text, next.text...)
	for _, r := range next.rows {
		b.rows = append(b.rows, row{start + r.level, start + r.message, start + r.timestamp, start + r.details})
	}
	return true
}

var batchPool = sync.Pool{New: func() any {
	return &batch{text: make([]byte, 0, joinedSize), rows: make([]row, 0, joinedSize/128)}
}}

func newBatch() *batch { return batchPool.Get().(*batch) }

// release gives the batch's memory back.
func (b *batch) release() {
	if cap(b.text) > maxPooled || cap(b.rows) > maxPooled/int(unsafe.Sizeof(row{})) {
		return
	}
	b.text, b.rows, b.committed = b.text[:0], b.rows[:0], nil
	batchPool.Put(b)
}
