package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

const (
	// A batch is one transaction in PostgreSQL. It ends at whichever comes
	// first; only a single row can be larger, up to four values of valueLimit.
	batchRows  = 10_000
	batchBytes = 2 << 20
	valueLimit = 32 << 20

	// How often an idle forwarder looks for new rows.
	pollInterval = 200 * time.Millisecond
)

// A position is how far a source has been shipped.
type position struct {
	id   int64     // every id up to this one is dealt with
	hash []byte    // fingerprint of row id in logs.db; nil when it had none
	time time.Time // its time, for a next row that has none; or zero
}

// A batch accounts for every id after one position up to another: its row is
// here, or was deleted before it was read, or was refused by PostgreSQL.
type batch struct {
	after   int64
	end     position
	rows    []row
	lost    int64 // rows deleted before they were read
	skipped int64 // rows PostgreSQL refused
	fitted  int64 // rows changed to fit PostgreSQL
	fileEnd int64 // the highest id the file had given out
}

// A source is a logs.db, opened for reading.
type source struct {
	path string
	info fs.FileInfo // the file that was opened, to notice another in its place
	db   *sql.DB
	full int // rows in the last batch, a guess for the next one
}

// openSource opens the file once it is there and has its table.
// With once, a missing file is an error.
func openSource(ctx context.Context, path string, once bool, log *slog.Logger) (*source, error) {
	for waiting := false; ; waiting = true {
		s, err := tryOpen(ctx, path)
		if err == nil || once || !errors.Is(err, fs.ErrNotExist) {
			return s, err
		}
		if !waiting {
			log.Info("waiting for the file to be made", "db", path)
		}
		if err := sleep(ctx, pollInterval); err != nil {
			return nil, err
		}
	}
}

// tryOpen's error is fs.ErrNotExist when there is no file or it is still empty.
func tryOpen(ctx context.Context, path string) (*source, error) {
	// Stat, never Open: closing a descriptor of the file would drop the locks
	// that SQLite holds on it in this process.
	info, err := os.Stat(path)
	if err != nil {
		return nil, permanentError{err}
	}
	if info.IsDir() {
		return nil, permanent("%s is a directory", path)
	}
	if info.Size() == 0 { // a reader could get in the way of its making
		return nil, noTableYet(path)
	}
	db, err := openReadOnly(path)
	if err != nil {
		return nil, err
	}
	if err := checkTable(ctx, db, path); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &source{path: path, info: info, db: db}, nil
}

// openReadOnly opens a SQLite file that another program writes.
func openReadOnly(path string) (*sql.DB, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	dsn := url.URL{Scheme: "file", Path: filepath.ToSlash(abs), RawQuery: "mode=ro&_pragma=busy_timeout(10000)"}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

func noTableYet(path string) error {
	return permanentError{fmt.Errorf("%s holds no table yet: %w", path, fs.ErrNotExist)}
}

func checkTable(ctx context.Context, db *sql.DB, path string) error {
	var tables int
	var columns, definition sql.NullString
	err := db.QueryRowContext(ctx, `
		SELECT (SELECT count(*) FROM sqlite_schema),
		       (SELECT group_concat(name, ', ') FROM pragma_table_info('logs')),
		       (SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = 'logs')`).
		Scan(&tables, &columns, &definition)
	if err != nil {
		return sourceError(path, err)
	}
	if tables == 0 {
		return noTableYet(path)
	}
	if !definition.Valid {
		return permanent("%s has no table logs: is it the file of a log ingester?", path)
	}
	want := []string{"id", "level", "message", "timestamp", "details"}
	got := strings.Split(columns.String, ", ")
	if slices.Sort(got); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
		return permanent("table logs of %s has the columns %s; want %s", path, columns.String, strings.Join(want, ", "))
	}
	if !strings.Contains(strings.ToUpper(definition.String), "AUTOINCREMENT") {
		// Without it SQLite gives the ids of deleted rows to new ones, which
		// would then pass for shipped.
		return permanent("table logs of %s is not made with id INTEGER PRIMARY KEY AUTOINCREMENT", path)
	}
	return nil
}

// sourceError tells the failures that pass, like a locked file, from those
// that stay.
func sourceError(path string, err error) error {
	wrapped := fmt.Errorf("reading %s: %w", path, err)
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return wrapped
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_AUTH:
		return permanentError{fmt.Errorf("%w (forward needs to read the file, and to write beside it: SQLite's readers share FILE-shm)", wrapped)}
	case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT:
		return permanentError{wrapped}
	}
	return wrapped
}

