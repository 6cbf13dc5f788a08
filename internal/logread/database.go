package logread

import (
	"context"
	"database/sql"
	"fmt"
	"sync/atomic"
	"time"

	"log-ingester/internal/dbfile"
)

// A database is the log's database, opened for reading.
type database struct {
	*sql.DB
	newest atomic.Int64 // the highest id known to be committed
}

// openDatabase opens the existing database at path. Statements can call visit
// as the SQL function log_visit. maxScans scans and one query for the newest id
// can run concurrently.
func openDatabase(path string, visit dbfile.Function, maxScans int) (*database, error) {
	db, err := dbfile.OpenReadOnly(path, "log_visit", 6, visit)
	if err != nil {
		return nil, fmt.Errorf("open database for reading: %w", err)
	}
	db.SetMaxOpenConns(maxScans + 1)
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
