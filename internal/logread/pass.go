package logread

import (
	"database/sql/driver"
	"time"
	"unsafe"

	"modernc.org/sqlite"

	"log-ingester/internal/dbfile"
	"log-ingester/internal/entry"
	"log-ingester/internal/logpages"
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
)

// A countFunc counts an entry. It must not keep level after it returns. t is the
// entry's time in Unix nanoseconds, if hasTime is true.
type countFunc func(level string, t int64, hasTime bool)

// A visitor receives the entries that a scan finds. They have details, or else level,
// message and time. visit must not keep their text.
type visitor struct {
	visit   func(*visitedEntry)
	details bool

	// If fork is set, helpers may visit parts of the scan. It returns functions for one
	// part: visit receives the entries of the part, and merge, which the scan calls after
	// the last one, passes them on to the visitor. If merge returns false, the visitor
	// must receive the entries one by one.
	fork func() (visit func(*visitedEntry), merge func() bool)
}

// A pass is the state of one scan while it visits the log block by block, and each
// block in one or more steps. A step is one statement, and thus one read
// transaction. Only the goroutine that runs the scan may use the pass.
type pass struct {
	matcher
	filter *filter
	count  countFunc // if set, matching entries go to count and not to found
	each   *visitor  // if set, matching entries go to each
	found  idSet     // ids of matching entries in the current part

	keepTimes bool     // record times
	times     timeSpan // of the entries visited in the current part

	stepWork  int64 // bytes that a step examines
	stepEnd   int64 // value of work.total at which the step ends
	stepStart time.Time
	timed     int64 // value of work.examined when the time was last checked
	visited   int64 // id of the last entry visited
	entry     visitedEntry

	walk        logpages.Walk
	pageErr     error // why the walk cannot continue
	stopped     bool  // the walk has stopped because the step must end
	ignorePages bool  // read rows and not pages
}

// A visitedEntry has the columns of an entry that a pass needs.
type visitedEntry struct {
	id                                 int64
	level, message, timestamp, details string

	// As in countFunc. They are set when the entry is passed on.
	t       int64
	hasTime bool
}

// parsesAllTimes reports whether the pass parses the time of each entry that it visits.
func (p *pass) parsesAllTimes() bool { return p.keepTimes || p.filter.hasTimeRange }

// needsTimes reports whether the pass needs the times of the entries that match.
func (p *pass) needsTimes() bool {
	return p.parsesAllTimes() || p.count != nil || p.each != nil && !p.each.details
}

// startPart resets what the pass recorded about the previous part. The part starts
// at the id first. If keepTimes is set, the pass records the times of its entries.
func (p *pass) startPart(first int64, keepTimes bool) {
	p.found.reset(first)
	p.keepTimes, p.times = keepTimes, emptySpan
}

// startStep resets what the pass recorded about the previous step. The step visits
// entries from the id first on.
func (p *pass) startStep(first int64) {
	p.stepEnd = p.work.total() + p.stepWork
	p.stepStart = time.Now()
	p.visited = first - 1
	p.stopped = false
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
	level, message, timestamp, details := "NULL", "NULL", "NULL", "NULL"
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
	if p.filter.hasKind || p.each != nil && !p.each.details {
		message = "message"
	}
	return "SELECT id FROM logs WHERE id <= ? AND id >= ? AND log_visit(?, id, " +
		level + ", " + message + ", " + timestamp + ", " + details + ") ORDER BY id LIMIT 1"
}

// columns returns how many texts of a row the pass needs, for logpages.
func (p *pass) columns() int {
	f := p.filter
	switch {
	case f.selectsText() || f.selectsFields() || p.each != nil && p.each.details:
		return logpages.Details
	case p.needsTimes():
		return logpages.Timestamp
	case f.hasKind:
		return logpages.Message
	}
	return logpages.Level
}

// nextPage returns the result of an SQL function, from the results of a method of walk.
func (p *pass) nextPage(page uint32, err error) (driver.Value, error) {
	p.pageErr = err
	if err != nil || page == 0 {
		return nil, p.work.err
	}
	return int64(page), p.work.err
}

