package logread

import "sync/atomic"

// The memory of all reads and tails together is at most the sum of
//
//   - the large entry that is loaded, and SQLite's copy of it: twice the
//     size of an entry, which is 32 MiB if -max-body is 16 MiB;
//   - readMemory for each of maxReads open reads, and for each of maxTails tails;
//   - maxGrowth: what their buffers have beyond readMemory;
//   - gzipMemory for each of maxCompressing.
//
// That is less than 40 MiB. A step also keeps a row that continues on overflow pages, of
// at most logpages.MaxPayload bytes.
const (
	readMemory = minPart + 16<<10 // with the query, the found ids and the matcher's state
	maxGrowth  = 1 << 20
	gzipMemory = 1600 << 10 // with the compressed part
)

// The sizes of the parts in which a response is sent.
const (
	partSize  = 64 << 10  // approximate size
	minPart   = 24 << 10  // if maxGrowth leaves no memory for more
	largePart = 256 << 10 // for a part of one large entry
)

// A memory counts the bytes that reads and tails use.
type memory struct {
	reads, tails atomic.Int64
	growth       atomic.Int64 // the part of both that is limited to maxGrowth
}

// An account is the memory of the reads or of the tails.
type account struct {
	memory *memory
	used   *atomic.Int64 // memory.reads or memory.tails
}

// add adds n bytes, which are limited elsewhere. n may be negative.
func (a account) add(n int) { a.used.Add(int64(n)) }

// grow adds n bytes for a larger buffer. It returns false, and adds nothing, if all
// growth together would exceed maxGrowth.
func (a account) grow(n int) bool {
	if a.memory.growth.Add(int64(n)) > maxGrowth {
		a.memory.growth.Add(int64(-n))
		return false
	}
	a.add(n)
	return true
}

// shrink subtracts n bytes that grow has added.
func (a account) shrink(n int) {
	a.memory.growth.Add(int64(-n))
	a.add(-n)
}
