package logread

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
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

// openDatabase opens the existing database at path. Statements can call functions. They
// fail with SQLITE_TOOBIG when they read a value above maxValue, before SQLite allocates
// memory for it. maxScans scans, one query for the newest id and one of QueryRow can run
// concurrently.
func openDatabase(path string, functions []dbfile.Function, maxScans int) (*database, error) {
	db, err := dbfile.OpenReadOnly(path, dbfile.Options{
		CacheSize: -512,
		MaxValue:  maxValue,
		Functions: functions,
	})
	if err != nil {
		return nil, fmt.Errorf("open database for reading: %w", err)
	}
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
