package main

import "time"

// A position is how far a source has been shipped.
type position struct {
	id   int64     // all ids up to this one are accounted for
	hash []byte    // fingerprint of row id in logs.db; nil if unknown
	time time.Time // time of row id, used for a next row without one; zero if unknown
}

// A batch is the unit of one PostgreSQL transaction. It accounts for all ids
// after one position up to another: each row is in rows, or was deleted before
// it was read, or was refused by PostgreSQL.
type batch struct {
	after     int64 // id of the position before the batch
	end       position
	rows      []row
	lost      int64 // rows deleted before they were read
	skipped   int64 // rows that PostgreSQL refused
	sanitized int64 // rows changed so that PostgreSQL can store them
	fileEnd   int64 // the highest id that the file has assigned
}

// add appends a row. The ids between the last one and its own are lost.
func (b *batch) add(r row) {
	b.rows = append(b.rows, r)
	b.lost += r.id - b.end.id - 1
	b.end.id, b.end.time = r.id, r.time
}

// halves splits a batch of at least two rows. Each half accounts for its own
// ids. Sanitized rows are all counted in the second half.
func (b batch) halves() (first, second batch) {
	half := len(b.rows) / 2
	first, second = b, b
	first.rows, second.rows = b.rows[:half], b.rows[half:]
	last := first.rows[half-1]
	first.end = position{id: last.id, time: last.time}
	second.after = last.id
	first.lost = last.id - b.after - int64(half)
	second.lost -= first.lost
	first.sanitized = 0
	return first, second
}
