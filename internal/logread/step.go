package logread

import (
	"context"
	"database/sql"
	"errors"

	"log-ingester/internal/logpages"
)

// A stepper executes the steps of scans.
type stepper struct {
	db    *database
	large *largeEntries
}

// visitBlock visits the entries with first <= id <= last. It uses one statement
// per step, so that a block of large entries does not keep a read transaction open
// for long: no checkpoint can complete during a statement. Between two steps,
// another read can get the slot.
func (s *stepper) visitBlock(ctx context.Context, l *lease, p *pass, ids idRange) error {
	for ids.first <= ids.last {
		if err := l.yield(ctx); err != nil {
			return err
		}
		visited, err := s.step(ctx, p, l.slot, ids)
		if isTooBig(err) {
			visited, err = s.visitLarge(ctx, l, p, ids.last)
		}
		if err != nil || visited == ids.last {
			return err
		}
		ids.first = visited + 1
	}
	return nil
}

// visitLarge visits the entry after the last one that p visited, at which a statement
// failed with SQLITE_TOOBIG. It returns the entry's id.
func (s *stepper) visitLarge(ctx context.Context, l *lease, p *pass, last int64) (id int64, err error) {
	err = s.db.QueryRowContext(ctx, "SELECT ifnull(min(id), ?) FROM logs WHERE id > ? AND id <= ?",
		last, p.visited, last).Scan(&id)
	if err != nil {
		return 0, err
	}
	t := s.large.newTurn(l)
	err = s.large.use(ctx, l, t, id, false, func(e *largeEntry) error { return p.visitLarge(&e.row) })
	t.release()
	if err != nil && !errors.Is(err, errEntryDeleted) {
		return 0, err
	}
	return id, l.acquire(ctx)
}

// walkPages is the SQL of a step that reads pages: log_table returns the number of the
// first page to read, and log_page that of the page after each. Its arguments are the
// slot and the slot.
const walkPages = "WITH RECURSIVE walk(page) AS (" +
	"SELECT log_table(?, rootpage, sql) FROM sqlite_schema WHERE type = 'table' AND name = 'logs'" +
	" UNION ALL SELECT log_page(?, data) FROM walk CROSS JOIN sqlite_dbpage ON pgno = page)" +
	" SELECT count(*) FROM walk"

// rowsAfter is how many ids after a row that cannot be read from pages are read as rows
// too, because such rows often follow each other.
const rowsAfter = 15

// step visits some of the entries with the given ids, in one statement, and returns the
// id up to which it has visited them. It reads the pages of the table. What it cannot
// read there, it reads as rows.
func (s *stepper) step(ctx context.Context, p *pass, slot int, ids idRange) (visited int64, err error) {
	if p.ignorePages {
		return s.stepRows(ctx, p, slot, ids)
	}
	walk, err := s.db.statement(ctx, walkPages)
	if err != nil {
		return 0, err
	}
	p.startStep(ids.first)
	p.pageErr = nil
	p.walk.Start(ids.first, ids.last, p.columns(), p.visitRow)
	var pages int
	err = walk.QueryRowContext(ctx, slot, slot).Scan(&pages)
	rest := idRange{p.visited + 1, ids.last}
	switch {
	case err != nil:
		return 0, err
	case errors.Is(p.pageErr, logpages.ErrRow):
		rest.last -= max(0, rest.last-p.walk.RowID()-rowsAfter) // without overflow
	case p.pageErr != nil || !p.walk.Ended():
		p.ignorePages = true
	case p.stopped:
		return p.visited, nil
	default:
		return p.walk.Last(), nil
	}
	return s.stepRows(ctx, p, slot, rest)
}

// stepRows is step, but reads rows.
func (s *stepper) stepRows(ctx context.Context, p *pass, slot int, ids idRange) (visited int64, err error) {
	visit, err := s.db.statement(ctx, p.statement())
	if err != nil {
		return 0, err
	}
	p.startStep(ids.first)
	err = visit.QueryRowContext(ctx, ids.last, ids.first, slot).Scan(&visited)
	if errors.Is(err, sql.ErrNoRows) {
		return ids.last, nil
	}
	return visited, err
}
