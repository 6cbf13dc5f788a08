package summary

import (
	"encoding/binary"
	"maps"
	"math"
	"math/bits"
	"slices"
	"time"

	"log-ingester/internal/entry"
)

// steps are the possible widths of the buckets of Counts, in seconds. Each is a
// multiple of the previous one, so that buckets can be merged. The last step is
// wider than the int64 nanosecond range.
var steps = [...]int64{1, 5, 15, 60, 300, 900, 3600, 3 * 3600, 12 * 3600,
	86400, 7 * 86400, 28 * 86400, 364 * 86400, 3640 * 86400, 36400 * 86400, 8 * 36400 * 86400}

// epoch is the Unix second that buckets are aligned to. It precedes every
// representable time, so that one bucket of the last step covers all of them. It is
// a multiple of each narrower step.
const epoch = -4 * 36400 * 86400

// LevelCounts holds the number of entries of each level.
type LevelCounts [entry.LevelUnknown + 1]int64

// Counts counts entries by time and level. It starts with the narrowest buckets, and
// widens them when there would be too many.
type Counts struct {
	limit       int64                  // of buckets from first to last, with empty ones
	level       int                    // index in steps of the current step
	buckets     map[int64]*LevelCounts // by steps since epoch
	first, last int64                  // lowest and highest key in buckets
	Total       LevelCounts            // all entries
	NoTime      LevelCounts            // entries without a readable time, which are in no bucket
	stored      []storedBucket         // scratch space of Merge
}

// NewCounts returns empty counts with at most limit buckets from the first to the
// last one.
func NewCounts(limit int) *Counts {
	c := &Counts{limit: int64(limit)}
	c.reset()
	return c
}

func (c *Counts) reset() {
	*c = Counts{
		limit:   c.limit,
		buckets: make(map[int64]*LevelCounts),
		first:   math.MaxInt64,
		last:    math.MinInt64,
	}
}

// Empty returns empty counts with the same limit and step as c.
func (c *Counts) Empty() *Counts {
	e := NewCounts(int(c.limit))
	e.level = c.level
	return e
}

// AddAll adds the counts of other, whose limit must not be lower.
func (c *Counts) AddAll(other *Counts) {
	c.Total.add(&other.Total)
	c.NoTime.add(&other.NoTime)
	for c.level < other.level {
		c.widen()
	}
	for key, counts := range other.buckets {
		c.Bucket(nanos(key, other.level)).add(counts)
	}
}

// Step returns the width of the buckets in seconds.
func (c *Counts) Step() int64 { return steps[c.level] }

// Add counts an entry. t is its time in Unix nanoseconds, if hasTime is true.
func (c *Counts) Add(level entry.Level, t int64, hasTime bool) {
	c.Total[level]++
	if !hasTime {
		c.NoTime[level]++
		return
	}
	c.Bucket(t)[level]++
}

// Bucket returns the bucket of the time t, in Unix nanoseconds, and adds it if it is
// missing.
func (c *Counts) Bucket(t int64) *LevelCounts {
	c.Cover(t, t)
	key := c.key(t)
	c.first, c.last = min(c.first, key), max(c.last, key)
	bucket := c.buckets[key]
	if bucket == nil {
		bucket = new(LevelCounts)
		c.buckets[key] = bucket
	}
	return bucket
}

// Cover widens the buckets until at most the limit of them cover the existing
// buckets and the times from and to.
func (c *Counts) Cover(from, to int64) {
	for c.level < len(steps)-1 && max(c.last, c.key(to))-min(c.first, c.key(from)) >= c.limit {
		c.widen()
	}
}

// widen merges the buckets into those of the next step.
func (c *Counts) widen() {
	factor := steps[c.level+1] / steps[c.level]
	c.level++
	merged := make(map[int64]*LevelCounts)
	for key, counts := range c.buckets {
		into := merged[key/factor]
		if into == nil {
			merged[key/factor] = counts
			continue
		}
		into.add(counts)
	}
	if len(merged) > 0 {
		c.first, c.last = c.first/factor, c.last/factor
	}
	c.buckets = merged
}

// key returns the key of the bucket for t, in Unix nanoseconds.
func (c *Counts) key(t int64) int64 { return (time.Unix(0, t).Unix() - epoch) / steps[c.level] }

// Bounds returns the start of the first bucket and the end of the last one. ok is
// false if there are no buckets.
func (c *Counts) Bounds() (from, to time.Time, ok bool) {
	if len(c.buckets) == 0 {
		return from, to, false
	}
	return c.startOf(c.first), c.startOf(c.last + 1), true
}

// startOf returns the start of the bucket with a key.
func (c *Counts) startOf(key int64) time.Time { return time.Unix(epoch+key*steps[c.level], 0) }

// Buckets calls yield for each bucket, in the order of time, until it returns false.
func (c *Counts) Buckets(yield func(start time.Time, counts *LevelCounts) bool) {
	for _, key := range slices.Sorted(maps.Keys(c.buckets)) {
		if !yield(c.startOf(key), c.buckets[key]) {
			return
		}
	}
}

// appendCounts appends c in the form that Merge reads: the index of the step, the
// counts without a time, and the buckets.
func appendCounts(dst []byte, c *Counts) []byte {
	dst = appendLevels(append(dst, byte(c.level)), &c.NoTime)
	previous := int64(0)
	for _, key := range slices.Sorted(maps.Keys(c.buckets)) {
		dst = binary.AppendUvarint(dst, uint64(key-previous))
		dst = appendLevels(dst, c.buckets[key])
		previous = key
	}
	return dst
}

