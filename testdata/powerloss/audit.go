//go:build linux && amd64

package main

import (
	"bytes"
	"fmt"
	"slices"
)

// An audit compares the files after a power loss with what the clients knew. It
// returns the problems it found. Rows that other tables store in the transaction
// of a request get their own audit here.
type audit func(*state) []string

var audits = []audit{
	auditIntegrity, auditContent, auditDurability, auditLossOfNormal, auditOrder, auditNewRow,
	auditKeys, auditSummaries,
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
	if s.synchronous != "normal" || s.deletes {
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
	if !promised || !s.deletes {
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
	if !s.deletes {
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
	mayBeLost := s.deletes || o.killed && o.status == 202
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

// auditKeys checks that each file has the key of a request if and only if it has the rows
// of the request, and that the response that is stored with the key is correct.
func auditKeys(s *state) (problems []string) {
	for _, t := range s.tables {
		used := 0
		for _, o := range s.requests {
			if o.Key == "" {
				continue
			}
			n, ok := t.findKey(o)
			used += n
			if stored := len(o.idsIn(t)) > 0; n > 1 || stored != (n == 1) {
				problems = append(problems, fmt.Sprintf("%s: the key of request %d is stored %d times, its rows: %t",
					t.file, o.ID, n, stored))
			}
			if !ok {
				problems = append(problems, fmt.Sprintf("%s: the key of request %d has another response", t.file, o.ID))
			}
		}
		if used != len(t.keys) {
			problems = append(problems, fmt.Sprintf("%s: %d keys were not sent", t.file, len(t.keys)-used))
		}
	}
	return problems
}

// findKey returns how often the key of o is in t, and whether the stored responses
// are correct.
func (t *table) findKey(o *outcome) (n int, ok bool) {
	want := storedKey{key: storedDigest(o.Key), status: o.successStatus(), accepted: len(o.Rows)}
	ok = true
	for _, k := range t.keys {
		if bytes.Equal(k.key, want.key) {
			n++
			ok = ok && k.status == want.status && k.accepted == want.accepted && k.filtered == 0
		}
	}
	return n, ok
}

// auditSummaries checks that the tables of the summaries are consistent.
func auditSummaries(s *state) (problems []string) {
	for _, t := range s.tables {
		for _, d := range t.damage {
			problems = append(problems, t.file+": "+d)
		}
	}
	return problems
}
