package logread

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"time"

	"log-ingester/internal/summary"
)

// A statement reads from minSegmentBatch to maxSegmentBatch summaries: few at first,
// because the first segments often have enough matches, and then twice as many each time.
const (
	minSegmentBatch = 4
	maxSegmentBatch = 64
)

// offsetBits is how many bits of a number hold the offset in a row of logs_filters, which
// has at most 8,000 bytes. The other bits hold the id of the row.
const offsetBits = 13

// A segment is a stored summary.
type segment struct {
	summary.Segment
	number     int64
	filter     int64  // id of the first row of the filter
	counts     []byte // nil if they are not known or not needed
	candidates uint64 // the blocks that can contain entries that match the query
}

// A segmentReader reads the summaries that a scan needs, in batches in the order of the
// query. If there are no summaries, it returns none.
type segmentReader struct {
	q     *query
	probe summary.Probe

	list, rows *sql.Stmt // nil if the database has no summaries
	batchSize  int
	batch      []segment
	low, high  int64 // the batch has all summaries of the segments from low to high
}

// newSegmentReader returns a reader of the summaries that a scan for q needs, with their
// counts if withCounts is set.
func newSegmentReader(ctx context.Context, db *database, q *query, withCounts bool) (*segmentReader, error) {
	r := &segmentReader{q: q, probe: q.probe(), batchSize: minSegmentBatch, low: math.MaxInt64, high: math.MinInt64}
	check, err := db.statement(ctx, "SELECT "+summary.IsInstalled)
	if err != nil {
		return nil, err
	}
	var installed bool
	if err := check.QueryRowContext(ctx).Scan(&installed); err != nil || !installed {
		return r, err
	}
	first, counts := "segment <= ?", "NULL"
	if q.order == oldestFirst {
		first = "segment >= ?"
	}
	if withCounts {
		counts = "counts"
	}
	r.list, err = db.statement(ctx, "SELECT segment, filter, summary, "+counts+" FROM logs_segments"+
		" WHERE "+first+" AND filter IS NOT NULL AND "+summary.IsInstalled+
		" ORDER BY segment "+string(q.order)+" LIMIT ?")
	if err != nil {
		return nil, err
	}
	r.rows, err = db.statement(ctx, fmt.Sprintf("SELECT key, substr(bits, (value & %d) + 1, 8)"+
		" FROM json_each(?) CROSS JOIN logs_filters AS f ON f.id = value >> %d", 1<<offsetBits-1, offsetBits))
	return r, err
}

// find returns the summary of a segment, or nil.
func (r *segmentReader) find(ctx context.Context, number int64) (*segment, error) {
	if r.list == nil {
		return nil, nil
	}
	if number < r.low || number > r.high {
		start := time.Now()
		if err := r.readBatch(ctx, number); err != nil {
			return nil, err
		}
		if err := r.findCandidates(ctx); err != nil {
			return nil, err
		}
		r.batchSize = min(2*r.batchSize, maxSegmentBatch)
		if time.Since(start) > stepTime {
			r.batchSize = minSegmentBatch // so that no statement takes long on a slow disk
		}
	}
	for i := range r.batch {
		if r.batch[i].number == number {
			return &r.batch[i], nil
		}
	}
	return nil, nil
}

// readBatch reads the summaries of the segments from number on, in the order of the query.
func (r *segmentReader) readBatch(ctx context.Context, number int64) error {
	rows, err := r.list.QueryContext(ctx, number, r.batchSize)
	if err != nil {
		return err
	}
	defer rows.Close()
	end := &r.low
	r.batch, r.low, r.high = r.batch[:0], math.MinInt64, number
	if r.q.order == oldestFirst {
		end = &r.high
		r.low, r.high = number, math.MaxInt64
	}
	n := 0
	for rows.Next() {
		r.batch = append(r.batch, segment{})
		s := &r.batch[len(r.batch)-1]
		var encoded, counts sql.RawBytes
		if err := rows.Scan(&s.number, &s.filter, &encoded, &counts); err != nil {
			return err
		}
		if n++; n == r.batchSize {
			*end = s.number
		}
		s.counts = slices.Clone(counts)
		if !s.Decode(encoded) {
			r.batch = r.batch[:len(r.batch)-1] // a summary that cannot be read is as good as none
		}
	}
	return errors.Join(rows.Err(), rows.Close())
}

// findCandidates finds the candidates of the segments of the batch. They include the
// blocks that the summaries do not cover.
func (r *segmentReader) findCandidates(ctx context.Context) error {
	segments, blocks := make([]*summary.Segment, len(r.batch)), make([]uint64, len(r.batch))
	for i := range r.batch {
		s := &r.batch[i]
		segments[i], blocks[i] = &s.Segment, s.Covered()
		if r.q.hasTimeRange {
			blocks[i] &= s.WithTimes(r.q.times())
		}
		if r.q.selectsLevels() {
			blocks[i] &= s.WithLevels(r.q.rankSet())
		}
	}
	err := r.probe.Match(segments, blocks, func(position uint32, rows []uint64) error {
		return r.readRows(ctx, position, rows)
	})
	for i := range r.batch {
		r.batch[i].candidates = blocks[i] | ^r.batch[i].Covered()
	}
	return err
}

// readRows is a summary.RowReader for the segments of the batch. If the filter of a segment
// was replaced since the segment was read, its row is not known.
func (r *segmentReader) readRows(ctx context.Context, position uint32, rows []uint64) error {
	var indexes []int
	list := []byte{'['}
	for i, row := range rows {
		if row == 0 {
			continue
		}
		rows[i] = math.MaxUint64
		page, offset := r.batch[i].RowOf(position)
		list = append(strconv.AppendInt(list, (r.batch[i].filter+page)<<offsetBits|offset, 10), ',')
		indexes = append(indexes, i)
	}
	if len(indexes) == 0 {
		return nil
	}
	list[len(list)-1] = ']'
	found, err := r.rows.QueryContext(ctx, string(list))
	if err != nil {
		return err
	}
	defer found.Close()
	for found.Next() {
		var key int
		var row sql.RawBytes
		if err := found.Scan(&key, &row); err != nil {
			return err
		}
		if len(row) == 8 {
			rows[indexes[key]] = binary.LittleEndian.Uint64(row)
		}
	}
	return errors.Join(found.Err(), found.Close())
}

// An idRange is the ids with first <= id <= last.
type idRange struct{ first, last int64 }

// start returns the first id of r in an order.
func (r idRange) start(order order) int64 {
	if order == oldestFirst {
		return r.first
	}
	return r.last
}

// within returns the ids of r from first to last.
func (r idRange) within(first, last int64) idRange {
	return idRange{max(r.first, first), min(r.last, last)}
}

// maxRunBlocks is how many blocks of a segment a scan visits at a time. A search that
// finds enough entries does not visit further blocks.
const maxRunBlocks = 8

// runs returns the ids in s of the given blocks that are also in within, in descending
// order.
func (s *segment) runs(blocks uint64, within idRange) []idRange {
	var runs []idRange
	for blocks != 0 {
		last := bits.Len64(blocks) - 1
		first := last
		for first > 0 && last-first+1 < maxRunBlocks && blocks&(1<<(first-1)) != 0 {
			first--
		}
		blocks &= 1<<first - 1
		run := idRange{
			max(within.first, summary.FirstID(s.number, first)),
			min(within.last, summary.FirstID(s.number, last+1)-1),
		}
		if run.first <= run.last {
			runs = append(runs, run)
		}
	}
	return runs
}
