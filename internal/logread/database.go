package logread

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"log-ingester/internal/dbfile"
)

// maxValue is the size in bytes up to which the statements of a database read a
// value. An entry with a larger one is read by largeEntries.
const maxValue = 64 << 10

// A database is the log's database, opened for reading.
type database struct {
	*sql.DB
	newest atomic.Int64 // the highest id known to be committed

	mu         sync.Mutex
	statements map[string]*sql.Stmt // by SQL text; there are few different ones
}

// A scalarFunc implements a SQL function.
type scalarFunc = func(*sqlite.FunctionContext, []driver.Value) (driver.Value, error)

// openDatabase opens the existing database at path. Statements can call visit
// as the SQL function log_visit. They fail with SQLITE_TOOBIG when they read a
// value above maxValue, before SQLite allocates memory for it. maxScans scans, one
// query for the newest id and one of QueryRow can run concurrently.
func openDatabase(path string, visit scalarFunc, maxScans int) (*database, error) {
	c, err := newConnector(path, -512)
	if err != nil {
		return nil, err
	}
	c.maxValue = maxValue
	if err := c.register("log_visit", 6, visit); err != nil {
		return nil, err
	}
	db := sql.OpenDB(c)
	db.SetMaxOpenConns(maxScans + 2)
	db.SetMaxIdleConns(maxScans + 2)
	db.SetConnMaxIdleTime(10 * time.Second)
	return &database{DB: db, statements: make(map[string]*sql.Stmt)}, nil
}

// statement returns the prepared statement with the given text. It stays prepared
// on the connections that have used it.
func (db *database) statement(ctx context.Context, text string) (*sql.Stmt, error) {
	db.mu.Lock()
	stmt := db.statements[text]
	db.mu.Unlock()
	if stmt != nil {
		return stmt, nil
	}
	stmt, err := db.PrepareContext(ctx, text) // can wait for a connection
	if err != nil {
		return nil, err
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	if other := db.statements[text]; other != nil {
		return other, stmt.Close()
	}
	db.statements[text] = stmt
	return stmt, nil
}

// readNewest reads the highest id in the table.
func (db *database) readNewest(ctx context.Context) (int64, error) {
	var id sql.NullInt64
	err := db.QueryRowContext(ctx, "SELECT max(id) FROM logs").Scan(&id)
	return id.Int64, err
}

// raiseNewest sets newest to id if id is higher, and reports whether it was.
func (db *database) raiseNewest(id int64) bool {
	for {
		newest := db.newest.Load()
		if id <= newest {
			return false
		}
		if db.newest.CompareAndSwap(newest, id) {
			return true
		}
	}
}

// isTooBig reports whether a statement failed because of a value above maxValue.
func isTooBig(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && e.Code()&0xff == sqlite3.SQLITE_TOOBIG
}

// A connector opens read-only connections.
type connector struct {
	driver   sqlite.Driver
	file     dbfile.File
	dsn      string
	maxValue int // if not 0, the largest value that statements can read, in bytes
}

// newConnector returns a connector for the existing database at path. cacheSize is
// the argument of PRAGMA cache_size.
func newConnector(path string, cacheSize int) (*connector, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("open database for reading: %w", err)
	}
	dsn := "%s?mode=ro&_pragma=query_only(1)&_pragma=busy_timeout(1000)&_pragma=cache_size(%d)"
	return &connector{
		file: dbfile.File{Name: path, Info: info},
		dsn:  fmt.Sprintf(dsn, dbfile.URI(path), cacheSize),
	}, nil
}

// register defines a SQL function on all connections. It must not retain its
// arguments.
func (c *connector) register(name string, args int32, f scalarFunc) error {
	impl := &sqlite.FunctionImpl{NArgs: args, Scalar: f, VolatileArgs: true}
	if err := c.driver.RegisterFunction(name, impl); err != nil {
		return fmt.Errorf("register %s: %w", name, err)
	}
	return nil
}

// Connect opens only the file that was at the path when the reader was opened,
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
