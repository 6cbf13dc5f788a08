package dbfile

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"os"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// A FunctionBody implements a SQL function. It must not keep its arguments.
type FunctionBody = func(*sqlite.FunctionContext, []driver.Value) (driver.Value, error)

// A Function is a SQL function with Args arguments.
type Function struct {
	Name string
	Args int32
	Body FunctionBody
}

// Options configure OpenReadOnly.
type Options struct {
	CacheSize int        // argument of PRAGMA cache_size
	MaxValue  int        // if not 0, statements that read a larger value, in bytes, fail with SQLITE_TOOBIG
	Functions []Function // statements can call them
}

// OpenReadOnly returns a pool of connections that only read the existing database at
// path.
func OpenReadOnly(path string, o Options) (*sql.DB, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	c := &connector{
		file: File{Name: path, Info: info},
		dsn: fmt.Sprintf("%s?mode=ro&_pragma=query_only(1)&_pragma=busy_timeout(1000)&_pragma=cache_size(%d)",
			URI(path), o.CacheSize),
		maxValue: o.MaxValue,
	}
	for _, f := range o.Functions {
		impl := &sqlite.FunctionImpl{NArgs: f.Args, Scalar: f.Body, VolatileArgs: true}
		if err := c.driver.RegisterFunction(f.Name, impl); err != nil {
			return nil, fmt.Errorf("register %s: %w", f.Name, err)
		}
	}
	return sql.OpenDB(c), nil
}

// A connector opens connections of OpenReadOnly.
type connector struct {
	driver   sqlite.Driver
	file     File
	dsn      string
	maxValue int // as in Options
}

// Connect opens only the file that was at the path when the pool was created,
// which is the one that the writer has open. SQLite finds the WAL and its index
// by name: if two different files were open in one process under the same name,
// it would use one WAL for both.
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	if _, err := c.file.Check(); err != nil {
		return nil, err
	}
	conn, err := c.driver.Open(c.dsn)
	if err != nil || c.maxValue == 0 {
		return conn, err
	}
	if err := limitValues(ctx, conn, c.maxValue); err != nil {
		conn.Close() // report the first error
		return nil, err
	}
	return conn, nil
}

func (c *connector) Driver() driver.Driver { return &c.driver }

// limitValues sets conn's SQLITE_LIMIT_LENGTH. sqlite.Limit accepts only a
// connection of a sql.DB, so conn belongs to one for a moment. That sql.DB does not
// close conn, because it regards it as in use.
func limitValues(ctx context.Context, conn driver.Conn, n int) error {
	db := sql.OpenDB(openConn{conn})
	defer db.Close()
	c, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	_, err = sqlite.Limit(c, sqlite3.SQLITE_LIMIT_LENGTH, n)
	return err
}

// An openConn is a driver.Connector that returns an existing connection.
type openConn struct{ conn driver.Conn }

func (c openConn) Connect(context.Context) (driver.Conn, error) { return c.conn, nil }
func (c openConn) Driver() driver.Driver                        { return nil }
