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
	maxKinds = 10_000
	// maxPartKinds is how many kinds a helper distinguishes in its part. The counters of
	// maxPending parts take about 2 MiB, and that of the request up to 8 MiB.
	maxPartKinds = 200
	sparkSlots   = 24

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

// A kindCounter counts entries by kind. At most limit kinds are distinguished, so its
// memory is bounded.
type kindCounter struct {
	limit       int
	kinds       []kind
	index       map[string]int // in kinds, by level, NUL and pattern
	entries     int64
	other       int64 // entries of kinds beyond limit
	first, last int64 // times of all entries, if hasTime
	hasTime     bool
	spark       sparkScale
	key         []byte
}

// newKindCounter returns an empty counter. The spark slots divide the time range
// from the Unix nanosecond from to to. If from is not below to, they cover all
// entries.
func newKindCounter(from, to int64) *kindCounter {
	return &kindCounter{limit: maxKinds, index: make(map[string]int), spark: newSparkScale(from, to)}
}

// fork is the method fork of a visitor.
func (c *kindCounter) fork() (visit func(*visitedEntry), merge func() bool) {
	part := &kindCounter{limit: maxPartKinds, index: make(map[string]int)}
	if c.spark.isFixed {
		part.spark = c.spark
	}
	return part.add, func() bool { return c.merge(part) }
}

// merge adds the counts of a part. It returns false, and adds nothing, if the part has
// too many kinds.
func (c *kindCounter) merge(part *kindCounter) bool {
	if part.other > 0 {
		return false
	}
	c.entries += part.entries
	if part.hasTime {
		c.addTimes(part.first, part.last)
	}
	for !c.spark.isFixed && c.spark.step < part.spark.step {
		c.widen(part.spark.from)
	}
	for i := range part.kinds {
		c.mergeKind(&part.kinds[i], &part.spark)
	}
	return true
}

// mergeKind adds the counts of a kind. Each of its slots must be within one slot of c,
// after c has widened them if necessary.
func (c *kindCounter) mergeKind(from *kind, scale *sparkScale) {
	c.key = append(append(append(c.key[:0], from.level...), 0), from.pattern...)
	k := c.find(len(from.level))
	if k == nil {
		c.other += from.count
		return
	}
	k.count += from.count
	k.lastID = max(k.lastID, from.lastID)
	if from.hasTime {
		k.addTimes(from.first, from.last)
	}
	for i, n := range from.spark {
		if n == 0 {
			continue
		}
		if slot, ok := c.sparkSlot(scale.start(i)); ok {
			k.spark[slot] += n
		}
	}
}

// addTimes extends the time range of the entries.
func (c *kindCounter) addTimes(first, last int64) {
	if !c.hasTime {
		c.first, c.last = first, last
	}
	c.first, c.last, c.hasTime = min(c.first, first), max(c.last, last), true
}

// addTimes extends the time range of the kind.
func (k *kind) addTimes(first, last int64) {
	if !k.hasTime {
		k.first, k.last = first, last
	}
	k.first, k.last, k.hasTime = min(k.first, first), max(k.last, last), true
}

// find returns the kind with the key c.key, whose level has a length of n bytes. It
// adds the kind if it is new. If there are too many kinds, it returns nil.
func (c *kindCounter) find(n int) *kind {
	i, ok := c.index[string(c.key)]
	if !ok {
		if len(c.kinds) == c.limit {
			return nil
		}
		key := string(c.key)
		i = len(c.kinds)
		c.index[key] = i
		c.kinds = append(c.kinds, kind{level: key[:n], pattern: key[n+1:]})
	}
	return &c.kinds[i]
}

// add counts an entry. It keeps no part of e.
func (c *kindCounter) add(e *visitedEntry) {
	c.entries++
	if e.hasTime {
		c.addTimes(e.t, e.t)
	}
	level := strings.ToValidUTF8(e.level[:runeCut(e.level, maxKindLevel)], "\uFFFD")
	c.key = append(append(c.key[:0], level...), 0)
	c.key = appendPattern(c.key, e.message)
	k := c.find(len(level))
	if k == nil {
		c.other++
		return
	}
	k.count++
	k.lastID = max(k.lastID, e.id)
	if !e.hasTime {
		return
	}
	k.addTimes(e.t, e.t)
	if slot, ok := c.sparkSlot(time.Unix(0, e.t).Unix()); ok {
		k.spark[slot]++
	}
}

// sparkSlot returns the slot of a second, after it has widened the slots if necessary.
func (c *kindCounter) sparkSlot(second int64) (slot int, ok bool) {
	for !c.spark.covers(second) {
		if c.spark.isFixed {
			return 0, false
		}
		c.widen(second)
	}
	return c.spark.slot(second), true
}

// widen doubles the width of the slots towards a second.
func (c *kindCounter) widen(second int64) {
	old := c.spark
	c.spark.widen(second)
	if old.step == 0 {
		return
	}
	for i := range c.kinds {
		var spark [sparkSlots]uint32
		for slot, n := range c.kinds[i].spark {
			spark[c.spark.slot(old.start(slot))] += n
		}
		c.kinds[i].spark = spark
	}
}

// A sparkScale divides a time range into sparkSlots slots. Times are in Unix seconds,
// so that a range that includes all times does not overflow. If the scale is not fixed,
// step is a power of two and divides from, so that each slot of one scale is within one
// slot of every scale with a larger step.
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

// slot returns the slot of a second that the scale covers, and start the first second
// of a slot.
func (s *sparkScale) slot(second int64) int { return int((second - s.from) / s.step) }
func (s *sparkScale) start(slot int) int64  { return s.from + int64(slot)*s.step }

// widen doubles the width of the slots towards a second. The scale still covers what it
// covered before.
func (s *sparkScale) widen(second int64) {
	if s.step == 0 {
		s.from, s.step = second-sparkSlots/2, 1
		return
	}
	end := s.start(sparkSlots)
	s.step *= 2
	if second < s.from {
		s.from = (end+s.step-1)&^(s.step-1) - s.step*sparkSlots
	} else {
		s.from &^= s.step - 1
	}
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
	never := func() (enough bool) { return false }
	if err := r.scanner.each(rd.ctx, rd.lease, rd.query, visitor{visit: c.add, fork: c.fork}, never); err != nil {
		r.writeReadError(w, req, err)
		return
	}
	httpapi.SetJSON(w)
	w.Write(c.appendJSON(nil, rd.query.limit)) // a write error means that the client has disconnected
}
