package logread

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"net/netip"
	"time"

	"modernc.org/sqlite"

	"log-ingester/internal/dbfile"
	"log-ingester/internal/summary"
)

// keepLoaded is how long a large entry stays loaded.
const keepLoaded = 2 * time.Second

var (
	errEntryDeleted = errors.New("entry was deleted")
	errEntryChanged = errors.New("entry changed while it was being sent")
)

// largeEntries loads entries with large values, one at a time, for all reads and
// tails. It keeps the last one for a short time, because a client takes a large
// entry in many pieces.
type largeEntries struct {
	db      *sql.DB // a single connection, which can read values of any size
	slots   *slots  // one slot; the read that holds it owns entry and expire
	account account
	entry   largeEntry
	expire  *time.Timer
}

// A largeEntry is a loaded entry.
type largeEntry struct {
	row
	loaded       time.Time // zero if no entry is loaded
	sum          uint64    // hash of the columns
	checked      bool      // validDetails is known
	validDetails bool
	text         []byte // holds the columns
	seed         maphash.Seed
}

func openLargeEntries(path string, account account) (*largeEntries, error) {
	ls := &largeEntries{slots: newSlots(0, 1, false), account: account}
	ls.entry.seed = maphash.MakeSeed()
	db, err := dbfile.OpenReadOnly(path, dbfile.Options{
		CacheSize: -64,
		Functions: []dbfile.Function{{Name: "log_load", Args: 4, Body: ls.store}},
	})
	if err != nil {
		return nil, fmt.Errorf("open database for large entries: %w", err)
	}
	ls.db = db
	ls.db.SetMaxOpenConns(1)
	ls.db.SetConnMaxIdleTime(10 * time.Second)
	return ls, nil
}

func (ls *largeEntries) close() error {
	ls.slots.close()
	ls.slots.wait()
	if ls.expire != nil {
		ls.expire.Stop()
	}
	return ls.db.Close()
}

// newTurn returns a turn for the read of a lease. The caller must release it.
func (ls *largeEntries) newTurn(l *lease) *turn { return &turn{slots: ls.slots, addr: l.addr} }

// use loads the entry with an id and calls f. The entry is valid only during the
// call. use returns errEntryDeleted if there is no such entry. It releases l's slot,
// so that other reads can go on, and the caller must acquire it again.
//
// Loading an entry again does not count as time of the scan, because it is not the
// read's fault that another entry was loaded meanwhile.
func (ls *largeEntries) use(
	ctx context.Context, l *lease, t *turn, id int64, again bool, f func(*largeEntry) error,
) error {
	l.release()
	if err := t.begin(ctx); err != nil {
		return err
	}
	defer t.pause()
	if !again {
		l.timer.resume()
	}
	defer l.timer.pause()
	if ls.entry.id != id || time.Since(ls.entry.loaded) > keepLoaded {
		if err := ls.load(ctx, id); err != nil {
			return err
		}
	}
	l.timer.resume()
	return f(&ls.entry)
}

// load loads the entry with an id. The caller must hold the slot.
func (ls *largeEntries) load(ctx context.Context, id int64) error {
	e := &ls.entry
	e.loaded = time.Time{}
	var size int
	err := ls.db.QueryRowContext(ctx, "SELECT ifnull(octet_length(level), 0) + ifnull(octet_length(message), 0)"+
		" + ifnull(octet_length(timestamp), 0) + ifnull(octet_length(details), 0) FROM logs WHERE id = ?", id).Scan(&size)
	if errors.Is(err, sql.ErrNoRows) {
		return errEntryDeleted
	}
	if err != nil {
		return err
	}
	const number = 32 // octet_length counts fewer digits of a number than store writes
	size += 4 * number
	if size > cap(e.text) {
		ls.account.add(size - cap(e.text))
		e.text = nil // so that it can be collected before the next line allocates
		e.text = make([]byte, 0, size)
	}
	ls.account.add(size) // SQLite's copy
	defer ls.account.add(-size)

	var stored bool
	err = ls.db.QueryRowContext(ctx,
		"SELECT log_load(level, message, timestamp, details) FROM logs WHERE id = ?", id).Scan(&stored)
	if errors.Is(err, sql.ErrNoRows) {
		return errEntryDeleted
	}
	if err != nil {
		return err
	}
	e.id, e.loaded, e.checked = id, time.Now(), false
	ls.expireLater()
	return nil
}

