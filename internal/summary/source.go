package summary

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strconv"
	"time"

	"modernc.org/sqlite"

	"log-ingester/internal/dbfile"
)

const (
	// stepBytes and stepTime limit how long a statement reads entries, so that it
	// does not delay a checkpoint of the WAL.
	stepBytes = 256 << 10
	stepTime  = 2 * time.Millisecond

	// maxText is the size of message and details, in bytes, from which their text is
	// not in the filter.
	maxText = 64 << 10

	// minGrowth is how many blocks the newest segment must grow before it is
	// summarized again.
	minGrowth = 16
)

// A Source finds and reads the segments that need a summary. One goroutine may use
// it.
type Source struct {
	db      *sql.DB
	builder *Builder

	stepEnd     time.Time
	stepExamine int // bytes left in the current step
}

// OpenSource opens the existing database at path for reading.
func OpenSource(path string) (*Source, error) {
	s := new(Source)
	db, err := dbfile.OpenReadOnly(path, dbfile.Options{
		CacheSize: -512,
		Functions: []dbfile.Function{{Name: "log_summarize", Args: 5, Body: s.visit}},
	})
	if err != nil {
		return nil, fmt.Errorf("open database for summaries: %w", err)
	}
	db.SetMaxOpenConns(1)
	s.db = db
	return s, nil
}

// Close closes the connection.
func (s *Source) Close() error { return s.db.Close() }

// A Task is a segment that needs a summary of its first blocks.
type Task struct {
	Segment int64
	Blocks  int
}

// UpTo returns the lowest id after the blocks.
func (t Task) UpTo() int64 { return FirstID(t.Segment, t.Blocks) }

// A storedSegment describes a row of logs_segments.
type storedSegment struct {
	upTo      int64
	isReady   bool // it has a summary
	hasCounts bool
}

// Next returns the newest segment that needs a summary. If all is false, it only
// considers the newest segment with entries. ok is false if there is none.
func (s *Source) Next(ctx context.Context, all bool) (task Task, ok bool, err error) {
	var newest, oldest sql.NullInt64
	// SQLite would read all rows for SELECT max(id), min(id).
	const bounds = "SELECT (SELECT max(id) FROM logs), (SELECT min(id) FROM logs)"
	err = s.db.QueryRowContext(ctx, bounds).Scan(&newest, &oldest)
	if err != nil || newest.Int64 < BlockSize {
		return task, false, err
	}
	stored, err := s.stored(ctx)
	if err != nil {
		return task, false, err
	}
	// Further entries get ids above newest, so blocks that end below it are complete.
	task = Task{SegmentOf(newest.Int64), blockOf(newest.Int64)}
	for {
		if task.needed(stored, SegmentOf(max(oldest.Int64, 0))) {
			return task, true, nil
		}
		if !all {
			return task, false, nil
		}
		var below sql.NullInt64
		const highest = "SELECT max(id) FROM logs WHERE id < ? AND id >= 0"
		err := s.db.QueryRowContext(ctx, highest, FirstID(task.Segment, 0)).Scan(&below)
		if err != nil || !below.Valid {
			return task, false, err
		}
		task = Task{SegmentOf(below.Int64), BlocksPerSegment}
	}
}

// stored returns the segments that are stored.
func (s *Source) stored(ctx context.Context) (map[int64]storedSegment, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT segment, upto, filter IS NOT NULL, counts IS NOT NULL FROM logs_segments")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	stored := make(map[int64]storedSegment)
	for rows.Next() {
		var segment int64
		var row storedSegment
		if err := rows.Scan(&segment, &row.upTo, &row.isReady, &row.hasCounts); err != nil {
			return nil, err
		}
		stored[segment] = row
	}
	return stored, rows.Err()
}

// needed reports whether the task is worth its cost. Retention repeatedly deletes
// rows of the oldest segment, so restoring its counts is not.
func (t Task) needed(stored map[int64]storedSegment, oldest int64) bool {
	row, ok := stored[t.Segment]
	if !ok || !row.isReady {
		return t.Blocks > 0
	}
	if grown := t.UpTo() - row.upTo; grown >= minGrowth*BlockSize || grown > 0 && t.Blocks == BlocksPerSegment {
		return true
	}
	return !row.hasCounts && t.Segment != oldest
}

// Build reads the entries of a task and returns their summary. It calls pause after
// each step, when no statement is open.
func (s *Source) Build(ctx context.Context, t Task, pause func(took time.Duration) error) (*Summary, error) {
	if s.builder == nil {
		s.builder = NewBuilder()
	}
	s.builder.Reset()
	const large = "octet_length(message) + ifnull(octet_length(details), 0) >= " // SQLite need not read the text
	size := strconv.Itoa(maxText)
	step, err := s.db.PrepareContext(ctx, "SELECT id FROM logs WHERE id >= ? AND id < ? AND log_summarize(id, level, "+
		"iif("+large+size+", NULL, message), timestamp, iif("+large+size+", NULL, details)) ORDER BY id LIMIT 1")
	if err != nil {
		return nil, err
	}
	defer step.Close()
	for first := FirstID(t.Segment, 0); ; {
		start := time.Now()
		s.stepEnd, s.stepExamine = start.Add(stepTime), stepBytes
		var last int64
		err := step.QueryRowContext(ctx, first, t.UpTo()).Scan(&last)
		if errors.Is(err, sql.ErrNoRows) {
			return s.builder.Summary(t.Blocks), nil
		}
		if err != nil {
			return nil, err
		}
		if err := pause(time.Since(start)); err != nil {
			return nil, err
		}
		first = last + 1
	}
}

// Release frees the memory that Build keeps for the next call.
func (s *Source) Release() { s.builder = nil }

// visit is the SQL function log_summarize(id, level, message, timestamp, details). It
// adds a row to the builder, and returns whether the step ends with this row.
func (s *Source) visit(_ *sqlite.FunctionContext, args []driver.Value) (driver.Value, error) {
	id := args[0].(int64)
	message, details := ColumnText(args[2]), ColumnText(args[4])
	s.builder.Add(id, ColumnText(args[1]), message, ColumnText(args[3]), details, args[2] != nil)
	const rowCost = 128 // bytes that take as long as the parts of a row other than its text
	s.stepExamine -= rowCost + len(message) + len(details)
	return s.stepExamine <= 0 || id%64 == 0 && time.Now().After(s.stepEnd), nil
}

// ColumnText returns a column as text. This service stores only text, but other
// programs may store other types.
func ColumnText(v driver.Value) string {
	switch v := v.(type) {
	case string:
		return v
	case []byte:
		return string(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	return ""
}
