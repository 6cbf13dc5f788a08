// Package summary keeps summaries of blocks of entries, which let a search skip
// blocks that cannot match. The writer stores the summaries next to the table logs;
// the reader uses them.
//
// A block has 1,024 ids, a segment 64 blocks. The summary of a segment consists of
//
//   - for each block, the earliest and the latest time and the levels that occur;
//   - counts by time and level, for histograms;
//   - a filter over the text and the fields: a Bloom filter for each block, stored as
//     a bit matrix with one row per bit, so that a search reads only a few bytes of
//     each segment.
//
// A filter can report a block that has no match, but never hides one that has.
//
// Triggers in the database keep the summaries correct when other programs change
// rows: see Triggers.
package summary

const (
	blockBits   = 10
	segmentBits = 16

	// BlocksPerSegment is the number of blocks of a segment.
	BlocksPerSegment = 1 << (segmentBits - blockBits)

	// BlockSize is the number of ids of a block.
	BlockSize = 1 << blockBits
)

// SegmentOf returns the number of the segment that contains an id.
func SegmentOf(id int64) int64 { return id >> segmentBits }

// FirstID returns the lowest id of a block of a segment. A block number of
// BlocksPerSegment stands for the next segment.
func FirstID(segment int64, block int) int64 { return segment<<segmentBits + int64(block)<<blockBits }

// blockOf returns the number of the block, within its segment, that contains an id.
func blockOf(id int64) int { return int(id>>blockBits) % BlocksPerSegment }
