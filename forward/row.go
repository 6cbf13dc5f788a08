package main

import (
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"time"
)

// A rawRow is a row of logs.db. Its values may be anything: SQLite stores any
// bytes in any column.
type rawRow struct {
	id                                 int64
	level, message, timestamp, details sql.NullString
}

func (r *rawRow) values() [4]*sql.NullString {
	return [...]*sql.NullString{&r.level, &r.message, &r.timestamp, &r.details}
}

// size estimates the memory that the row takes, in bytes.
func (r *rawRow) size() int {
	return len(r.level.String) + len(r.message.String) + len(r.timestamp.String) + len(r.details.String) + 100
}

// hash returns the row's fingerprint. It must never change: fingerprints stored
// in PostgreSQL are compared with those that later versions compute.
func (r *rawRow) hash() []byte {
	h := sha256.New()
	for _, v := range r.values() {
		length := int64(-1) // NULL
		if v.Valid {
			length = int64(len(v.String))
		}
		binary.Write(h, binary.LittleEndian, length) // a hash never returns an error
		h.Write([]byte(v.String))
	}
	return h.Sum(nil)
}

// A row is a row that PostgreSQL can store.
type row struct {
	id             int64
	level, message string
	time           time.Time
	details        sql.NullString // JSON
	detailsAsText  bool           // details only holds the original text, see dropStructure
}
