package main

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"time"

	"modernc.org/sqlite"
)

// busyTimeout is how long a statement waits for another connection's lock.
const busyTimeout = 5 * time.Second

// A conn is a connection to a SQLite database.
//
// It calls the driver directly: database/sql would add locks and copies to each
// call, and hide which connection serves it.
type conn struct{ driver driverConn }

// driverConn is the set of interfaces that the driver's connections implement.
type driverConn interface {
	driver.Conn
	driver.ExecerContext
	driver.QueryerContext
}

// openConn opens a database by its file name or URI. The connection has a
// virtual table module "pending" for the rows of pending.
func openConn(name string, pending *pendingTable) (*conn, error) {
	drv := new(sqlite.Driver)
	if err := drv.RegisterModule("pending", pending); err != nil {
		return nil, err
	}
	c, err := drv.Open(name)
	if err != nil {
		return nil, err
	}
	return &conn{c.(driverConn)}, nil
}

func (c *conn) close() error { return c.driver.Close() }

// exec runs statements that return no rows.
func (c *conn) exec(statements ...string) error {
	for _, s := range statements {
		if _, err := c.driver.ExecContext(context.Background(), s, nil); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

// query returns all rows of a statement's result, which should be small.
func (c *conn) query(statement string, args ...driver.Value) (all [][]driver.Value, err error) {
	rows, err := c.driver.QueryContext(context.Background(), statement, namedValues(args))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", statement, err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for {
		row := make([]driver.Value, len(rows.Columns()))
		switch err := rows.Next(row); err {
		case nil:
			all = append(all, row)
		case io.EOF:
			return all, nil
		default:
			return nil, fmt.Errorf("%s: %w", statement, err)
		}
	}
}

// change runs a statement and returns the number of rows that it changed.
func (c *conn) change(statement string, args ...driver.Value) (int64, error) {
	result, err := c.driver.ExecContext(context.Background(), statement, namedValues(args))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", statement, err)
	}
	return result.RowsAffected()
}

// namedValues returns args as the values of a statement's question marks.
func namedValues(args []driver.Value) []driver.NamedValue {
	named := make([]driver.NamedValue, len(args))
	for i, a := range args {
		named[i] = driver.NamedValue{Ordinal: i + 1, Value: a}
	}
	return named
}

// A statement is a prepared statement without parameters.
type statement interface {
	driver.Stmt
	driver.StmtExecContext
}

func (c *conn) prepare(text string) (statement, error) {
	stmt, err := c.driver.Prepare(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", text, err)
	}
	return stmt.(statement), nil
}

func execute(s statement) (driver.Result, error) {
	return s.ExecContext(context.Background(), nil)
}

// setBusyTimeout sets how long a statement waits for another connection's lock.
func (c *conn) setBusyTimeout(timeout time.Duration) error {
	return c.exec(fmt.Sprintf("PRAGMA busy_timeout=%d", timeout.Milliseconds()))
}

var (
	errNotOpen  = errors.New("the database is not open")
	errWALInUse = errors.New("checkpoint blocked by another transaction")
)

// checkpoint moves the content of the WAL into the database and truncates the
// WAL. It returns errWALInUse if another connection's transaction prevents that,
// and errNotOpen if c is nil.
func (c *conn) checkpoint() error {
	if c == nil {
		return errNotOpen
	}
	rows, err := c.query("PRAGMA wal_checkpoint(TRUNCATE)")
	if err == nil && rows[0][0] != int64(0) {
		err = errWALInUse
	}
	return err
}

// sqliteVersion returns the version of the SQLite library.
func sqliteVersion() string {
	c, err := openConn(":memory:", new(pendingTable))
	if err != nil {
		return err.Error()
	}
	defer c.close() // an in-memory database has nothing to lose
	rows, err := c.query("SELECT sqlite_version()")
	if err != nil {
		return err.Error()
	}
	return rows[0][0].(string)
}

// Result codes of SQLite. https://www.sqlite.org/rescode.html
const (
	sqliteBusy     = 5
	sqliteReadOnly = 8
	sqliteIOErr    = 10
	sqliteFull     = 13
	sqliteCantOpen = 14
	sqliteNotADB   = 26
)

// resultCode returns SQLite's primary result code, or 0 for other errors.
func resultCode(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code() & 0xff
	}
	return 0
}

// isBusy reports whether err means that another connection holds a lock.
func isBusy(err error) bool { return resultCode(err) == sqliteBusy }

// isFull reports whether err means that the disk is full.
func isFull(err error) bool { return resultCode(err) == sqliteFull }
