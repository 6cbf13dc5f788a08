package summary

import (
	"math/bits"
	"strings"

	"log-ingester/internal/entry"
)

// A Builder makes the summary of one segment at a time.
type Builder struct {
	segment Segment
	filter  *filter
	counts  *Counts
	bytes   int // size of the entries added

	block     int                            // the block of the last entry
	positions [1 << positionBits / 64]uint64 // positions that occur in it, as a bit set

	grams  []uint32
	folded []byte
	text   []byte
	fields fieldHasher
}

// maxSegmentBuckets is the number of buckets that the counts of a segment have. No
// histogram has more, so that the buckets of a histogram that includes the segment
// are at least as wide.
const maxSegmentBuckets = 500

// NewBuilder returns a builder, which needs about 2.5 MB of memory.
func NewBuilder() *Builder {
	b := &Builder{filter: new(filter), counts: NewCounts(maxSegmentBuckets)}
	b.Reset()
	return b
}

// Reset starts a new segment.
func (b *Builder) Reset() {
	clear(b.filter[:])
	clear(b.positions[:])
	b.counts.reset()
	b.bytes, b.block = 0, 0
	b.segment = Segment{}
	for i := range b.segment.times {
		b.segment.times[i] = emptySpan
	}
}

// rowOverhead is about how many bytes a row of the table logs has in addition to its
// text.
const rowOverhead = 10

// Add adds an entry. Entries must be added in ascending order of their ids. A Builder
// keeps none of the strings. If hasText is false, message and details are not given,
// and the block of the entry is never skipped in a search for text.
func (b *Builder) Add(id int64, level, message, timestamp, details string, hasText bool) {
	if block := blockOf(id); block != b.block {
		b.endBlock()
		b.block = block
	}
	rank := entry.LevelByName([]byte(level))
	b.segment.levels[rank] |= 1 << b.block
	t, hasTime := entry.ParseStoredTime(timestamp)
	if hasTime {
		b.segment.times[b.block].add(t)
	}
	b.counts.Add(rank, t, hasTime)
	b.bytes += len(level) + len(message) + len(timestamp) + len(details) + rowOverhead
	if !hasText || !b.fields.hash(details) {
		b.segment.noText |= 1 << b.block
	}
	if b.segment.noText&(1<<b.block) != 0 {
		return
	}
	b.addText(message)
	b.addText(details)
	if strings.IndexByte(details, '\\') >= 0 {
		b.text = entry.AppendUnescaped(b.text[:0], details)
		b.addText(string(b.text))
	}
	for _, hash := range b.fields.hashes {
		b.grams = appendFieldPositions(b.grams[:0], hash)
		b.addPositions()
	}
}

// addText adds the grams of a text.
func (b *Builder) addText(text string) {
	b.folded = appendFolded(b.folded[:0], text)
	b.grams = appendGrams(b.grams[:0], b.folded)
	b.addPositions()
}

func (b *Builder) addPositions() {
	for _, p := range b.grams {
		b.positions[p/64] |= 1 << (p % 64)
	}
}

// endBlock moves the positions of the current block to the filter.
func (b *Builder) endBlock() {
	for i, set := range b.positions {
		for ; set != 0; set &= set - 1 {
			b.filter[i*64+bits.TrailingZeros64(set)] |= 1 << b.block
		}
	}
	clear(b.positions[:])
}

// A Summary is a segment in the form in which it is stored.
type Summary struct {
	Segment []byte
	Counts  []byte
	Pages   [][]byte // of the filter
}

// Summary returns the summary of the first blocks of the segment. All their entries
// must have been added.
func (b *Builder) Summary(blocks int) *Summary {
	b.endBlock()
	b.segment.Blocks = blocks
	b.segment.divisor = b.filter.divisor(blocks, b.bytes/maxShare*BlocksPerSegment/max(blocks, 1))
	return &Summary{
		Segment: b.segment.encode(),
		Counts:  appendCounts(nil, b.counts),
		Pages:   b.filter.pages(b.segment.divisor),
	}
}
