// Package logpages reads the rows of the table logs from the pages of a SQLite database,
// which takes a fraction of the time that a SQL statement needs for each row.
// https://www.sqlite.org/fileformat2.html describes the format.
//
// The package never trusts a page: a page that does not have the expected format is an
// error. It reads only what this service stores. For anything else it returns an error
// too, and the caller reads the row or the table with SQL instead.
package logpages

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"
)

var (
	// ErrFormat means that the rows cannot be read from pages: the table is another one
	// than the service creates, the text is not UTF-8, or a page is damaged.
	ErrFormat = errors.New("pages have an unexpected format")

	// ErrRow means that one row cannot be read from pages.
	ErrRow = errors.New("row has an unexpected format")
)

const (
	schemaPage = 1   // the first page of a file, which starts with the header of the file
	fileHeader = 100 // bytes of that header

	interiorPage   = 5
	leafPage       = 13
	interiorHeader = 12 // bytes
	leafHeader     = 8
	rightmost      = 8 // offset of the page number of the rightmost child

	maxDepth = 20 // of a tree, as in SQLite

	// maxBarren is how many pages in a row can contain no complete row: the pages of one
	// path, and the overflow pages of a row of MaxPayload bytes.
	maxBarren = maxDepth + 2*MaxPayload/512

	// maxQueued is how many children of a page are queued at a time.
	maxQueued = 1024

	// MaxPayload is the size of the largest row that is read from overflow pages, in
	// bytes.
	MaxPayload = 16 << 10
)

// A Walk visits rows in the order of their ids. It does not read the file: its caller
// passes it the pages that it requests, all from one read transaction.
type Walk struct {
	first, last int64 // ids to visit
	columns     int
	visit       func(*Row) (stop bool)

	state     state
	root      uint32
	usable    int    // bytes of a page without those reserved for extensions
	queue     []node // pages of the tree still to be read, the next one last
	next      node   // the page that was requested, in states inTree and inOverflow
	barren    int    // pages read since the last row was visited
	row       Row
	payload   []byte // the part of a row with overflow pages that was read
	remaining int    // bytes of that row that are on overflow pages not read yet
}

// A node is a page of the tree. The root has depth 0.
type node struct {
	page  uint32
	depth int32
}

type state int

const (
	atTable state = iota
	atSchemaPage
	inTree
	inOverflow
	ended
)

// Start prepares a walk through the rows with first <= id <= last. visit receives each
// of them, until it returns true. Texts after the given number of columns can be missing.
func (w *Walk) Start(first, last int64, columns int, visit func(*Row) (stop bool)) {
	*w = Walk{
		first: first, last: last, columns: columns, visit: visit,
		queue: w.queue[:0], payload: w.payload[:0],
	}
}

// Ended reports whether the walk has visited all rows. If it has not, and no error was
// returned, it lacks a page or was stopped.
func (w *Walk) Ended() bool { return w.state == ended }

// Last returns the highest id that the walk includes. It is lower than the requested
// one if there are too many pages.
func (w *Walk) Last() int64 { return w.last }

// RowID returns the id of the row that caused ErrRow.
func (w *Walk) RowID() int64 { return w.row.ID }

// Trim frees memory that the walk needs only between Start and its end.
func (w *Walk) Trim() {
	if cap(w.queue) > 256 {
		w.queue = nil
	}
	if cap(w.payload) > 4<<10 {
		w.payload = nil
	}
}

// definition is the statement that creates the table logs, as normalize returns it.
const definition = "create table logs(id integer primary key autoincrement,level text not null," +
	"message text not null,timestamp text not null,details text)"

// Table starts the walk with the root page and the definition of the table in
// sqlite_schema. It returns the number of the first page to read.
func (w *Walk) Table(root int64, sql string) (page uint32, err error) {
	if w.state != atTable || root <= schemaPage || root > 1<<32-2 || normalize(sql) != definition {
		return 0, ErrFormat
	}
	w.state, w.root = atSchemaPage, uint32(root)
	return schemaPage, nil
}

// normalize returns a statement in lower case, without the white space that SQL does not
// need.
func normalize(sql string) string {
	sql = strings.Join(strings.Fields(strings.ToLower(sql)), " ")
	for _, mark := range []string{"(", ")", ","} {
		sql = strings.ReplaceAll(strings.ReplaceAll(sql, " "+mark, mark), mark+" ", mark)
	}
	return sql
}

// Page continues the walk with the page that was requested last. It returns the number
// of the next page, or 0 if the walk needs no more pages.
func (w *Walk) Page(page []byte) (next uint32, err error) {
	if w.barren++; w.barren > maxBarren {
		return 0, ErrFormat
	}
	switch w.state {
	case atSchemaPage:
		err = w.schema(page)
	case inTree:
		err = w.tree(page)
	case inOverflow:
		err = w.overflow(page)
	default:
		err = ErrFormat
	}
	switch {
	case err != nil || w.state == ended:
		return 0, err
	case w.state == inOverflow:
		return w.next.page, nil
	case len(w.queue) == 0:
		w.state = ended
		return 0, nil
	}
	w.next = w.queue[len(w.queue)-1]
	w.queue = w.queue[:len(w.queue)-1]
	return w.next.page, nil
}

