package logread

import (
	"database/sql"
	"errors"
)

// A sink receives the entries that a search finds.
type sink interface {
	// add adds an entry, and reports whether the sink is full and must be
	// flushed.
	add(*row) (full bool)
	// flush makes room for more entries. It may block, because no statement
	// runs during the call. An error ends the search.
	flush() error
}

// A pausingSink is a sink whose flushes do not count as scan time.
type pausingSink struct {
	sink
	timer *pausableTimer
}

func (s pausingSink) flush() error {
	s.timer.pause()
	defer s.timer.resume()
	return s.sink.flush()
}

// addRows adds rows to dst until there are no more or dst is full, and closes
// rows. It returns the number of rows added and the id of the last one.
func addRows(rows *sql.Rows, dst sink) (n int, last int64, full bool, err error) {
	var r row
	for !full && rows.Next() {
		if err := r.scan(rows); err != nil {
			rows.Close() // report the first error
			return n, last, false, err
		}
		full = dst.add(&r)
		n, last = n+1, r.id
	}
	return n, last, full, errors.Join(rows.Err(), rows.Close())
}
