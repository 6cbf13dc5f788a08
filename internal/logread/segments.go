package logread

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"math"
	"math/bits"

	"log-ingester/internal/summary"
)

// segmentBatch is how many summaries one statement reads.
const segmentBatch = 32

// A segment is a stored summary.
type segment struct {
	summary.Segment
	number int64
	filter int64  // id of the first row of the filter
	counts []byte // nil if they are not known or not needed
}

// A segmentReader reads the summaries that a scan needs, in batches in the order of the
// query. If there are no summaries, it returns none.
type segmentReader struct {
	q     *query
	probe summary.Probe

	list, row *sql.Stmt // nil if the database has no summaries
	cache     []segment // the last batch
	low, high int64     // the batch has all summaries of the segments from low to high
}

// newSegmentReader returns a reader of the summaries that a scan for q needs. If ignore
// is set, it returns none.
func newSegmentReader(ctx context.Context, db *database, q *query, ignore bool) (*segmentReader, error) {
	r := &segmentReader{q: q, probe: q.probe(), low: math.MaxInt64, high: math.MinInt64}
	if ignore {
		return r, nil
	}
	check, err := db.statement(ctx, "SELECT "+summary.IsInstalled)
	if err != nil {
		return nil, err
	}
	var installed bool
	if err := check.QueryRowContext(ctx).Scan(&installed); err != nil || !installed {
		return r, err
	}
	first := "segment <= ?"
	if q.order == oldestFirst {
		first = "segment >= ?"
	}
	r.list, err = db.statement(ctx, "SELECT segment, filter, summary, counts FROM logs_segments"+
		" WHERE "+first+" AND filter IS NOT NULL AND "+summary.IsInstalled+
		" ORDER BY segment "+string(q.order)+" LIMIT ?")
	if err != nil {
		return nil, err
	}
	r.row, err = db.statement(ctx, "SELECT substr(bits, ?, 8) FROM logs_filters WHERE id = ?")
	return r, err
}

// find returns the summary of a segment, or nil.
func (r *segmentReader) find(ctx context.Context, number int64) (*segment, error) {
	if r.list == nil {
		return nil, nil
	}
	if number < r.low || number > r.high {
		if err := r.readBatch(ctx, number); err != nil {
			return nil, err
		}
	}
	for i := range r.cache {
		if r.cache[i].number == number {
			return &r.cache[i], nil
		}
	}
	return nil, nil
}

// readBatch reads the summaries of the segments from number on, in the order of the query.
func (r *segmentReader) readBatch(ctx context.Context, number int64) error {
	rows, err := r.list.QueryContext(ctx, number, segmentBatch)
	if err != nil {
		return err
	}
	defer rows.Close()
	end := &r.low
	r.cache, r.low, r.high = r.cache[:0], math.MinInt64, number
	if r.q.order == oldestFirst {
		end = &r.high
		r.low, r.high = number, math.MaxInt64
	}
	n := 0
	for rows.Next() {
		var s segment
		var encoded, counts sql.RawBytes
		if err := rows.Scan(&s.number, &s.filter, &encoded, &counts); err != nil {
			return err
		}
		if n++; n == segmentBatch {
			*end = s.number
		}
		if !s.Decode(encoded) {
			continue // a summary that cannot be read is as good as none
		}
		if counts != nil && r.q.hasCounts() {
			s.counts = append([]byte{}, counts...)
		}
		r.cache = append(r.cache, s)
	}
	return errors.Join(rows.Err(), rows.Close())
}

// candidates returns the blocks of s that can contain entries that match the query, as
// a bit mask. It includes the blocks that the summary does not cover.
func (r *segmentReader) candidates(ctx context.Context, s *segment) (uint64, error) {
	blocks := s.Covered()
	if r.q.hasTimeRange {
		blocks &= s.WithTimes(r.q.times())
	}
	if r.q.selectsLevels() {
		blocks &= s.WithLevels(r.q.rankSet())
	}
	if blocks != 0 && !r.probe.IsEmpty() {
		var err error
		blocks, err = r.probe.Match(&s.Segment, blocks, func(position uint32) (uint64, error) {
			return r.filterRow(ctx, s, position)
		})
		if err != nil {
			return 0, err
		}
	}
	return blocks | ^s.Covered(), nil
}

// filterRow reads the row of a position of the filter of s. If the filter was replaced
// since s was read, any block can match.
func (r *segmentReader) filterRow(ctx context.Context, s *segment, position uint32) (uint64, error) {
	page, offset := s.RowOf(position)
	var row sql.RawBytes
	rows, err := r.row.QueryContext(ctx, offset+1, s.filter+page)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	result := uint64(math.MaxUint64)
	if rows.Next() {
		if err := rows.Scan(&row); err != nil {
			return 0, err
		}
		if len(row) == 8 {
			result = binary.LittleEndian.Uint64(row)
		}
	}
	return result, errors.Join(rows.Err(), rows.Close())
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
