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

// An audit compares the files after a power loss with what the clients knew. It
// returns the problems it found. Rows that other tables store in the transaction
// of a request get their own audit here.
type audit func(*state) []string

var audits = []audit{
	auditIntegrity, auditContent, auditDurability, auditLossOfNormal, auditOrder, auditNewRow,
	auditKeys, auditSummaries,
}

// A state holds the database after the service was started on an image, and what
// the clients knew at the power loss.
type state struct {
	workload    *workload
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
func newState(w *workload, synchronous string, rec *recording, events int) *state {
	s := &state{workload: w, synchronous: synchronous, moved: -1, byID: map[int]*outcome{}}
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
	var tables int
	if err := db.QueryRow("SELECT count(*) FROM sqlite_schema WHERE name = 'logs'").Scan(&tables); err != nil {
		return nil, err
	}
	if tables == 0 { // a moved database whose first commit is lost
		return t, nil
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

// assign assigns the rows of t to their requests. A row that belongs to none is
// a copy of no request.
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

// auditIntegrity checks that no database is corrupt.
func auditIntegrity(s *state) (problems []string) {
	for _, t := range s.tables {
		if t.integrity != "ok" {
			problems = append(problems, fmt.Sprintf("%s is corrupt: %s", t.file, t.integrity))
		}
	}
	return problems
}

// auditContent checks that each row is a row of a request that was sent.
func auditContent(s *state) (problems []string) {
	sent := map[string]row{}
	for _, o := range s.requests {
		for _, r := range o.Rows {
			sent[r.Message] = r
		}
	}
	for _, t := range s.tables {
		for _, got := range t.rows {
			want, ok := sent[got.message]
			switch {
			case got.message == newRowMessage:
			case !ok:
				problems = append(problems, fmt.Sprintf("%s: row %d %q was not sent", t.file, got.id, got.message))
			case got.level != want.Level || got.timestamp != want.Time || got.details != `{"pad":`+want.Pad+`}`:
				problems = append(problems, fmt.Sprintf("%s: row %d %q has another content", t.file, got.id, got.message))
			}
		}
	}
	return problems
}

// auditDurability checks that each request is stored completely or not at all,
// only once, and that it is stored if its response promises that.
func auditDurability(s *state) (problems []string) {
	for _, o := range s.requests {
		report := func(text string) {
			problem := fmt.Sprintf("request %d (%d rows, status %d) %s", o.ID, len(o.Rows), o.status, text)
			problems = append(problems, problem)
		}
		for _, c := range o.copies {
			if !c.complete() && !s.deletedOldest(o, &c) {
				report("is stored partially in " + c.table.file)
			}
		}
		if len(o.copies) > 1 && !s.mayBeInBoth(o) {
			report("is stored more than once")
		}
		if len(o.copies) == 0 && s.mustBeStored(o) {
			report("is lost")
		}
		if len(o.copies) > 0 && o.status >= 300 {
			report("is stored although it was refused")
		}
	}
	return problems
}

// maxLossOfNormal is how many bytes of entries a power loss may cost with
// -synchronous normal: the WAL is synced before a checkpoint, which the first
// commit after 2 MiB starts. The transactions of the workloads are small.
const maxLossOfNormal = 2<<20 + 512<<10

// auditLossOfNormal checks that with -synchronous normal only so many of the
// newest entries are lost.
func auditLossOfNormal(s *state) []string {
	if s.synchronous != "normal" || s.workload.deletes {
		return nil
	}
	lost := 0
	for _, o := range s.requests {
		for _, r := range o.Rows {
			if o.status == 200 && len(o.copies) == 0 {
				lost += len(r.Message) + len(r.Time) + len(r.Pad)
			}
		}
	}
	if lost > maxLossOfNormal {
		return []string{fmt.Sprintf("%d bytes of entries with status 200 are lost, want at most %d", lost, maxLossOfNormal)}
	}
	return nil
}

// mustBeStored reports whether the documentation promises that the request
// survives. With deletes, it does if an older request does.
func (s *state) mustBeStored(o *outcome) bool {
	promised := o.synced || o.status == 200 && s.synchronous != "normal"
	if !promised || !s.workload.deletes {
		return promised
	}
	return slices.ContainsFunc(s.requests, func(older *outcome) bool {
		return len(older.copies) > 0 && older.before(o)
	})
}

// before reports whether the response to o was received before the request next
// was sent. Its rows then have lower ids.
func (o *outcome) before(next *outcome) bool {
	return o.status/100 == 2 && o.responded < next.sent
}

// deletedOldest reports whether retention can have deleted the missing rows of
// a copy: only the first rows are missing, and all older requests.
func (s *state) deletedOldest(o *outcome, c *copyOf) bool {
	if !s.workload.deletes {
		return false
	}
	first := slices.IndexFunc(c.ids, func(id int64) bool { return id != 0 })
	if slices.Contains(c.ids[first:], 0) {
		return false
	}
	return !slices.ContainsFunc(s.requests, func(older *outcome) bool {
		return len(older.copies) > 0 && older.before(o)
	})
}

// mayBeInBoth reports whether a request was being committed when the database
// was moved: it may then be in both files.
func (s *state) mayBeInBoth(o *outcome) bool {
	if len(o.copies) > 2 || o.copies[0].table == o.copies[1].table || o.sent > s.moved {
		return false
	}
	return o.responded < 0 || o.responded > s.moved || o.status == 202
}

// auditOrder checks that ids increase in the order of the requests, and that no
// request is lost before one that is stored: only the newest commits can be
// lost.
func auditOrder(s *state) (problems []string) {
	for _, t := range s.tables {
		for _, o := range s.requests {
			ids := o.idsIn(t)
			if !slices.IsSorted(ids) {
				problems = append(problems, fmt.Sprintf("%s: the ids %v of request %d do not increase", t.file, ids, o.ID))
			}
		}
	}
	for i, next := range s.requests {
		for _, o := range s.requests[:i] {
			if len(next.copies) > 0 && o.before(next) {
				problems = append(problems, s.auditPair(o, next)...)
			}
		}
	}
	return problems
}

// auditPair checks two requests, of which the second was sent after the response
// to the first, and is stored.
func (s *state) auditPair(o, next *outcome) (problems []string) {
	mayBeLost := s.workload.deletes || o.killed && o.status == 202
	if len(o.copies) == 0 && !mayBeLost {
		problems = append(problems,
			fmt.Sprintf("request %d (status %d) is lost, but the later request %d is stored", o.ID, o.status, next.ID))
	}
	for _, t := range s.tables {
		a, b := o.idsIn(t), next.idsIn(t)
		if len(a) > 0 && len(b) > 0 && slices.Max(a) >= slices.Min(b) {
			problems = append(problems,
				fmt.Sprintf("%s: request %d has higher ids than the later request %d", t.file, o.ID, next.ID))
		}
	}
	return problems
}

// idsIn returns the ids of the request's rows in t.
func (o *outcome) idsIn(t *table) (ids []int64) {
	for _, c := range o.copies {
		for _, id := range c.ids {
			if c.table == t && id != 0 {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// auditNewRow checks that the row that was added after the restart is stored
// once, with the highest id.
func auditNewRow(s *state) []string {
	rows := s.tables[0].rows
	n := 0
	for _, r := range rows {
		if r.message == newRowMessage {
			n++
		}
	}
	if n != 1 || rows[len(rows)-1].message != newRowMessage {
		return []string{fmt.Sprintf("the new row is stored %d times in %s, or does not have the highest id", n, database)}
	}
	return nil
}

// missing returns the number of requests with status 200 that are not stored.
func (s *state) missing() int {
	n := 0
	for _, o := range s.requests {
		if o.status == 200 && len(o.copies) == 0 {
			n++
		}
	}
	return n
}