// appendLevels appends a bit mask of the levels with entries, and their counts.
func appendLevels(dst []byte, counts *LevelCounts) []byte {
	mask := byte(0)
	for rank, n := range counts {
		if n > 0 {
			mask |= 1 << rank
		}
	}
	dst = append(dst, mask)
	for _, n := range counts {
		if n > 0 {
			dst = binary.AppendUvarint(dst, uint64(n))
		}
	}
	return dst
}

// A countsDecoder decodes what appendCounts wrote.
type countsDecoder struct {
	data  []byte
	next  int   // offset in data
	ranks uint8 // the levels whose counts are returned, as for Merge
	level int
	key   int64
	bad   bool // the data is invalid
}

// decodeCounts returns a decoder, and the counts of the entries without a time.
func decodeCounts(data []byte, ranks uint8) (d countsDecoder, noTime LevelCounts) {
	if len(data) == 0 || int(data[0]) >= len(steps) {
		return countsDecoder{bad: true}, noTime
	}
	d = countsDecoder{data: data, next: 1, ranks: ranks, level: int(data[0])}
	d.levels(&noTime)
	return d, noTime
}

// bucket decodes the next bucket. It returns false if there is none.
func (d *countsDecoder) bucket(counts *LevelCounts) bool {
	if d.next == len(d.data) || d.bad {
		return false
	}
	d.key += int64(d.uvarint())
	d.levels(counts)
	return !d.bad
}

func (d *countsDecoder) levels(counts *LevelCounts) {
	if d.next == len(d.data) {
		d.bad = true
		return
	}
	mask := d.data[d.next]
	d.next++
	*counts = LevelCounts{}
	for ; mask != 0; mask &= mask - 1 {
		n := int64(d.uvarint())
		if rank := bits.TrailingZeros8(mask); d.ranks&(1<<rank) != 0 {
			counts[rank] = n
		}
	}
}

func (d *countsDecoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.data[d.next:])
	if n <= 0 {
		d.bad = true
		return 0
	}
	d.next += n
	return v
}

// A TimeRange is the times with Since <= t < Until, in Unix nanoseconds.
type TimeRange struct{ Since, Until int64 }

// Merge adds the stored counts of a segment, restricted to a set of levels and to a
// time range. Bit 1<<rank of ranks selects a level. If withoutTime is set, it also adds
// the entries without a readable time.
//
// Entries in stored buckets that are only partly in the range are not added: rest
// lists these parts, whose entries must be counted one by one. If ok is false,
// nothing was added, because the stored buckets are wider than those of c.
func (c *Counts) Merge(stored []byte, ranks uint8, within TimeRange, withoutTime bool) (rest []TimeRange, ok bool) {
	d, noTime := decodeCounts(stored, ranks)
	if rest = c.readStored(&d, within); d.bad || c.level < d.level {
		return nil, false
	}
	if withoutTime {
		c.NoTime.add(&noTime)
		c.Total.add(&noTime)
	}
	var into *LevelCounts
	end := int64(math.MinInt64) // of the bucket into
	for i := range c.stored {
		from, counts := c.stored[i].from, &c.stored[i].counts
		if from >= end {
			into = c.Bucket(from)
			end = nanos(c.key(from)+1, c.level)
		}
		into.add(counts)
		c.Total.add(counts)
	}
	return rest, true
}

// A storedBucket holds the counts of a stored bucket that are to be added.
type storedBucket struct {
	from   int64 // Unix nanoseconds
	counts LevelCounts
}

// readStored sets c.stored to the stored buckets that are in a time range, and returns the
// parts of those that are only partly in it. It widens the buckets of c as far as the
// stored ones certainly require. If they are then at least as wide as the stored ones,
// each stored bucket is in one bucket of c.
func (c *Counts) readStored(d *countsDecoder, within TimeRange) (rest []TimeRange) {
	c.stored = c.stored[:0]
	first, last := int64(math.MaxInt64), int64(math.MinInt64)
	var counts LevelCounts
	for d.bucket(&counts) {
		from, to := nanos(d.key, d.level), nanos(d.key+1, d.level)
		switch {
		case to <= within.Since || from >= within.Until || counts.Sum() == 0:
		case from < within.Since || to > within.Until:
			rest = append(rest, TimeRange{max(from, within.Since), min(to, within.Until)})
		default:
			c.stored = append(c.stored, storedBucket{from, counts})
			first, last = min(first, to-1), max(last, from)
		}
	}
	if first <= last && !d.bad {
		c.Cover(first, last) // the first bucket has a time up to first, the last one from last on
	}
	return rest
}

// add adds other to counts.
func (counts *LevelCounts) add(other *LevelCounts) {
	for rank, n := range other {
		counts[rank] += n
	}
}

// Sum returns the number of entries of all levels.
func (counts *LevelCounts) Sum() int64 {
	var sum int64
	for _, n := range counts {
		sum += n
	}
	return sum
}

// nanos returns the start of a bucket in Unix nanoseconds, or the nearest time that
// an int64 can represent.
func nanos(key int64, level int) int64 {
	seconds := epoch + key*steps[level]
	switch {
	case seconds < math.MinInt64/int64(1e9):
		return math.MinInt64
	case seconds > math.MaxInt64/int64(1e9):
		return math.MaxInt64
	}
	return seconds * 1e9
}