func (s *source) close() error { return s.db.Close() }

// follow sends batches from pos on. With once it ends when it has reached the
// end of the file, else with ctx or an error.
func (s *source) follow(ctx context.Context, pos position, once bool, batches chan<- batch) error {
	for {
		b, atEnd, err := s.read(ctx, pos)
		if err != nil {
			return err
		}
		if b.end.id > b.after {
			select {
			case batches <- b:
			case <-ctx.Done():
				return ctx.Err()
			}
			pos = b.end
		}
		if !atEnd {
			continue
		}
		if once {
			return nil
		}
		// Only here, so that a file that was moved away is shipped to its end.
		if info, err := os.Stat(s.path); err != nil || !os.SameFile(info, s.info) {
			return fmt.Errorf("%s was moved or replaced, opening it anew", s.path)
		}
		if err := sleep(ctx, pollInterval); err != nil {
			return err
		}
	}
}

// selectRows leaves a value over the limit where it is, without loading it.
var selectRows = fmt.Sprintf(`
	SELECT id, %s, %s, %s, %s FROM logs WHERE id >= ? ORDER BY id LIMIT %d`,
	bounded("level"), bounded("message"), bounded("timestamp"), bounded("details"), batchRows+1)

func bounded(column string) string {
	return fmt.Sprintf("iif(octet_length(%[1]s) > %[2]d, '(' || octet_length(%[1]s) || ' bytes, too large to ship)', %[1]s)", column, valueLimit)
}

// read returns the batch after pos, and whether it reaches the end of the
// file. Its transaction ends before it returns: however long shipping takes,
// nothing keeps the WAL from being checkpointed.
func (s *source) read(ctx context.Context, pos position) (b batch, atEnd bool, err error) {
	tx, err := s.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return b, false, sourceError(s.path, err)
	}
	defer tx.Rollback() // nothing was written

	b.after, b.end = pos.id, pos
	err = tx.QueryRowContext(ctx, `SELECT seq FROM sqlite_sequence WHERE name = 'logs'`).Scan(&b.fileEnd)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return b, false, sourceError(s.path, err)
	}
	// The last row shipped is read again: while it is the same, so is the file.
	rows, err := tx.QueryContext(ctx, selectRows, pos.id)
	if err != nil {
		return b, false, sourceError(s.path, err)
	}
	defer rows.Close()
	if b.fileEnd < pos.id {
		return b, false, s.otherFile("its last row was %d, while row %d was shipped", b.fileEnd, pos.id)
	}
	var raw rawRow
	b.rows = make([]row, 0, s.full)
	for size := 0; size < batchBytes && len(b.rows) < batchRows; {
		if !rows.Next() {
			atEnd = true
			break
		}
		if err := rows.Scan(&raw.id, &raw.level, &raw.message, &raw.timestamp, &raw.details); err != nil {
			return b, false, sourceError(s.path, err)
		}
		if raw.id == pos.id {
			if pos.hash != nil && !bytes.Equal(pos.hash, raw.hash()) {
				return b, false, s.otherFile("row %d is not the one that was shipped", raw.id)
			}
			continue
		}
		r, changed := fit(raw, b.end.time)
		if changed {
			b.fitted++
		}
		b.rows = append(b.rows, r)
		b.lost += raw.id - b.end.id - 1
		b.end.id, b.end.time = r.id, r.time
		size += raw.size()
	}
	if err := rows.Err(); err != nil {
		return b, false, sourceError(s.path, err)
	}
	if s.full = len(b.rows); s.full > 0 {
		b.end.hash = raw.hash()
	}
	if atEnd && b.fileEnd > b.end.id {
		b.lost += b.fileEnd - b.end.id
		b.end.id, b.end.hash = b.fileEnd, nil
	}
	return b, atEnd, nil
}

// otherFile is the error for a file that does not hold what was shipped. To
// go on from its ids would pass its rows off for shipped, or ship rows twice,
// so somebody has to say what it is.
func (s *source) otherFile(format string, args ...any) error {
	return permanent("%s is not the file that was shipped so far under this source name: %s "+
		"(was it replaced, restored, or set back by a power cut?); nothing of it was shipped now; "+
		"ship it under a name of its own with -source NAME", s.path, fmt.Sprintf(format, args...))
}
