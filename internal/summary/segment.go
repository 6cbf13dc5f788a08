package summary

import (
	"encoding/binary"
	"math"
)

// A Segment is the summary of a segment, except for its counts and the pages of its
// filter. A set of its blocks is a bit mask.
type Segment struct {
	Blocks int // the summary covers this many blocks, from the first one

	divisor int       // reduces a position to a row of the filter
	noText  uint64    // blocks whose text is not in the filter
	levels  [8]uint64 // the blocks in which each level occurs
	times   [BlocksPerSegment]timeSpan
}

// A timeSpan is the earliest and the latest time of some entries, in Unix
// nanoseconds.
type timeSpan struct{ first, last int64 }

// emptySpan is the time span of no entries.
var emptySpan = timeSpan{math.MaxInt64, math.MinInt64}

func (s *timeSpan) add(t int64) {
	s.first = min(s.first, t)
	s.last = max(s.last, t)
}

// Covered returns the blocks that the summary covers.
func (s *Segment) Covered() uint64 { return 1<<s.Blocks - 1 }

// WithLevels returns the blocks in which one of the levels occurs. Bit 1<<rank of
// ranks selects a level.
func (s *Segment) WithLevels(ranks uint8) uint64 {
	var blocks uint64
	for rank, in := range s.levels {
		if ranks&(1<<rank) != 0 {
			blocks |= in
		}
	}
	return blocks
}

// WithTimes returns the blocks that can contain entries in a time range.
func (s *Segment) WithTimes(within TimeRange) uint64 {
	var blocks uint64
	for i, span := range s.times[:s.Blocks] {
		if span.last >= within.Since && span.first < within.Until {
			blocks |= 1 << i
		}
	}
	return blocks
}

// Span returns the earliest and the latest time in the segment. ok is false if no
// entry has a readable time.
func (s *Segment) Span() (first, last int64, ok bool) {
	all := emptySpan
	for _, span := range s.times[:s.Blocks] {
		all.first, all.last = min(all.first, span.first), max(all.last, span.last)
	}
	return all.first, all.last, all.first <= all.last
}

// encodedSize is the size of an encoded segment in bytes.
const encodedSize = 2 + 8 + 8*8 + BlocksPerSegment*16

// encode returns s in the form that Decode reads.
func (s *Segment) encode() []byte {
	dst := append(make([]byte, 0, encodedSize), byte(s.Blocks), byte(s.divisor))
	dst = binary.LittleEndian.AppendUint64(dst, s.noText)
	for _, blocks := range s.levels {
		dst = binary.LittleEndian.AppendUint64(dst, blocks)
	}
	for _, span := range s.times {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(span.first))
		dst = binary.LittleEndian.AppendUint64(dst, uint64(span.last))
	}
	return dst
}

// Decode sets s to the encoded segment in data. It returns false if data is invalid.
func (s *Segment) Decode(data []byte) bool {
	if len(data) != encodedSize || data[0] > BlocksPerSegment || data[1] == 0 {
		return false
	}
	s.Blocks, s.divisor = int(data[0]), int(data[1])
	data = data[2:]
	next := func() uint64 {
		v := binary.LittleEndian.Uint64(data)
		data = data[8:]
		return v
	}
	s.noText = next()
	for rank := range s.levels {
		s.levels[rank] = next()
	}
	for i := range s.times {
		s.times[i] = timeSpan{int64(next()), int64(next())}
	}
	return true
}
