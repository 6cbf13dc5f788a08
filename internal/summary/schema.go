package summary

import (
	"fmt"
	"strings"
)

// An Object is an object of the database schema.
type Object struct{ Type, Name, Table, SQL string }

// format is a part of the definition of logs_segments. It must change whenever the same
// entries would get another summary: a reader must not use summaries of another format.
const format = "2"

// tables are the tables of the summaries, and their trigger.
//
// A row of logs_segments is the summary of a segment. If another program inserts or
// changes an entry that it covers, a trigger deletes it. If an entry is deleted, the
// trigger only sets counts to NULL: the rest is still correct. upto is the lowest id
// above those that the summary covers or will cover. building is 1 while a summary is
// being made; a change to the entries resets it. filter is the id of the first row of
// logs_filters that belongs to the segment, pages the number of these rows; they are
// NULL until the segment has a summary.
//
// A row of logs_filters never changes, and its id is never reused. A reader that finds
// it therefore knows that it belongs to the row of logs_segments that it has read.
var tables = []Object{
	{"table", "logs_segments", "logs_segments", `CREATE TABLE logs_segments ( -- format ` + format + `
  segment INTEGER PRIMARY KEY, upto INTEGER NOT NULL, building INTEGER,
  filter INTEGER, pages INTEGER, summary BLOB, counts BLOB)`},
	{"table", "logs_filters", "logs_filters", `CREATE TABLE logs_filters (
  id INTEGER PRIMARY KEY AUTOINCREMENT, bits BLOB NOT NULL)`},
	{"trigger", "logs_segments_deleted", "logs_segments", `CREATE TRIGGER logs_segments_deleted
  AFTER DELETE ON logs_segments BEGIN
  DELETE FROM logs_filters WHERE id >= old.filter AND id < old.filter + old.pages; END`},
}

// triggers keep the summaries correct when other programs change rows of logs.
//
// The trigger for inserts also fires for INSERT OR REPLACE, which does not fire the
// trigger for deletes.
var triggers = []Object{
	{"trigger", "logs_inserted", "logs", `CREATE TRIGGER logs_inserted AFTER INSERT ON logs BEGIN
  DELETE FROM logs_segments WHERE segment = new.id >> 16 AND upto > new.id; END`},
	{"trigger", "logs_updated", "logs", `CREATE TRIGGER logs_updated AFTER UPDATE ON logs BEGIN
  DELETE FROM logs_segments WHERE segment = old.id >> 16 AND upto > old.id;
  DELETE FROM logs_segments WHERE segment = new.id >> 16 AND upto > new.id; END`},
	{"trigger", "logs_deleted", "logs", `CREATE TRIGGER logs_deleted AFTER DELETE ON logs BEGIN
  UPDATE logs_segments SET counts = NULL, building = NULL
  WHERE segment = old.id >> 16 AND upto > old.id AND ifnull(counts, building) IS NOT NULL; END`},
}

// Tables returns the tables of the summaries and the triggers on these tables.
func Tables() []Object { return tables }

// Triggers returns the triggers on the table logs.
func Triggers() []Object { return triggers }

// IsInstalled is an SQL expression that is true if the tables and the triggers exist.
// If one is missing or differs, then rows may have changed without a trigger, and no
// summary may be used.
var IsInstalled = func() string {
	var texts []string
	for _, o := range append(tables[:len(tables):len(tables)], triggers...) {
		texts = append(texts, Quote(o.SQL))
	}
	list := strings.Join(texts, ", ")
	return fmt.Sprintf("(SELECT count(*) = %d FROM sqlite_schema WHERE sql IN (%s))", len(texts), list)
}()

// Quote returns s as an SQL string.
func Quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
