package logread

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"log-ingester/internal/entry"
)

// histogramSteps are the possible widths of a histogram's buckets, in seconds.
// Each is a multiple of the previous one, so that buckets can be merged. The last
// step is wider than the int64 nanosecond range.
var histogramSteps = [...]int64{1, 5, 15, 60, 300, 900, 3600, 3 * 3600, 12 * 3600,
	86400, 7 * 86400, 28 * 86400, 364 * 86400, 3640 * 86400, 36400 * 86400, 8 * 36400 * 86400}

// histogramEpoch is the Unix second that buckets are aligned to. It precedes
// every representable time, so that one bucket of the last step covers all of
// them. It is a multiple of each narrower step.
const histogramEpoch = -4 * 36400 * 86400

// A histogram counts entries by time and level. It starts with the narrowest
// buckets, and widens them when there would be too many.
type histogram struct {
	limit       int64                  // of buckets from first to last, with empty ones
	steps       []int64                // the current step and all wider ones, in seconds
	buckets     map[int64]*levelCounts // by steps since histogramEpoch
	first, last int64                  // lowest and highest key in buckets
	total       levelCounts
	noTime      int64 // entries without a readable time
}

// levelCounts holds the number of entries of each level.
type levelCounts [entry.LevelUnknown + 1]int64

// newHistogram returns an empty histogram for q. If q has a lower bound in time,
// the step follows from the requested range, so that the buckets do not depend on
// the entries.
func newHistogram(q *query, now time.Time) *histogram {
	h := &histogram{
		limit:   int64(q.buckets),
		steps:   histogramSteps[:],
		buckets: make(map[int64]*levelCounts),
		first:   math.MaxInt64,
		last:    math.MinInt64,
	}
	if q.since > entry.MinTime {
		to := q.until - 1
		if q.until >= entry.MaxTime {
			to = max(q.since, now.UnixNano())
		}
		h.cover(q.since, to)
	}
	return h
}

// count is a countFunc. It counts an entry without a readable time in total and
// noTime, but in no bucket.
func (h *histogram) count(level string, t int64, hasTime bool) {
	rank := entry.LevelByName([]byte(level))
	h.total[rank]++
	if !hasTime {
		h.noTime++
		return
	}
	h.bucket(t)[rank]++
}

// bucket returns the bucket of the time t, in Unix nanoseconds, and adds it if it
// is missing.
func (h *histogram) bucket(t int64) *levelCounts {
	h.cover(t, t)
	key := h.key(t)
	h.first, h.last = min(h.first, key), max(h.last, key)
	counts := h.buckets[key]
	if counts == nil {
		counts = new(levelCounts)
		h.buckets[key] = counts
	}
	return counts
}

// cover widens the buckets until at most h.limit of them cover the existing
// buckets and the times from and to.
func (h *histogram) cover(from, to int64) {
	for len(h.steps) > 1 {
		if max(h.last, h.key(to))-min(h.first, h.key(from)) < h.limit {
			return
		}
		h.widen()
	}
}

// widen merges the buckets into those of the next step.
func (h *histogram) widen() {
	factor := h.steps[1] / h.steps[0]
	h.steps = h.steps[1:]
	merged := make(map[int64]*levelCounts)
	for key, counts := range h.buckets {
		into := merged[key/factor]
		if into == nil {
			merged[key/factor] = counts
			continue
		}
		for rank, n := range counts {
			into[rank] += n
		}
	}
	if len(merged) > 0 {
		h.first, h.last = h.first/factor, h.last/factor
	}
	h.buckets = merged
}

// key returns the key of the bucket for t, in Unix nanoseconds.
func (h *histogram) key(t int64) int64 {
	return (time.Unix(0, t).Unix() - histogramEpoch) / h.steps[0]
}

// startOf returns the start of the bucket with a key.
func (h *histogram) startOf(key int64) time.Time {
	return time.Unix(histogramEpoch+key*h.steps[0], 0)
}

// appendJSON appends the response to a histogram request with the parameters q.
// Its fields since and until are the requested times, or else the bounds of the
// buckets.
func (h *histogram) appendJSON(dst []byte, q *query) []byte {
	dst = append(dst, `{"since":`...)
	dst = h.appendBound(dst, q.since > entry.MinTime, q.since, h.first)
	dst = append(dst, `,"until":`...)
	dst = h.appendBound(dst, q.until < entry.MaxTime, q.until, h.last+1)
	dst = strconv.AppendInt(append(dst, `,"step":`...), h.steps[0], 10)
	dst = strconv.AppendInt(append(dst, `,"undated":`...), h.noTime, 10)
	dst = append(dst, `,"levels":`...)
	dst = h.total.appendJSON(dst)
	dst = append(dst, `,"buckets":[`...)
	for i, key := range slices.Sorted(maps.Keys(h.buckets)) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendJSONTime(append(dst, "\n{\"time\":"...), h.startOf(key))
		dst = append(dst, `,"levels":`...)
		dst = append(h.buckets[key].appendJSON(dst), '}')
	}
	return append(dst, "]}\n"...)
}

// appendBound appends the requested time, or else the start of the bucket with a
// key, or null if there are no buckets.
func (h *histogram) appendBound(dst []byte, isRequested bool, requested, key int64) []byte {
	switch {
	case isRequested:
		return appendJSONTime(dst, time.Unix(0, requested))
	case len(h.buckets) > 0:
		return appendJSONTime(dst, h.startOf(key))
	default:
		return append(dst, "null"...)
	}
}

func appendJSONTime(dst []byte, t time.Time) []byte {
	return t.UTC().AppendFormat(dst, `"`+time.RFC3339Nano+`"`)
}

// appendJSON appends the counts that are not zero as an object, the most severe
// level first.
func (c *levelCounts) appendJSON(dst []byte) []byte {
	dst = append(dst, '{')
	for rank := entry.LevelUnknown; rank >= entry.LevelTrace; rank-- {
		if c[rank] == 0 {
			continue
		}
		if dst[len(dst)-1] != '{' {
			dst = append(dst, ',')
		}
		dst = strconv.AppendQuote(dst, rank.String())
		dst = strconv.AppendInt(append(dst, ':'), c[rank], 10)
	}
	return append(dst, '}')
}
