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
	// A batch ends when it reaches batchRows or batchBytes. Its last row may
	// exceed batchBytes by up to four values of valueLimit bytes.
	batchRows  = 10_000
	batchBytes = 2 << 20
	valueLimit = 32 << 20

	// pollInterval is how often an idle forwarder looks for new rows.
	pollInterval = 200 * time.Millisecond
)

// A source is a logs.db that is open for reading.
type source struct {
	path     string
	info     fs.FileInfo // the file that was opened, to detect that it was replaced
	db       *sql.DB
	lastRows int // number of rows in the last batch, the initial capacity of the next one
}

// openSource waits until the file exists and has tables, and opens it. With
// once it does not wait: a missing file is an error.
func openSource(ctx context.Context, path string, once bool, log *slog.Logger) (*source, error) {
	for waiting := false; ; waiting = true {
		s, err := tryOpenSource(ctx, path)
		if err == nil || once || !errors.Is(err, fs.ErrNotExist) {
			return s, err
		}
		if !waiting {
			log.Info("waiting for the file to be created", "db", path)
		}
		if err := sleep(ctx, pollInterval); err != nil {
			return nil, err
		}
	}
}

// tryOpenSource returns an error that is fs.ErrNotExist if the file does not
// exist or has no tables yet.
func tryOpenSource(ctx context.Context, path string) (*source, error) {
	// Use Stat, not Open: closing a descriptor of the file would drop the POSIX
	// locks that SQLite holds on it in this process.
	info, err := os.Stat(path)
	if err != nil {
		return nil, permanentError{err}
	}
	if info.IsDir() {
		return nil, permanentErrorf("%s is a directory", path)
	}
	if info.Size() == 0 { // opening it could disturb the ingester that is creating it
		return nil, noTablesError(path)
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
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

func noTablesError(path string) error {
	return permanentErrorf("%s has no tables yet: %w", path, fs.ErrNotExist)
}

// checkTable returns an error unless the file has the ingester's table logs.
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
		return noTablesError(path)
	}
	if !definition.Valid {
		return permanentErrorf("%s has no table logs: it is not the file of a log ingester", path)
	}
	want := []string{"id", "level", "message", "timestamp", "details"}
	got := strings.Split(columns.String, ", ")
	if slices.Sort(got); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
		return permanentErrorf("table logs in %s has columns %s; want %s", path, columns.String, strings.Join(want, ", "))
	}
	if !strings.Contains(strings.ToUpper(definition.String), "AUTOINCREMENT") {
		// Without AUTOINCREMENT, SQLite reuses the ids of deleted rows. Rows
		// with reused ids would count as shipped.
		return permanentErrorf("table logs in %s lacks id INTEGER PRIMARY KEY AUTOINCREMENT", path)
	}
	return nil
}

// sourceError wraps an error from SQLite. Errors that may pass, such as a
// locked file, are not permanent.
func sourceError(path string, err error) error {
	wrapped := fmt.Errorf("read %s: %w", path, err)
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return wrapped
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_AUTH:
		return permanentErrorf("%w (forward needs to read the file and to write in its directory, because SQLite's readers share FILE-shm)", wrapped)
	case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT:
		return permanentError{wrapped}
	}
	return wrapped
}

func (s *source) close() error { return s.db.Close() }

// follow sends the batches after pos. With once it returns at the end of the
// file, otherwise only when ctx ends or an error occurs.
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
		// Check only at the end, so that a file that was moved away is shipped
		// completely.
		if info, err := os.Stat(s.path); err != nil || !os.SameFile(info, s.info) {
			return fmt.Errorf("%s was moved or replaced, reopening it", s.path)
		}
		if err := sleep(ctx, pollInterval); err != nil {
			return err
		}
	}
}

// selectRows does not load values over valueLimit: it selects a note of their
// size instead.
var selectRows = fmt.Sprintf(`
	SELECT id, %s, %s, %s, %s FROM logs WHERE id >= ? ORDER BY id LIMIT %d`,
	limited("level"), limited("message"), limited("timestamp"), limited("details"), batchRows+1)

func limited(column string) string {
	return fmt.Sprintf("iif(octet_length(%[1]s) > %[2]d, '(' || octet_length(%[1]s) || ' bytes, too large to ship)', %[1]s)", column, valueLimit)
}

// read returns the batch after pos, and whether it reaches the end of the file.
// It ends its transaction before it returns, so slow shipping never keeps the
// ingester from checkpointing the WAL.
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
	// The query includes the last shipped row. If it changed, so did the file.
	rows, err := tx.QueryContext(ctx, selectRows, pos.id)
	if err != nil {
		return b, false, sourceError(s.path, err)
	}
	defer rows.Close()
	// Check this after the query, which fails if the table was dropped. Then
	// fileEnd is 0, but the file is not a different one.
	if b.fileEnd < pos.id {
		return b, false, s.differentFileError("its last row was %d, but row %d was shipped", b.fileEnd, pos.id)
	}
	atEnd, err = s.fill(&b, rows, pos)
	return b, atEnd, err
}

// fill reads the rows of the batch after pos. It reports whether it reached the
// end of the file.
func (s *source) fill(b *batch, rows *sql.Rows, pos position) (atEnd bool, err error) {
	var raw rawRow
	b.rows = make([]row, 0, s.lastRows)
	for size := 0; size < batchBytes && len(b.rows) < batchRows; {
		if !rows.Next() {
			atEnd = true
			break
		}
		if err := rows.Scan(&raw.id, &raw.level, &raw.message, &raw.timestamp, &raw.details); err != nil {
			return false, sourceError(s.path, err)
		}
		if raw.id == pos.id {
			if pos.hash != nil && !bytes.Equal(pos.hash, raw.hash()) {
				return false, s.differentFileError("row %d differs from the one that was shipped", raw.id)
			}
			continue
		}
		r, changed := sanitize(raw, b.end.time)
		if changed {
			b.sanitized++
		}
		b.add(r)
		size += raw.size()
	}
	if err := rows.Err(); err != nil {
		return false, sourceError(s.path, err)
	}
	if s.lastRows = len(b.rows); s.lastRows > 0 {
		b.end.hash = raw.hash()
	}
	if atEnd && b.fileEnd > b.end.id { // the rows after the last one were deleted
		b.lost += b.fileEnd - b.end.id
		b.end.id, b.end.hash = b.fileEnd, nil
	}
	return atEnd, nil
}

// differentFileError reports that the file does not contain the rows that were
// shipped. Resuming at the old position could skip its rows or ship rows twice,
// so the user has to decide.
func (s *source) differentFileError(format string, args ...any) error {
	return permanentErrorf("%s is not the file that was shipped under this source name: %s "+
		"(was it replaced, restored, or set back by a power failure?); none of its new rows were shipped; "+
		"to ship it, set a new name with -source NAME", s.path, fmt.Sprintf(format, args...))
}
