package logread

import (
	"context"
	"database/sql"
	"slices"
	"strconv"
)

// maxFetch limits how many entries one statement of a fetcher reads.
const maxFetch = 256

// fetchRange adds the entries with q.after < id < q.before to dst, newest first,
// and at most q.limit of them.
func fetchRange(ctx context.Context, conn *sql.Conn, q *query, dst sink) error {
	stmt, err := conn.PrepareContext(ctx, "SELECT "+rowColumns+" FROM logs"+
		" WHERE id < ? AND id > ? ORDER BY id DESC LIMIT ?")
	if err != nil {
		return err
	}
	defer stmt.Close()
	for before, left := q.before, q.limit; left > 0; {
		rows, err := stmt.QueryContext(ctx, before, q.after, left)
		if err != nil {
			return err
		}
		n, last, full, err := addRows(rows, dst)
		if err != nil || !full {
			return err
		}
		if err := dst.flush(); err != nil {
			return err
		}
		before, left = last, left-n
	}
	return nil
}

// A fetcher reads entries by id and adds them to a sink.
type fetcher struct {
	stmt *sql.Stmt
	sink sink
	left int    // how many more entries may be added
	list []byte // the argument of stmt, a JSON array of ids
}

// newFetcher returns a fetcher that adds at most limit entries to dst.
func newFetcher(ctx context.Context, conn *sql.Conn, dst sink, limit int) (*fetcher, error) {
	stmt, err := conn.PrepareContext(ctx, "SELECT "+rowColumns+" FROM logs"+
		" WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id DESC")
	if err != nil {
		return nil, err
	}
	return &fetcher{stmt: stmt, sink: dst, left: limit}, nil
}

func (f *fetcher) close() { f.stmt.Close() }

// fetch adds the entries with the given ids, which must be in ascending order,
// newest first. enough is true when the limit is reached.
func (f *fetcher) fetch(ctx context.Context, ids []int64) (enough bool, err error) {
	for len(ids) > 0 && f.left > 0 {
		group := ids[max(0, len(ids)-min(f.left, maxFetch)):]
		ids = ids[:len(ids)-len(group)]
		rows, err := f.stmt.QueryContext(ctx, f.jsonArray(group))
		if err != nil {
			return false, err
		}
		n, last, full, err := addRows(rows, f.sink)
		if err != nil {
			return false, err
		}
		f.left -= n
		if full {
			// The ids below last were not added.
			rest, _ := slices.BinarySearch(group, last)
			ids = ids[:len(ids)+rest]
			if err := f.sink.flush(); err != nil {
				return false, err
			}
		}
	}
	return f.left <= 0, nil
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
