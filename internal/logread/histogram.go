package logread

import (
	"strconv"
	"time"

	"log-ingester/internal/entry"
	"log-ingester/internal/summary"
)

// A histogram counts entries by time and level, for a response.
type histogram struct{ counts *summary.Counts }

// newHistogram returns an empty histogram for q. If q has a lower bound in time,
// the width of the buckets follows from the requested range, so that the buckets do
// not depend on the entries.
func newHistogram(q *query, now time.Time) *histogram {
	h := &histogram{summary.NewCounts(q.buckets)}
	if q.since > entry.MinTime {
		to := q.until - 1
		if q.until >= entry.MaxTime {
			to = max(q.since, now.UnixNano())
		}
		h.counts.Cover(q.since, to)
	}
	return h
}

// count is a countFunc. It counts an entry without a readable time in the total, but
// in no bucket.
func (h *histogram) count(level string, t int64, hasTime bool) {
	h.counts.Add(entry.LevelByName([]byte(level)), t, hasTime)
}

// appendJSON appends the response to a histogram request with the parameters q.
// Its fields since and until are the requested times, or else the bounds of the
// buckets.
func (h *histogram) appendJSON(dst []byte, q *query) []byte {
	from, to, ok := h.counts.Bounds()
	dst = append(dst, `{"since":`...)
	dst = appendBound(dst, q.since > entry.MinTime, q.since, from, ok)
	dst = append(dst, `,"until":`...)
	dst = appendBound(dst, q.until < entry.MaxTime, q.until, to, ok)
	dst = strconv.AppendInt(append(dst, `,"step":`...), h.counts.Step(), 10)
	dst = strconv.AppendInt(append(dst, `,"undated":`...), h.counts.NoTime.Sum(), 10)
	dst = append(dst, `,"levels":`...)
	dst = appendLevels(dst, &h.counts.Total)
	dst = append(dst, `,"buckets":[`...)
	for start, counts := range h.counts.Buckets {
		if dst[len(dst)-1] != '[' {
			dst = append(dst, ',')
		}
		dst = appendJSONTime(append(dst, "\n{\"time\":"...), start)
		dst = append(dst, `,"levels":`...)
		dst = append(appendLevels(dst, counts), '}')
	}
	return append(dst, "]}\n"...)
}

// appendBound appends the requested time, or else a bound of the buckets, or null if
// there are no buckets.
func appendBound(dst []byte, isRequested bool, requested int64, bound time.Time, hasBuckets bool) []byte {
	switch {
	case isRequested:
		return appendJSONTime(dst, time.Unix(0, requested))
	case hasBuckets:
		return appendJSONTime(dst, bound)
	default:
		return append(dst, "null"...)
	}
}

func appendJSONTime(dst []byte, t time.Time) []byte {
	return t.UTC().AppendFormat(dst, `"`+time.RFC3339Nano+`"`)
}

// appendLevels appends the counts that are not zero as an object, the most severe
// level first.
func appendLevels(dst []byte, counts *summary.LevelCounts) []byte {
	dst = append(dst, '{')
	for rank := entry.LevelUnknown; rank >= entry.LevelTrace; rank-- {
		if counts[rank] == 0 {
			continue
		}
		if dst[len(dst)-1] != '{' {
			dst = append(dst, ',')
		}
		dst = strconv.AppendQuote(dst, rank.String())
		dst = strconv.AppendInt(append(dst, ':'), counts[rank], 10)
	}
	return append(dst, '}')
}
