package main

import (
	"errors"
	"time"

	"log-ingester/internal/summary"
)

// checkSchemaEvery is how often the writer checks whether another program has
// changed the database schema.
const checkSchemaEvery = time.Second

// summaryTables is the writer's side of the summaries. It belongs to the writer's
// goroutine.
type summaryTables struct {
	installed bool  // the tables exist, and the triggers are hidden from this connection
	schema    int64 // value of PRAGMA schema_version after the installation
	upTo      int64 // no stored summary covers this id or a higher one
	reset     bool  // upTo must be read again
	nextCheck time.Time
	failing   bool // the last installation failed, which was logged
}

// errNoSummaries means that the summaries cannot be stored now.
var errNoSummaries = errors.New("summaries are not installed")

// ensure installs the tables and triggers if that was not done on this connection, or
// if another program has changed the schema since. If the database is locked, it does
// not wait.
func (t *summaryTables) ensure(c *conn) error {
	now := time.Now()
	if now.Before(t.nextCheck) {
		return nil
	}
	t.nextCheck = now.Add(checkSchemaEvery)
	if t.installed {
		rows, err := c.query("PRAGMA schema_version")
		if err != nil || rows[0][0] == t.schema {
			return err
		}
		t.installed = false
	}
	if err := c.setBusyTimeout(0); err != nil {
		return err
	}
	err := t.install(c)
	return errors.Join(err, c.setBusyTimeout(busyTimeout))
}

// install creates the tables and triggers, or keeps those that exist, and hides the
// triggers on logs from this connection.
//
// With a trigger on inserts, SQLite would copy all rows of a transaction to a
// temporary table, which makes the transaction take more than 1.5 times as long.
// The writer does not need the triggers: it inserts only ids that no summary covers,
// and retention updates the summaries itself. install therefore drops the triggers
// and adds them again with INSERT statements, in one transaction. SQLite reads the
// schema into memory when it changes, but does not notice these inserts. Other
// connections never see a state without the triggers.
func (t *summaryTables) install(c *conn) error {
	if err := c.exec("PRAGMA writable_schema=ON", "BEGIN IMMEDIATE"); err != nil {
		return errors.Join(err, c.exec("PRAGMA writable_schema=OFF"))
	}
	err := t.create(c)
	if err == nil {
		err = c.exec("COMMIT")
	}
	if err != nil {
		c.exec("ROLLBACK") // fails if SQLite has rolled back already
	}
	err = errors.Join(err, c.exec("PRAGMA writable_schema=OFF"))
	t.installed = err == nil
	t.failing = t.failing && err != nil
	return err
}

// create is the part of install that runs in the transaction.
func (t *summaryTables) create(c *conn) error {
	rows, err := c.query("SELECT " + summary.IsInstalled)
	if err != nil {
		return err
	}
	if rows[0][0] == int64(0) {
		if err := recreate(c, summary.Tables()); err != nil {
			return err
		}
	}
	if err := hide(c, summary.Triggers()); err != nil {
		return err
	}
	t.reset = true
	if err := t.readUpTo(c); err != nil {
		return err
	}
	if rows, err = c.query("PRAGMA schema_version"); err == nil {
		t.schema = rows[0][0].(int64)
	}
	return err
}

// readUpTo sets upTo if that is necessary.
func (t *summaryTables) readUpTo(c *conn) error {
	if !t.reset {
		return nil
	}
	rows, err := c.query("SELECT ifnull(max(upto), 0) FROM logs_segments")
	if err != nil {
		return err
	}
	t.upTo, t.reset = rows[0][0].(int64), false
	return nil
}

// recreate drops objects and creates them.
func recreate(c *conn, objects []summary.Object) error {
	for _, o := range objects {
		if err := c.exec("DROP "+o.Type+" IF EXISTS "+o.Name, o.SQL); err != nil {
			return err
		}
	}
	return nil
}

// hide drops triggers and adds them so that this connection does not execute them.
func hide(c *conn, triggers []summary.Object) error {
	for _, o := range triggers {
		err := c.exec("DROP TRIGGER IF EXISTS "+o.Name,
			"INSERT INTO sqlite_schema(type, name, tbl_name, rootpage, sql) VALUES ("+
				summary.Quote(o.Type)+", "+summary.Quote(o.Name)+", "+summary.Quote(o.Table)+", 0, "+summary.Quote(o.SQL)+")")
		if err != nil {
			return err
		}
	}
	return nil
}

// inserting is called in each transaction that inserts rows. first is the lowest id of
// the rows. A summary can cover it only if another program has deleted rows and reset
// the sequence of ids. Then no summary is valid.
func (t *summaryTables) inserting(c *conn, first int64) error {
	if !t.installed || first >= t.upTo {
		return nil
	}
	t.reset = true
	return c.exec("DELETE FROM logs_segments")
}

// deleted is called in each transaction of retention, after it has deleted rows with
// ids from first to last.
func (t *summaryTables) deleted(c *conn, first, last int64) error {
	if !t.installed {
		return nil // if the tables exist, their triggers do the same
	}
	_, err := c.change("UPDATE logs_segments SET counts = NULL, building = NULL WHERE segment BETWEEN ? AND ?"+
		" AND ifnull(counts, building) IS NOT NULL", summary.SegmentOf(first), summary.SegmentOf(last))
	if err != nil {
		return err
	}
	_, err = c.change("DELETE FROM logs_segments WHERE segment < (SELECT ifnull(min(id), 1 << 62) >> 16 FROM logs)")
	return err
}

// begin records that a summary for a task is being made, so that the triggers detect
// changes from now on.
func (t *summaryTables) begin(c *conn, task summary.Task) error {
	if !t.installed {
		return errNoSummaries
	}
	if err := t.readUpTo(c); err != nil {
		return err
	}
	_, err := c.change("INSERT INTO logs_segments(segment, upto, building) VALUES (?, ?, 1)"+
		" ON CONFLICT DO UPDATE SET upto = max(upto, excluded.upto), building = 1", task.Segment, task.UpTo())
	t.upTo = max(t.upTo, task.UpTo())
	return err
}

// store stores the summary of a task, unless rows have changed since begin.
func (t *summaryTables) store(c *conn, task summary.Task, s *summary.Summary) (err error) {
	if !t.installed {
		return errNoSummaries
	}
	if err := c.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			c.exec("ROLLBACK") // fails if SQLite has rolled back already
		}
	}()
	n, err := c.change("UPDATE logs_segments SET building = NULL WHERE segment = ? AND building = 1", task.Segment)
	if err != nil {
		return err
	}
	if n == 0 {
		return errors.Join(c.exec("ROLLBACK"), errChanged)
	}
	first := int64(0)
	for i, page := range s.Pages {
		rows, err := c.query("INSERT INTO logs_filters(bits) VALUES (?) RETURNING id", page)
		if err != nil {
			return err
		}
		if i == 0 {
			first = rows[0][0].(int64)
		}
	}
	_, err = c.change("DELETE FROM logs_segments WHERE segment = ?", task.Segment) // and its rows of logs_filters
	if err != nil {
		return err
	}
	_, err = c.change("INSERT INTO logs_segments(segment, upto, filter, pages, summary, counts) VALUES (?, ?, ?, ?, ?, ?)",
		task.Segment, task.UpTo(), first, int64(len(s.Pages)), s.Segment, s.Counts)
	if err != nil {
		return err
	}
	return c.exec("COMMIT")
}

// errChanged means that another program has changed rows while their summary was made.
var errChanged = errors.New("entries have changed while their summary was made")
