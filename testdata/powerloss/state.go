//go:build linux && amd64

package main

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A state holds the database after the service was started on an image, and what
// the clients knew at the power loss.
type state struct {
	deletes     bool // retention deletes the oldest rows
	synchronous string
	requests    []*outcome // in the order in which they were sent
	byID        map[int]*outcome
	moved       int      // the event of moving the database; -1 if it was not moved
	tables      []*table // of logs.db and, if it was moved, of the moved database
}

// An outcome is what was known about a request at the power loss, and what is
// stored.
type outcome struct {
	request
	sent      int  // event
	responded int  // event; -1 if there was no response
	status    int  // of the response; 0 if there was none
	synced    bool // after the response, the WAL was synced or the service exited with status 0
	killed    bool // the service was killed after the response
	copies    []copyOf
}

// A copyOf is a request's rows in one of the tables.
type copyOf struct {
	table *table
	ids   []int64 // by index of the row; 0 if the row is missing
}

func (c *copyOf) complete() bool { return !slices.Contains(c.ids, 0) }

// A table is the content of the table logs of a file.
type table struct {
	file      string
	integrity string // result of PRAGMA integrity_check
	rows      []storedRow
	keys      []storedKey
	damage    []string // of the tables of the summaries
}

type storedRow struct {
	id                                 int64
	level, message, timestamp, details string
}

// newState returns what the clients knew after the first events of a recording.
func newState(deletes bool, synchronous string, rec *recording, events int) *state {
	s := &state{deletes: deletes, synchronous: synchronous, moved: -1, byID: map[int]*outcome{}}
	wals := map[fileID]bool{}
	for i, e := range rec.Events[:events] {
		switch {
		case e.Kind == evSend && s.byID[e.Request] != nil:
			s.byID[e.Request].sendAgain()
		case e.Kind == evSend:
			o := &outcome{request: rec.Requests[e.Request], sent: i, responded: -1}
			s.byID[o.ID] = o
			s.requests = append(s.requests, o)
		case e.Kind == evResponse:
			if o := s.byID[e.Request]; o.status/100 != 2 {
				o.responded, o.status = i, e.Status
			}
		case e.Kind == evRename && e.Target == moved:
			s.moved = i
		case e.Kind == evCreate && strings.HasSuffix(e.Name, "-wal"):
			wals[e.File] = true
		case e.Kind == evSync && wals[e.File] && !e.Failed:
			s.markSynced(e.Start, 200)
		case e.Kind == evExit && e.Status == 0:
			s.markSynced(i, 200, 202)
		case e.Kind == evExit:
			s.markKilled()
		}
	}
	return s
}

// sendAgain records that a request was repeated. A refusal no longer says that the
// request is not stored.
func (o *outcome) sendAgain() {
	if o.status/100 != 2 {
		o.responded, o.status = -1, 0
	}
}

// markSynced marks the requests that got one of the statuses before an event.
func (s *state) markSynced(event int, statuses ...int) {
	for _, o := range s.requests {
		if o.responded >= 0 && o.responded < event && slices.Contains(statuses, o.status) {
			o.synced = true
		}
	}
}

// markKilled marks the requests that have a response.
func (s *state) markKilled() {
	for _, o := range s.requests {
		o.killed = o.killed || o.responded >= 0
	}
}

// load reads the databases in dir. If the service renamed the WAL of the moved
// database, load gives it back its name, as the documentation says.
func (s *state) load(dir string) error {
	names := []string{database}
	if _, err := os.Stat(filepath.Join(dir, moved)); err == nil {
		names = append(names, moved)
		if err := restoreWAL(dir); err != nil {
			return err
		}
	}
	for _, name := range names {
		t, err := readTable(dir, name)
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		s.tables = append(s.tables, t)
		s.assign(t)
	}
	return nil
}

func restoreWAL(dir string) error {
	wals, err := filepath.Glob(filepath.Join(dir, database+"-wal.*"))
	if err != nil || len(wals) == 0 {
		return err
	}
	return os.Rename(wals[0], filepath.Join(dir, moved+"-wal"))
}

// readTable reads a database.
func readTable(dir, name string) (*table, error) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	defer db.Close() // nothing is written
	t := &table{file: name}
	if err := db.QueryRow("PRAGMA integrity_check").Scan(&t.integrity); err != nil {
		return nil, err
	}
	// A moved database whose first commit is lost has no table.
	if exists, err := hasTable(db, "logs"); err != nil || !exists {
		return t, err
	}
	rows, err := db.Query("SELECT id, level, message, timestamp, ifnull(details, '') FROM logs ORDER BY id")
	if err != nil {
		return nil, err
	}
	defer rows.Close() // Err is checked
	for rows.Next() {
		var r storedRow
		if err := rows.Scan(&r.id, &r.level, &r.message, &r.timestamp, &r.details); err != nil {
			return nil, err
		}
		t.rows = append(t.rows, r)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	if t.keys, err = readKeys(db); err != nil {
		return nil, err
	}
	t.damage, err = checkSummaries(db)
	return t, err
}

// newRowMessage is the message of the row that is added after the restart.
const newRowMessage = "after the power loss"

// assign assigns the rows of t to their requests. It skips rows that belong
// to no request.
func (s *state) assign(t *table) {
	for _, r := range t.rows {
		var id, index, n int
		if _, err := fmt.Sscanf(r.message, "%d/%d/%d", &id, &index, &n); err != nil {
			continue
		}
		o := s.byID[id]
		if o == nil || index >= len(o.Rows) {
			continue
		}
		i := slices.IndexFunc(o.copies, func(c copyOf) bool { return c.table == t && c.ids[index] == 0 })
		if i < 0 {
			i = len(o.copies)
			o.copies = append(o.copies, copyOf{t, make([]int64, len(o.Rows))})
		}
		o.copies[i].ids[index] = r.id
	}
}