// store is the SQL function log_load(level, message, timestamp, details). It copies
// the columns of a row to the entry.
func (ls *largeEntries) store(_ *sqlite.FunctionContext, args []driver.Value) (driver.Value, error) {
	e := &ls.entry
	e.text = e.text[:0]
	var hash maphash.Hash
	hash.SetSeed(e.seed)
	columns := [...]*sql.RawBytes{&e.level, &e.message, &e.timestamp, &e.details}
	for i, column := range columns {
		text, isBlob := args[i].([]byte)
		if !isBlob {
			text = []byte(summary.ColumnText(args[i]))
		}
		if len(text) > cap(e.text)-len(e.text) {
			return nil, errEntryChanged // since its size was read
		}
		start := len(e.text)
		e.text = append(e.text, text...)
		*column = e.text[start:len(e.text):len(e.text)]
		if args[i] == nil || isBlob && len(text) == 0 {
			*column = nil // as database/sql does
		}
		hash.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(text))))
		hash.Write(*column)
	}
	e.sum = hash.Sum64()
	return true, nil
}

// expireLater frees the memory of the entry unless another one is loaded soon.
func (ls *largeEntries) expireLater() {
	if ls.expire == nil {
		ls.expire = time.AfterFunc(keepLoaded, ls.free)
	} else {
		ls.expire.Reset(keepLoaded)
	}
}

// free frees the memory of the entry if it was not loaded recently.
func (ls *largeEntries) free() {
	nobody := netip.Addr{}
	slot, err := ls.slots.acquire(context.Background(), nobody)
	if err != nil {
		return // closed
	}
	defer ls.slots.release(slot, nobody)
	if e := &ls.entry; time.Since(e.loaded) >= keepLoaded {
		ls.account.add(-cap(e.text))
		*e = largeEntry{seed: e.seed}
	}
}

// checkDetails validates the details as JSON, once per entry. It returns an error if
// the read must end.
func (e *largeEntry) checkDetails(w *work) error {
	if e.checked {
		return nil
	}
	var v jsonValidator
	valid := true
	for s := []byte(e.details); len(s) > 0 && valid; {
		n := min(len(s), pieceSize)
		if !w.examine(n) {
			return w.err
		}
		valid = v.write(s[:n])
		s = s[n:]
	}
	e.checked, e.validDetails = true, valid && v.valid()
	return nil
}

// A largeRow writes the JSON of a large entry in pieces. The entry may be loaded
// again for each.
type largeRow struct {
	id     int64
	pieces rowPieces
	sum    uint64 // of the entry; 0 before the first piece
}

// append appends the next piece, of at most room bytes.
func (r *largeRow) append(dst []byte, e *largeEntry, room int, w *work) ([]byte, error) {
	if r.sum != 0 && r.sum != e.sum {
		return dst, errEntryChanged
	}
	if r.sum == 0 {
		if err := e.checkDetails(w); err != nil {
			return dst, err
		}
		r.sum, r.pieces.validDetails = e.sum, e.validDetails
	}
	if !w.examine(room) {
		return dst, w.err
	}
	return r.pieces.append(dst, &e.row, room), nil
}

// errorFor returns the error for a client that has received a part of the entry.
func (r *largeRow) errorFor(err error) error {
	if errors.Is(err, errEntryDeleted) && r.sum != 0 {
		return fmt.Errorf("send entry %d: %w", r.id, errEntryChanged)
	}
	return err
}
