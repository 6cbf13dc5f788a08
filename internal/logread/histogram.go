package logread

import (
	"log-ingester/internal/entry"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// histogramSteps are the widths that a histogram's buckets can have, in
// seconds. Each is a multiple of those before it, so that buckets can be merged.
// The last is wider than all the time that 64 bits can tell.
var histogramSteps = [...]int64{1, 5, 15, 60, 300, 900, 3600, 3 * 3600, 12 * 3600,
	86400, 7 * 86400, 28 * 86400, 364 * 86400, 3640 * 86400, 36400 * 86400, 8 * 36400 * 86400}

// histogramBegin is where buckets are counted from, in Unix seconds: before all
// time, so that a bucket of the last step holds all of it, and a multiple of the
// other steps.
const histogramBegin = -4 * 36400 * 86400

// A histogram counts entries by time and level. Its buckets begin at multiples
// of its step, and become wider when there would be too many of them.
type histogram struct {
	most        int64                  // buckets from the first to the last
	steps       []int64                // the step and those that are wider, in seconds
	buckets     map[int64]*levelCounts // by the steps since histogramBegin
	first, last int64                  // keys of buckets
	total       levelCounts
	undated     int64
}

// levelCounts holds how many entries there are of each level.
type levelCounts [entry.LevelUnknown + 1]int64

func newHistogram(most int) *histogram {
	return &histogram{
		most:    int64(most),
		steps:   histogramSteps[:],
		buckets: make(map[int64]*levelCounts),
		first:   math.MaxInt64,
		last:    math.MinInt64,
	}
}

// count adds an entry. Without a readable time it counts in the total only.
func (h *histogram) count(level string, t int64, dated bool) {
	rank := entry.LevelByName([]byte(level))
	h.total[rank]++
	if !dated {
		h.undated++
		return
	}
	counts := h.bucket(t)
	counts[rank]++
}

// bucket returns the bucket that the time t, in Unix nanoseconds, falls into,
// and makes room for it.
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

// cover widens the buckets until no more than most reach over all that there
// is and from one time to another.
func (h *histogram) cover(from, to int64) {
	for len(h.steps) > 1 {
		if max(h.last, h.key(to))-min(h.first, h.key(from)) < h.most {
			return
		}
		times := h.steps[1] / h.steps[0]
		h.steps = h.steps[1:]
		merged := make(map[int64]*levelCounts)
		for key, counts := range h.buckets {
			into := merged[key/times]
			if into == nil {
				merged[key/times] = counts
				continue
			}
			for rank, n := range counts {
				into[rank] += n
			}
		}
		if len(merged) > 0 {
			h.first, h.last = h.first/times, h.last/times
		}
		h.buckets = merged
	}
}

// key returns the key of the bucket for t, in Unix nanoseconds.
func (h *histogram) key(t int64) int64 {
	return (time.Unix(0, t).Unix() - histogramBegin) / h.steps[0]
}

// begin returns when the bucket of a key begins.
func (h *histogram) begin(key int64) time.Time {
	return time.Unix(histogramBegin+key*h.steps[0], 0)
}

// appendJSON appends the answer of /logs/histogram.
func (h *histogram) appendJSON(dst []byte, q *logQuery) []byte {
	dst = append(dst, `{"since":`...)
	switch {
	case q.since > entry.MinTime:
		dst = appendJSONTime(dst, time.Unix(0, q.since))
	case len(h.buckets) > 0:
		dst = appendJSONTime(dst, h.begin(h.first))
	default:
		dst = append(dst, "null"...)
	}
	dst = append(dst, `,"until":`...)
	switch {
	case q.until < entry.MaxTime:
		dst = appendJSONTime(dst, time.Unix(0, q.until))
	case len(h.buckets) > 0:
		dst = appendJSONTime(dst, h.begin(h.last+1))
	default:
		dst = append(dst, "null"...)
	}
	dst = strconv.AppendInt(append(dst, `,"step":`...), h.steps[0], 10)
	dst = strconv.AppendInt(append(dst, `,"undated":`...), h.undated, 10)
	dst = append(dst, `,"levels":`...)
	dst = h.total.appendJSON(dst)
	dst = append(dst, `,"buckets":[`...)
	for i, key := range slices.Sorted(maps.Keys(h.buckets)) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendJSONTime(append(dst, "\n{\"time\":"...), h.begin(key))
		dst = append(dst, `,"levels":`...)
		dst = append(h.buckets[key].appendJSON(dst), '}')
	}
	return append(dst, "]}\n"...)
}

func appendJSONTime(dst []byte, t time.Time) []byte {
	return t.UTC().AppendFormat(dst, `"`+time.RFC3339Nano+`"`)
}

// appendJSON appends the counts that are not zero as an object, the gravest
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

// ServeHistogram answers GET /logs/histogram: how many entries the filters
// find, by time and level.
func (r *Reader) ServeHistogram(w http.ResponseWriter, req *http.Request) {
	now := time.Now()
	q, number, ok := r.begin(w, req, now, "before", "after", "buckets")
	if !ok {
		return
	}
	defer func() { r.reads <- number }()

	h := newHistogram(q.buckets)
	if q.since > entry.MinTime {
		// Known beforehand, the range gives the same buckets however many
		// entries there are.
		to := q.until - 1
		if q.until >= entry.MaxTime {
			to = max(q.since, now.UnixNano())
		}
		h.cover(q.since, to)
	}
	q.limit = math.MaxInt
	if err := r.scan(req.Context(), number, q, logSink{count: h.count}); err != nil {
		r.refuseFailed(w, req, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(h.appendJSON(nil, q)) // a client that has gone needs no answer
}