// schema reads the header of the file.
func (w *Walk) schema(page []byte) error {
	const (
		reserved = 20 // offset of the number of bytes that extensions use in each page
		encoding = 56
		utf8     = 1
	)
	if len(page) < 512 || len(page) > 64<<10 || binary.BigEndian.Uint32(page[encoding:]) != utf8 {
		return ErrFormat
	}
	w.usable = len(page) - int(page[reserved])
	if w.usable < 480 {
		return ErrFormat
	}
	w.state = inTree
	w.queue = append(w.queue, node{page: w.root})
	return nil
}

// tree reads a page of the tree.
func (w *Walk) tree(page []byte) error {
	if len(page) < w.usable {
		return ErrFormat
	}
	page = page[:w.usable]
	cells := int(binary.BigEndian.Uint16(page[3:]))
	switch page[0] {
	case interiorPage:
		if w.next.depth < maxDepth && interiorHeader+2*cells <= len(page) {
			return w.interior(page, cells)
		}
	case leafPage:
		if leafHeader+2*cells <= len(page) {
			return w.leaf(page, cells)
		}
	}
	return ErrFormat
}

// interior queues the children of a page that can contain the ids of the walk. Each
// cell has the number of a child and the highest id that the child can contain.
func (w *Walk) interior(page []byte, cells int) error {
	start := len(w.queue)
	for i := range cells {
		offset := int(binary.BigEndian.Uint16(page[interiorHeader+2*i:]))
		if offset+4 > len(page) {
			return ErrFormat
		}
		id, n := varint(page[offset+4:])
		if n == 0 {
			return ErrFormat
		}
		if id < w.first {
			continue
		}
		w.queue = append(w.queue, node{binary.BigEndian.Uint32(page[offset:]), w.next.depth + 1})
		if len(w.queue)-start == maxQueued {
			w.last = min(w.last, id)
		}
		if id >= w.last {
			slices.Reverse(w.queue[start:])
			return nil
		}
	}
	w.queue = append(w.queue, node{binary.BigEndian.Uint32(page[rightmost:]), w.next.depth + 1})
	slices.Reverse(w.queue[start:])
	return nil
}

// leaf visits the rows of a page.
func (w *Walk) leaf(page []byte, cells int) error {
	previous := int64(math.MinInt64)
	w.row.Page = page
	for i := range cells {
		offset := int(binary.BigEndian.Uint16(page[leafHeader+2*i:]))
		if offset >= len(page) {
			return ErrFormat
		}
		cell := page[offset:]
		size, n := varint(cell)
		id, m := varint(cell[n:])
		if n == 0 || m == 0 || size < 0 || i > 0 && id <= previous {
			return ErrFormat
		}
		previous = id
		if id < w.first {
			continue
		}
		if id > w.last {
			w.state = ended
			return nil
		}
		w.row.ID = id
		cell = cell[n+m:]
		local := w.local(size)
		if local > len(cell) {
			return ErrFormat
		}
		if int64(local) == size {
			if err := w.visitRow(cell[:local]); err != nil {
				return err
			}
		} else if err := w.visitLarge(cell, local, size); err != nil || w.state == inOverflow {
			return err
		}
		if w.state == ended {
			return nil
		}
	}
	return nil
}

// local returns how many bytes of a row of the given size are on the leaf page.
func (w *Walk) local(size int64) int {
	most := w.usable - 35
	if size <= int64(most) {
		return int(size)
	}
	least := (w.usable-12)*32/255 - 23
	if n := least + int((size-int64(least))%int64(w.usable-4)); n <= most {
		return n
	}
	return least
}

// visitLarge visits a row that continues on overflow pages. If the columns of the walk
// are not on the leaf page, it first requests those pages, and then the leaf page again.
func (w *Walk) visitLarge(cell []byte, local int, size int64) error {
	if w.row.parse(cell[:local], w.columns) {
		w.visited()
		return nil
	}
	if size > MaxPayload || local+4 > len(cell) {
		return ErrRow
	}
	w.payload = append(w.payload[:0], cell[:local]...)
	w.remaining = int(size) - local
	w.queue = append(w.queue, w.next)
	w.next.page = binary.BigEndian.Uint32(cell[local:])
	w.state = inOverflow
	return nil
}

// overflow reads an overflow page. It starts with the number of the next one.
func (w *Walk) overflow(page []byte) error {
	if len(page) < w.usable {
		return ErrFormat
	}
	n := min(w.remaining, w.usable-4)
	w.payload = append(w.payload, page[4:4+n]...)
	w.remaining -= n
	w.next.page = binary.BigEndian.Uint32(page)
	if w.remaining > 0 {
		return nil
	}
	w.state = inTree
	w.row.Page = w.payload
	return w.visitRow(w.payload)
}

// visitRow visits the row w.row.ID, which is complete.
func (w *Walk) visitRow(payload []byte) error {
	if !w.row.parse(payload, w.columns) {
		return ErrRow
	}
	w.visited()
	return nil
}

// visited passes on w.row.
func (w *Walk) visited() {
	w.barren = 0
	w.first = w.row.ID + 1
	if w.visit(&w.row) || w.row.ID >= w.last {
		w.state = ended
	}
	w.row.Page = nil
}
