package logread

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"modernc.org/sqlite"

	"log-ingester/internal/dbfile"
)

// A database is the log's database, opened for reading.
type database struct {
	*sql.DB
	newest atomic.Int64 // the highest id known to be committed
}

// A scalarFunc implements a SQL function.
type scalarFunc = func(*sqlite.FunctionContext, []driver.Value) (driver.Value, error)

// openDatabase opens the existing database at path. Statements can call visit
// as the SQL function log_visit. maxScans scans, one query for the newest id and
// one of QueryRow can run concurrently.
func openDatabase(path string, visit scalarFunc, maxScans int) (*database, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("open database for reading: %w", err)
	}
	c := &connector{
		file: dbfile.File{Name: path, Info: info},
		dsn: dbfile.URI(path) +
			"?mode=ro&_pragma=query_only(1)&_pragma=busy_timeout(1000)&_pragma=cache_size(-512)",
	}
	err = c.driver.RegisterFunction("log_visit", &sqlite.FunctionImpl{
		NArgs:        6,
		Scalar:       visit,
		VolatileArgs: true, // visit does not retain its arguments
	})
	if err != nil {
		return nil, fmt.Errorf("register log_visit: %w", err)
	}
	db := sql.OpenDB(c)
	db.SetMaxOpenConns(maxScans + 2)
	db.SetMaxIdleConns(2)
	db.SetConnMaxIdleTime(10 * time.Second)
	return &database{DB: db}, nil
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

// A connector opens connections on which log_visit is defined.
type connector struct {
	driver sqlite.Driver
	file   dbfile.File
	dsn    string
}

// Connect opens only the file that was at the path when the reader was opened,
// which is the one that the writer has open. SQLite finds the WAL and its index
// by name: if two different files were open in one process under the same name,
// it would use one WAL for both.
func (c *connector) Connect(context.Context) (driver.Conn, error) {
	if _, err := c.file.Check(); err != nil {
		return nil, err
	}
	return c.driver.Open(c.dsn)
}

func (c *connector) Driver() driver.Driver { return &c.driver }
