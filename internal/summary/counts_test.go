package summary

import (
	"maps"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"log-ingester/internal/entry"
)

// A countedEntry is an entry as Counts sees it.
type countedEntry struct {
	level   entry.Level
	t       int64
	hasTime bool
}

// randomEntries returns entries within a random span, some without a time.
func randomEntries(r *rand.Rand) []countedEntry {
	span := int64(1) << r.IntN(62)
	base := r.Int64N(math.MaxInt64) - r.Int64N(math.MaxInt64)
	entries := make([]countedEntry, 1+r.IntN(300))
	for i := range entries {
		t := base/2 + r.Int64N(span)
		entries[i] = countedEntry{entry.LevelTrace + entry.Level(r.IntN(7)), t, r.IntN(20) > 0}
	}
	if r.IntN(5) == 0 {
		entries[0].t = entry.MinTime
		entries[len(entries)-1].t = entry.MaxTime
	}
	return entries
}

// Merging stored counts has the same result as counting each entry.
func TestCountsMerge(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	merged := 0
	for range 3000 {
		entries := randomEntries(r)
		stored := NewCounts(maxSegmentBuckets)
		for _, e := range entries {
			stored.Add(e.level, e.t, e.hasTime)
		}
		data := appendCounts(nil, stored)

		ranks := uint8(r.Uint32())
		within, hasRange := TimeRange{math.MinInt64, math.MaxInt64}, r.IntN(2) == 0
		if hasRange {
			a, b := entries[r.IntN(len(entries))].t, entries[r.IntN(len(entries))].t
			within = TimeRange{min(a, b), max(a, b) + int64(r.IntN(2))}
		}
		matches := func(e countedEntry) bool {
			return ranks&(1<<e.level) != 0 && (!hasRange || e.hasTime && within.Since <= e.t && e.t < within.Until)
		}

		limit := 1 + r.IntN(maxSegmentBuckets)
		want, got := NewCounts(limit), NewCounts(limit)
		for _, e := range entries {
			if matches(e) {
				want.Add(e.level, e.t, e.hasTime)
			}
		}
		rest, ok := got.Merge(data, ranks, within, !hasRange)
		if !ok {
			if got.Total != (LevelCounts{}) {
				t.Fatal("Merge returned false after it had added something")
			}
			continue
		}
		merged++
		for _, part := range rest {
			for _, e := range entries {
				if matches(e) && e.hasTime && part.Since <= e.t && e.t < part.Until {
					got.Add(e.level, e.t, true)
				}
			}
		}
		if len(rest) > 2 || got.Total != want.Total || got.NoTime != want.NoTime || got.Step() != want.Step() ||
			!maps.Equal(bucketsOf(got), bucketsOf(want)) {
			t.Fatalf("Merge of %v in %v, levels %b: got total %v in steps of %d s, want %v in steps of %d s",
				entries, within, ranks, got.Total, got.Step(), want.Total, want.Step())
		}
	}
	if merged < 500 {
		t.Errorf("Merge succeeded %d times, want at least 500", merged)
	}
}

func bucketsOf(c *Counts) map[time.Time]LevelCounts {
	buckets := make(map[time.Time]LevelCounts)
	for start, counts := range c.Buckets {
		buckets[start] = *counts
	}
	return buckets
}

// If no level and no range is selected, stored counts are always usable once the
// buckets cover the times of the segment.
func TestCountsMergeAll(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 1000 {
		entries := randomEntries(r)
		stored, got := NewCounts(maxSegmentBuckets), NewCounts(1+r.IntN(maxSegmentBuckets))
		span := emptySpan
		for _, e := range entries {
			stored.Add(e.level, e.t, e.hasTime)
			if e.hasTime {
				span.add(e.t)
			}
		}
		if span.first <= span.last {
			got.Cover(span.first, span.last)
		}
		all := TimeRange{math.MinInt64, math.MaxInt64}
		if rest, ok := got.Merge(appendCounts(nil, stored), math.MaxUint8, all, true); !ok || len(rest) > 0 {
			t.Fatalf("Merge of all = %v, %v, want no rest and true", rest, ok)
		}
		if got.Total.Sum() != int64(len(entries)) {
			t.Fatalf("got %d entries, want %d", got.Total.Sum(), len(entries))
		}
	}
}

// Adding counts has the same result as counting all entries, in any order.
func TestCountsAddAll(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	for range 1000 {
		limit := 1 + r.IntN(maxSegmentBuckets)
		want, got := NewCounts(limit), NewCounts(limit)
		part := got.Empty()
		for _, e := range randomEntries(r) {
			want.Add(e.level, e.t, e.hasTime)
			part.Add(e.level, e.t, e.hasTime)
			if r.IntN(50) == 0 {
				got.AddAll(part)
				part = got.Empty()
			}
		}
		got.AddAll(part)
		if got.Total != want.Total || got.NoTime != want.NoTime || got.Step() != want.Step() ||
			!maps.Equal(bucketsOf(got), bucketsOf(want)) {
			t.Fatalf("AddAll: got total %v in steps of %d s, want %v in steps of %d s", got.Total, got.Step(), want.Total, want.Step())
		}
	}
}

// Merge does not trust stored data.
func FuzzCountsMerge(f *testing.F) {
	c := NewCounts(maxSegmentBuckets)
	c.Add(entry.LevelError, 0, true)
	c.Add(entry.LevelWarn, 1e18, true)
	f.Add(appendCounts(nil, c), uint8(255), int64(0), int64(1e18))
	f.Fuzz(func(t *testing.T, data []byte, ranks uint8, since, until int64) {
		NewCounts(10).Merge(data, ranks, TimeRange{since, until}, true)
	})
}
