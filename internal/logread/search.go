package logread

import (
	"context"
	"math"
	"time"

	"log-ingester/internal/summary"
)

// search adds the first q.limit entries that match q to dst, in the order of q.
func (s *scanner) search(ctx context.Context, l *lease, q *query, dst *partWriter) error {
	return s.run(ctx, l, 0, func(ctx context.Context) (err error) {
		if q.hasAround {
			if q, err = s.centre(ctx, l, q); err != nil {
				return err
			}
		}
		f := &fetcher{db: s.db, large: s.large, lease: l, dst: dst}
		if q.matchesAll() {
			return f.fetchRange(ctx, q)
		}
		left := q.limit
		return s.eachGroup(ctx, l, q, func(ctx context.Context, ids []int64) (enough bool, err error) {
			n, err := f.fetch(ctx, ids[:min(left, len(ids))], q.order)
			left -= n
			return left == 0, err
		})
	})
}

// centre returns the query, newest first, for the entries around q.around: up to
// (q.limit-1)/2 with a higher id, and below these as many as the limit leaves if all of
// them exist. The entries with a higher id are counted first, so that the response needs
// no more memory than that of any other search.
func (s *scanner) centre(ctx context.Context, l *lease, q *query) (*query, error) {
	newer := *q
	newer.hasAround, newer.after, newer.order, newer.limit = false, q.around, oldestFirst, (q.limit-1)/2
	n, last, err := s.countTo(ctx, l, &newer)
	if err != nil {
		return nil, err
	}
	result := *q
	result.hasAround, result.limit = false, q.limit-newer.limit+n
	result.before = max(last, last+1) // last+1 can overflow
	return &result, nil
}

// countTo returns how many of the first q.limit entries that match q there are, and the
// id of the last one. If there is none, it returns q.after. q must be in ascending order.
func (s *scanner) countTo(ctx context.Context, l *lease, q *query) (n int, last int64, err error) {
	last = q.after
	if q.limit == 0 {
		return 0, last, nil
	}
	if q.matchesAll() {
		stmt, err := s.db.statement(ctx, "SELECT count(*), ifnull(max(id), ?1)"+
			" FROM (SELECT id FROM logs WHERE id > ?1 ORDER BY id LIMIT ?2)")
		if err != nil {
			return 0, 0, err
		}
		err = stmt.QueryRowContext(ctx, q.after, q.limit).Scan(&n, &last)
		return n, last, err
	}
	err = s.eachGroup(ctx, l, q, func(_ context.Context, ids []int64) (enough bool, err error) {
		ids = ids[:min(len(ids), q.limit-n)]
		n, last = n+len(ids), ids[len(ids)-1]
		return n == q.limit, nil
	})
	return n, last, err
}

// eachGroup calls visit with the ids of the entries that match q, at most q.limit and
// maxFetch at a time, in the order of q, until visit returns enough. visit must not keep
// ids.
func (s *scanner) eachGroup(
	ctx context.Context, l *lease, q *query, visit func(ctx context.Context, ids []int64) (enough bool, err error),
) error {
	var ids []int64
	return s.scan(ctx, l, &scan{q: q, blockDone: func(ctx context.Context, found *idSet) (enough bool, err error) {
		for last := q.order.start(); ; last = ids[len(ids)-1] {
			ids = found.appendAfter(ids[:0], last, min(q.limit, maxFetch), q.order)
			if len(ids) == 0 {
				return false, nil
			}
			if enough, err := visit(ctx, ids); enough || err != nil {
				return enough, err
			}
		}
	}})
}

// newest returns the ids of the newest entries that match q, newest first, and at
// most q.limit of them. It must be called in run.
func (s *scanner) newest(ctx context.Context, l *lease, q *query) (ids []int64, err error) {
	if q.matchesAll() {
		return s.newestOfAll(ctx, q)
	}
	err = s.scan(ctx, l, &scan{q: q, blockDone: func(_ context.Context, found *idSet) (enough bool, err error) {
		ids = found.appendBelow(ids, math.MaxInt64, q.limit-len(ids))
		return len(ids) == q.limit, nil
	}})
	return ids, err
}

// newestOfAll is newest for a query that matches every entry.
func (s *scanner) newestOfAll(ctx context.Context, q *query) (ids []int64, err error) {
	stmt, err := s.db.statement(ctx, "SELECT id FROM logs WHERE id < ? AND id > ? ORDER BY id DESC LIMIT ?")
	if err != nil {
		return nil, err
	}
	rows, err := stmt.QueryContext(ctx, q.before, q.after, q.limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close() // has no effect after the last row
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// count calls count for every entry that matches q, except for those that it adds to
// counts from summaries. counts may be nil.
func (s *scanner) count(ctx context.Context, l *lease, q *query, count countFunc, counts *summary.Counts) error {
	return s.run(ctx, l, 0, func(ctx context.Context) error {
		return s.scan(ctx, l, &scan{q: q, count: count, counts: counts})
	})
}

// each passes v every entry that matches q, in parts from newest to oldest and in
// ascending order within a part. It ends after the part after which enough returns
// true.
func (s *scanner) each(ctx context.Context, l *lease, q *query, v visitor, enough func() bool) error {
	return s.run(ctx, l, 0, func(ctx context.Context) error {
		partDone := func(context.Context, *idSet) (bool, error) { return enough(), nil }
		return s.scan(ctx, l, &scan{q: q, each: &v, blockDone: partDone})
	})
}

// run calls scan with a slot and a context that is done when ctx is done or the
// scan has taken too long. It returns the cause if the context ended the scan. It
// releases the slot. If patience is not 0, it returns errNoSlot if no slot is free
// for that long.
func (s *scanner) run(
	ctx context.Context, l *lease, patience time.Duration, scan func(context.Context) error,
) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	l.timer = newPausedTimer(s.timeout, func() { cancel(errScanTimeout) })
	defer l.timer.stop()

	err := l.acquireFirst(ctx, patience)
	if err == nil {
		defer l.release()
		err = scan(ctx)
	}
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