// visitRow processes a row of a page. It reports whether the step ends with this row.
func (p *pass) visitRow(r *logpages.Row) (stepEnds bool) {
	if r.Page != nil {
		p.page.set(r.Page, p.filter)
	}
	e := &p.entry
	e.id, e.level, e.message, e.timestamp, e.details = r.ID, r.Level, r.Message, r.Timestamp, r.Details
	p.visitEntry(e)
	p.stopped = p.stepEnds() || p.work.err != nil
	return p.stopped
}

// visit processes a row: id, level, message, timestamp, details. It reports
// whether the step ends with this row.
func (p *pass) visit(columns []driver.Value) (stepEnds bool, err error) {
	p.page.isKnown = false
	p.entry = visitedEntry{
		id:        columns[0].(int64),
		level:     summary.ColumnText(columns[1]),
		message:   summary.ColumnText(columns[2]),
		timestamp: summary.ColumnText(columns[3]),
		details:   summary.ColumnText(columns[4]),
	}
	p.visitEntry(&p.entry)
	return p.stepEnds(), p.work.err
}

// visitEntry processes an entry.
func (p *pass) visitEntry(e *visitedEntry) {
	p.visited = e.id
	p.work.examine(visitCost + len(e.level) + len(e.timestamp))
	if p.parsesAllTimes() {
		if e.parseTime(); e.hasTime {
			p.times.add(e.t)
		}
	}
	if p.filter.matchesTime(e.t, e.hasTime) && p.filter.matchesLevel(e.level) {
		p.match(e)
	}
}

func (e *visitedEntry) parseTime() { e.t, e.hasTime = entry.ParseStoredTime(e.timestamp) }

// visitLarge processes an entry with large values. It cuts the level and the time to
// maxValue bytes: the names of levels and the times that are recognized are shorter.
func (p *pass) visitLarge(r *row) error {
	p.page.isKnown = false
	p.visitEntry(&visitedEntry{
		id:        r.id,
		level:     viewText(r.level[:min(len(r.level), maxValue)]),
		message:   viewText(r.message),
		timestamp: viewText(r.timestamp[:min(len(r.timestamp), maxValue)]),
		details:   viewText(r.details),
	})
	return p.work.err
}

// viewText returns the bytes of b as a string without copying them.
func viewText(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// trim frees memory that the pass needs only during a step.
func (p *pass) trim() {
	if cap(p.work.buf) > 4<<10 {
		p.work.buf = nil
	}
	p.walk.Trim()
}

// match passes e on if the text and the fields of the filter match.
func (p *pass) match(e *visitedEntry) {
	if !p.matches(p.filter, e.message, e.details) || p.work.err != nil {
		return
	}
	if p.needsTimes() && !p.parsesAllTimes() {
		e.parseTime()
	}
	switch {
	case p.count != nil:
		p.count(e.level, e.t, e.hasTime)
	case p.each != nil:
		p.work.examine(len(e.message) + len(e.details))
		p.each.visit(e)
	default:
		p.found.add(e.id)
	}
}

// passes holds the pass of each slot for which a statement can run. Its methods are SQL
// functions, whose first argument is the slot.
type passes []*pass

// functions returns the SQL functions.
func (ps passes) functions() []dbfile.Function {
	return []dbfile.Function{
		{Name: "log_visit", Args: 6, Body: ps.visit},
		{Name: "log_table", Args: 3, Body: ps.table},
		{Name: "log_page", Args: 2, Body: ps.page},
	}
}

// visit is the SQL function log_visit(slot, id, level, message, timestamp,
// details). It gives a row to the pass of the slot. It returns false, so that the
// statement continues with the next row, until the step ends: the pass collects the
// matching entries, so the statement need not return them.
func (ps passes) visit(_ *sqlite.FunctionContext, args []driver.Value) (driver.Value, error) {
	return ps[args[0].(int64)].visit(args[1:])
}

// table is the SQL function log_table(slot, rootpage, sql), and page is log_page(slot,
// data). They return the number of the next page, or NULL to end the step.
func (ps passes) table(_ *sqlite.FunctionContext, args []driver.Value) (driver.Value, error) {
	root, _ := args[1].(int64)
	definition, _ := args[2].(string)
	p := ps[args[0].(int64)]
	return p.nextPage(p.walk.Table(root, definition))
}

func (ps passes) page(_ *sqlite.FunctionContext, args []driver.Value) (driver.Value, error) {
	data, _ := args[1].([]byte)
	p := ps[args[0].(int64)]
	return p.nextPage(p.walk.Page(data))
}
