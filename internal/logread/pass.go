package logread

import (
	"database/sql/driver"
	"strings"
	"time"

	"modernc.org/sqlite"

	"log-ingester/internal/entry"
	"log-ingester/internal/summary"
)

const (
	// visitCost is the cost of visiting an entry without looking at its text, in
	// examined bytes.
	visitCost = 1 << 10

	// defaultStepWork is how many bytes a step examines, and stepTime how long it
	// lasts. A step ends after the entry that exceeds one of them. stepTime matters
	// if the disk is slow.
	defaultStepWork = 32 << 20
	stepTime        = 50 * time.Millisecond

	// largeEntry is the size of message and details from which an entry is matched
	// between two steps. Matching it can take long.
	largeEntry = 256 << 10
)

// A countFunc counts an entry. It must not keep level after it returns. t is the
// entry's time in Unix nanoseconds, if hasTime is true.
type countFunc func(level string, t int64, hasTime bool)

// A visitor receives the entries that a scan finds. They have details, or else level,
// message and time. visit must not keep their text.
type visitor struct {
	visit   func(*visitedEntry)
	details bool
}

// A pass is the state of one scan while it visits the log block by block, and each
// block in one or more steps. A step is one statement, and thus one read
// transaction. Only the goroutine that runs the scan may use the pass.
type pass struct {
	matcher
	filter *filter
	count  countFunc // if set, matching entries go to count and not to found
	each   *visitor  // if set, matching entries go to each
	found  []int64   // ids of matching entries in the current block
	times  timeSpan  // of the entries visited in the current block

	stepWork  int64 // bytes that a step examines
	stepEnd   int64 // value of work.total at which the step ends
	stepStart time.Time
	timed     int64         // value of work.examined when the time was last checked
	large     *visitedEntry // the last entry of the step, if it must still be matched
}

// A visitedEntry has the columns of an entry that a pass needs.
type visitedEntry struct {
	id                      int64
	level, message, details string
	t                       int64 // as in countFunc
	hasTime                 bool
}

// needsTimes reports whether the pass reads the time of each entry.
func (p *pass) needsTimes() bool {
	return p.filter.hasTimeRange || p.count != nil || p.each != nil && !p.each.details
}

// startBlock resets what the pass recorded about the previous block.
func (p *pass) startBlock() {
	p.found = p.found[:0]
	p.times = emptySpan
}

// startStep resets what the pass recorded about the previous step.
func (p *pass) startStep() {
	p.stepEnd = p.work.total() + p.stepWork
	p.stepStart = time.Now()
	p.large = nil
}

// stepEnds reports whether the step must end.
func (p *pass) stepEnds() bool {
	if p.work.total() >= p.stepEnd {
		return true
	}
	if p.timed == p.work.examined {
		return false // reading the clock for each entry would be slow
	}
	p.timed = p.work.examined
	return time.Since(p.stepStart) >= stepTime
}

// statement returns the SQL of a step. It passes rows to log_visit until there are
// no more or the step must end, and returns the id of the last row in the latter
// case. Its arguments are the highest id, the lowest id and the slot. A column
// that the pass does not need is NULL, because each column costs time in every
// row.
func (p *pass) statement() string {
	id, level, message, timestamp, details := "NULL", "NULL", "NULL", "NULL", "NULL"
	if p.count == nil {
		id = "id"
	}
	if p.count != nil || p.each != nil && !p.each.details || p.filter.selectsLevels() {
		level = "level"
	}
	if p.needsTimes() {
		timestamp = "timestamp"
	}
	if p.filter.selectsText() {
		message, details = "message", "details"
	}
	if p.filter.selectsFields() {
		details = "details"
	}
	if p.each != nil && p.each.details {
		details = "details"
	}
	if p.filter.kind != "" || p.each != nil && !p.each.details {
		message = "message"
	}
	return "SELECT id FROM logs WHERE id <= ? AND id >= ? AND log_visit(?, " +
		id + ", " + level + ", " + message + ", " + timestamp + ", " + details + ") ORDER BY id LIMIT 1"
}

// visit processes a row: id, level, message, timestamp, details. It reports
// whether the step ends with this row.
func (p *pass) visit(columns []driver.Value) (stepEnds bool, err error) {
	e := visitedEntry{
		level:   summary.ColumnText(columns[1]),
		message: summary.ColumnText(columns[2]),
		details: summary.ColumnText(columns[4]),
	}
	timestamp := summary.ColumnText(columns[3])
	p.work.examine(visitCost + len(e.level) + len(timestamp))
	if p.needsTimes() {
		if e.t, e.hasTime = entry.ParseStoredTime(timestamp); e.hasTime {
			p.times.add(e.t)
		}
	}
	if p.filter.matchesTime(e.t, e.hasTime) && p.filter.matchesLevel(e.level) {
		if p.count == nil {
			e.id = columns[0].(int64)
		}
		if len(e.message)+len(e.details) >= largeEntry {
			p.large = e.clone()
			return true, p.work.err
		}
		p.match(&e)
	}
	return p.stepEnds(), p.work.err
}

// clone copies e, whose text belongs to SQLite.
func (e visitedEntry) clone() *visitedEntry {
	e.level = strings.Clone(e.level)
	e.message = strings.Clone(e.message)
	e.details = strings.Clone(e.details)
	return &e
}

// match passes e on if the text and the fields of the filter match.
func (p *pass) match(e *visitedEntry) {
	if !p.matches(p.filter, e.message, e.details) || p.work.err != nil {
		return
	}
	switch {
	case p.count != nil:
		p.count(e.level, e.t, e.hasTime)
	case p.each != nil:
		p.work.examine(len(e.message) + len(e.details))
		p.each.visit(e)
	default:
		p.found = append(p.found, e.id)
	}
}

// finishStep matches the entry that the step left for later, if any. No statement
// may be open.
func (p *pass) finishStep() error {
	if p.large != nil {
		p.match(p.large)
		p.large = nil
	}
	return p.work.err
}

// passes holds the pass of each slot.
type passes []pass

// visit is the SQL function log_visit(slot, id, level, message, timestamp,
// details). It gives a row to the pass of the slot. It returns false, so that the
// statement continues with the next row, until the step ends: the pass collects the
// matching entries, so the statement need not return them.
func (ps passes) visit(_ *sqlite.FunctionContext, args []driver.Value) (driver.Value, error) {
	return ps[args[0].(int64)].visit(args[1:])
}
