package logread

import (
	"context"
	"database/sql/driver"
	"strconv"

	"modernc.org/sqlite"

	"log-ingester/internal/entry"
)

// checkEvery is how many bytes of text, plus 1 KiB for each entry, a pass visits
// between two checks of its context.
const checkEvery = 256 << 10

// A countFunc counts an entry. It must not keep level after it returns. t is the
// entry's time in Unix nanoseconds, if hasTime is true.
type countFunc func(level string, t int64, hasTime bool)

// A pass is the state of one scan while it visits the log block by block. Only the
// goroutine that runs the scan may use it.
type pass struct {
	ctx       context.Context
	filter    *filter
	count     countFunc // if set, matching entries go to count and not to found
	found     []int64   // ids of matching entries in the current block
	times     timeSpan  // of the entries visited in the current block
	unchecked int       // bytes since the last check of ctx, as for checkEvery
	scratch   []byte
}

// needsTimes reports whether the pass reads the time of each entry.
func (p *pass) needsTimes() bool { return p.filter.hasTimeRange || p.count != nil }

// startBlock resets what the pass recorded about the previous block.
func (p *pass) startBlock() {
	p.found = p.found[:0]
	p.times = emptySpan
}

// statement returns the SQL that passes the rows of a block to log_visit. Its
// arguments are the highest id, the lowest id and the slot. A column that the
// pass does not need is NULL, because each column costs time in every row.
func (p *pass) statement() string {
	id, level, message, timestamp, details := "NULL", "NULL", "NULL", "NULL", "NULL"
	if p.count == nil {
		id = "id"
	}
	if p.count != nil || !p.filter.anyLevel {
		level = "level"
	}
	if p.needsTimes() {
		timestamp = "timestamp"
	}
	if p.filter.text != nil {
		message, details = "message", "details"
	}
	if p.filter.fields != nil {
		details = "details"
	}
	return "SELECT 1 FROM logs WHERE id <= ? AND id >= ? AND log_visit(?, " +
		id + ", " + level + ", " + message + ", " + timestamp + ", " + details + ") ORDER BY id"
}

// visit processes a row: id, level, message, timestamp, details.
func (p *pass) visit(columns []driver.Value) error {
	message, details := columnText(columns[2]), columnText(columns[4])
	if p.unchecked += 1<<10 + len(message) + len(details); p.unchecked >= checkEvery {
		if p.unchecked = 0; p.ctx.Err() != nil {
			return p.ctx.Err()
		}
	}
	var t int64
	var hasTime bool
	if p.needsTimes() {
		if t, hasTime = entry.ParseStoredTime(columnText(columns[3])); hasTime {
			p.times.add(t)
		}
	}
	if !p.filter.matchesTime(t, hasTime) {
		return nil
	}
	level := columnText(columns[1])
	if !p.filter.matches(level, message, details, &p.scratch) {
		return nil
	}
	if p.count != nil {
		p.count(level, t, hasTime)
	} else {
		p.found = append(p.found, columns[0].(int64))
	}
	return nil
}

// passes holds the pass of each slot.
type passes []pass

// visit is the SQL function log_visit(slot, id, level, message, timestamp,
// details). It gives a row to the pass of the slot, and always returns false: the
// pass collects the matching entries, so the statement need not return rows.
func (ps passes) visit(_ *sqlite.FunctionContext, args []driver.Value) (driver.Value, error) {
	return false, ps[args[0].(int64)].visit(args[1:])
}

// columnText returns a column as text. This service stores only text, but other
// programs may store other types.
func columnText(v driver.Value) string {
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
