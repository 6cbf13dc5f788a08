package logread

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"slices"
	"strconv"
)

// noID is lower than the id of any entry.
const noID = math.MinInt64

// maxFetch limits how many entries one statement of a fetcher reads.
const maxFetch = 256

// A fetcher reads entries and adds them to a partWriter. It holds a slot while it
// reads, and none while a part is sent. The caller must hold the lease's slot.
type fetcher struct {
	db    *database
	large *largeEntries
	lease *lease
	dst   *partWriter
	work  work
	list  []byte // the argument of a statement, a JSON array of ids
}

// fetchRange adds the first q.limit entries with q.after < id < q.before, in the order
// of q. It ignores the filters.
func (f *fetcher) fetchRange(ctx context.Context, q *query) error {
	condition := " FROM logs WHERE id < ? AND id > ? ORDER BY id " + string(q.order) + " LIMIT ?"
	after, before := q.after, q.before
	next := &before // the bound that each added entry moves
	if q.order == oldestFirst {
		next = &after
	}
	for limit := q.limit; limit > 0; {
		n, last, stop, err := f.addRows(ctx, "SELECT "+rowColumns+condition, before, after, limit)
		if err != nil || stop == stopEnd {
			return err
		}
		limit -= n
		if n > 0 {
			*next = last
		}
		if stop == stopLarge {
			added, id, err := f.addFirst(ctx, "SELECT id"+condition, before, after, 1)
			if err != nil || id == noID {
				return err
			}
			limit -= added
			*next = id
		}
	}
	return nil
}

// fetch adds the entries with the given ids, which must be in the given order. It
// returns how many there were.
func (f *fetcher) fetch(ctx context.Context, ids []int64, order order) (n int, err error) {
	for len(ids) > 0 && err == nil {
		group := ids[:min(len(ids), maxFetch)]
		ids = ids[len(group):]
		for len(group) > 0 && err == nil {
			var added int
			added, group, err = f.fetchGroup(ctx, group, order)
			n += added
		}
	}
	return n, err
}

// fetchGroup adds the first of the entries with the given ids, at least one if there
// is any. It returns how many it has added, and the ids of the others.
func (f *fetcher) fetchGroup(ctx context.Context, ids []int64, order order) (n int, rest []int64, err error) {
	condition := " FROM logs WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id " + string(order)
	n, last, stop, err := f.addRows(ctx, "SELECT "+rowColumns+condition, f.jsonArray(ids))
	if err != nil || stop == stopEnd {
		return n, nil, err
	}
	if n > 0 {
		ids = ids[slices.Index(ids, last)+1:]
	}
	if stop == stopFull || len(ids) == 0 {
		return n, ids, nil
	}
	added, first, err := f.addFirst(ctx, "SELECT id"+condition+" LIMIT 1", f.jsonArray(ids))
	if err != nil || first == noID {
		return n, nil, err
	}
	return n + added, ids[slices.Index(ids, first)+1:], nil
}

// A stop is the reason why addRows has not added more rows.
type stop int

const (
	stopEnd   stop = iota // there are no more
	stopFull              // the part was full and has been sent
	stopLarge             // the next row does not fit into a part
)

// addRows runs a query for rowColumns and adds its rows. It returns the number of
// rows added, and the id of the last one.
func (f *fetcher) addRows(ctx context.Context, query string, args ...any) (n int, last int64, stop stop, err error) {
	rows, err := f.query(ctx, query, args...)
	if isTooBig(err) { // the query reads the first row
		return 0, 0, stopLarge, f.flush(ctx)
	}
	if err != nil {
		return 0, 0, stopEnd, err
	}
	var r row
	for stop == stopEnd && rows.Next() {
		if err = r.scan(rows); err != nil {
			break
		}
		if f.dst.add(&r) {
			n, last = n+1, r.id
		} else {
			stop = stopFull
		}
	}
	err = errors.Join(err, rows.Err(), rows.Close())
	if isTooBig(err) {
		stop, err = stopLarge, nil
	}
	if err != nil || stop == stopEnd {
		return n, last, stop, err
	}
	if f.dst.empty() {
		return n, last, stopLarge, nil // not even an empty part has room for the row
	}
	return n, last, stop, f.flush(ctx)
}

// flush sends the part.
func (f *fetcher) flush(ctx context.Context) error {
	if f.dst.empty() {
		return nil
	}
	return f.lease.without(ctx, f.dst.flush)
}

// addFirst adds the entry that a query for its id returns. It returns the number of
// entries added and the id. If there is no such entry, it returns noID.
func (f *fetcher) addFirst(ctx context.Context, query string, args ...any) (n int, id int64, err error) {
	stmt, err := f.db.statement(ctx, query)
	if err != nil {
		return 0, noID, err
	}
	err = stmt.QueryRowContext(ctx, args...).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, noID, nil
	}
	if err != nil {
		return 0, noID, err
	}
	added, err := f.addLarge(ctx, id)
	if added {
		n = 1
	}
	return n, id, err
}

func (f *fetcher) query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	stmt, err := f.db.statement(ctx, query)
	if err != nil {
		return nil, err
	}
	return stmt.QueryContext(ctx, args...)
}

// addLarge adds an entry piece by piece. added is false if it was deleted.
func (f *fetcher) addLarge(ctx context.Context, id int64) (added bool, err error) {
	f.work.ctx = ctx
	r := &largeRow{id: id}
	t := f.large.newTurn(f.lease)
	defer t.release()
	for {
		err := f.large.use(ctx, f.lease, t, id, r.sum != 0, func(e *largeEntry) error {
			return f.dst.addPiece(r, e, &f.work)
		})
		if errors.Is(err, errEntryDeleted) && r.sum == 0 {
			t.release()
			return false, f.lease.acquire(ctx)
		}
		if err != nil {
			return false, r.errorFor(err)
		}
		if r.pieces.done() {
			t.release()
			return true, f.lease.acquire(ctx)
		}
		if err := f.dst.flush(); err != nil {
			return false, err
		}
	}
}

// jsonArray returns the ids, of which there is at least one, as a JSON array.
func (f *fetcher) jsonArray(ids []int64) string {
	f.list = append(f.list[:0], '[')
	for _, id := range ids {
		f.list = append(strconv.AppendInt(f.list, id, 10), ',')
	}
	f.list[len(f.list)-1] = ']'
	return string(f.list)
}
