package logread

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"log-ingester/internal/entry"
	"log-ingester/internal/httpapi"
)

const (
	maxKinds   = 10_000
	sparkSlots = 24

	// maxKindLevel is how many bytes of a level distinguish kinds.
	maxKindLevel = 64
)

// A kind counts the entries with one level and one pattern.
type kind struct {
	level, pattern string
	count          int64
	first, last    int64 // times, if hasTime
	hasTime        bool
	lastID         int64
	spark          [sparkSlots]uint32
}

// A kindCounter counts entries by kind. At most maxKinds kinds are distinguished, so
// its memory is bounded.
type kindCounter struct {
	kinds       []kind
	index       map[string]int // in kinds, by level, NUL and pattern
	entries     int64
	other       int64 // entries of kinds beyond maxKinds
	first, last int64 // times of all entries, if hasTime
	hasTime     bool
	spark       sparkScale
	key         []byte
}

// newKindCounter returns an empty counter. The spark slots divide the time range
// from the Unix nanosecond from to to. If from is not below to, they cover all
// entries.
func newKindCounter(from, to int64) *kindCounter {
	return &kindCounter{index: make(map[string]int), spark: newSparkScale(from, to)}
}

// add counts an entry. It keeps no part of e.
func (c *kindCounter) add(e *visitedEntry) {
	c.entries++
	if e.hasTime {
		if !c.hasTime {
			c.first, c.last = e.t, e.t
		}
		c.first, c.last, c.hasTime = min(c.first, e.t), max(c.last, e.t), true
	}
	level := strings.ToValidUTF8(e.level[:runeCut(e.level, maxKindLevel)], "\uFFFD")
	c.key = append(append(c.key[:0], level...), 0)
	c.key = appendPattern(c.key, e.message)
	i, ok := c.index[string(c.key)]
	if !ok {
		if len(c.kinds) == maxKinds {
			c.other++
			return
		}
		key := string(c.key)
		i = len(c.kinds)
		c.index[key] = i
		c.kinds = append(c.kinds, kind{level: key[:len(level)], pattern: key[len(level)+1:]})
	}
	k := &c.kinds[i]
	k.count++
	k.lastID = max(k.lastID, e.id)
	if !e.hasTime {
		return
	}
	if !k.hasTime {
		k.first, k.last = e.t, e.t
	}
	k.first, k.last, k.hasTime = min(k.first, e.t), max(k.last, e.t), true
	if slot, ok := c.sparkSlot(e.t); ok {
		k.spark[slot]++
	}
}

// sparkSlot returns the slot of a time, after it has widened the slots if necessary.
func (c *kindCounter) sparkSlot(t int64) (slot int, ok bool) {
	second := time.Unix(0, t).Unix()
	for !c.spark.covers(second) {
		if c.spark.isFixed {
			return 0, false
		}
		shift := c.spark.widen(second)
		for i := range c.kinds {
			mergeSlots(&c.kinds[i].spark, shift)
		}
	}
	return int((second - c.spark.from) / c.spark.step), true
}

// A sparkScale divides a time range into sparkSlots slots. Times are in Unix seconds,
// so that a range that includes all times does not overflow.
type sparkScale struct {
	from, step int64 // step is 0 if there is no range yet
	isFixed    bool
}

// newSparkScale returns a fixed scale from one Unix nanosecond to another, or one that
// widens if from is not below to.
func newSparkScale(from, to int64) sparkScale {
	if from >= to {
		return sparkScale{}
	}
	first, last := time.Unix(0, from).Unix(), time.Unix(0, to-1).Unix()
	return sparkScale{from: first, step: (last-first)/sparkSlots + 1, isFixed: true}
}

func (s *sparkScale) covers(second int64) bool {
	return second >= s.from && (second-s.from) < s.step*sparkSlots
}

// widen doubles the width of the slots towards a time. It returns the slot that the
// previous first slot is merged into.
func (s *sparkScale) widen(second int64) (shift int) {
	if s.step == 0 {
		s.from, s.step = second-sparkSlots/2, 1
		return 0
	}
	if second < s.from {
		s.from -= s.step * sparkSlots
		shift = sparkSlots / 2
	}
	s.step *= 2
	return shift
}

// mergeSlots merges each two slots, and moves them to start at the slot shift.
func mergeSlots(spark *[sparkSlots]uint32, shift int) {
	var merged [sparkSlots]uint32
	for i, n := range spark {
		merged[i/2+shift] += n
	}
	*spark = merged
}

// appendJSON appends the response of /logs/kinds with at most limit kinds, the most
// frequent first.
func (c *kindCounter) appendJSON(dst []byte, limit int) []byte {
	slices.SortFunc(c.kinds, func(a, b kind) int {
		return cmp.Or(cmp.Compare(b.count, a.count), cmp.Compare(b.lastID, a.lastID))
	})
	dst = strconv.AppendInt(append(dst, `{"entries":`...), c.entries, 10)
	dst = strconv.AppendInt(append(dst, `,"other":`...), c.other, 10)
	dst = appendTimeOrNull(append(dst, `,"since":`...), c.first, c.hasTime)
	dst = appendTimeOrNull(append(dst, `,"until":`...), c.last, c.hasTime)
	dst = strconv.AppendInt(append(dst, `,"total":`...), int64(len(c.kinds)), 10)
	dst = append(dst, `,"kinds":[`...)
	for i := range c.kinds[:min(limit, len(c.kinds))] {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = c.kinds[i].appendJSON(append(dst, '\n'))
	}
	return append(dst, "]}\n"...)
}

func (k *kind) appendJSON(dst []byte) []byte {
	dst = entry.AppendQuoted(append(dst, `{"kind":`...), k.pattern)
	dst = entry.AppendQuoted(append(dst, `,"level":`...), k.level)
	dst = strconv.AppendInt(append(dst, `,"count":`...), k.count, 10)
	dst = appendTimeOrNull(append(dst, `,"first":`...), k.first, k.hasTime)
	dst = appendTimeOrNull(append(dst, `,"last":`...), k.last, k.hasTime)
	dst = strconv.AppendInt(append(dst, `,"last_id":`...), k.lastID, 10)
	dst = append(dst, `,"spark":[`...)
	for i, n := range k.spark {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendUint(dst, uint64(n), 10)
	}
	return append(dst, "]}"...)
}

func appendTimeOrNull(dst []byte, t int64, hasTime bool) []byte {
	if !hasTime {
		return append(dst, "null"...)
	}
	return appendJSONTime(dst, time.Unix(0, t))
}

// ServeKinds handles GET /logs/kinds: the matching entries, grouped by level and by
// the pattern of their messages.
func (r *Reader) ServeKinds(w http.ResponseWriter, req *http.Request) {
	rd, ok := r.startCount(w, req, time.Now(), "before", "after", "limit", "from", "to")
	if !ok {
		return
	}
	defer rd.close()

	c := newKindCounter(rd.query.from, rd.query.to)
	always := func() (enough bool) { return false }
	if err := r.scanner.each(rd.ctx, rd.lease, rd.query, visitor{visit: c.add}, always); err != nil {
		r.writeReadError(w, req, err)
		return
	}
	httpapi.SetJSON(w)
	w.Write(c.appendJSON(nil, rd.query.limit)) // a write error means that the client has disconnected
}
