//go:build linux && amd64

package main

import "slices"

// A disk is the state of a disk and its cache at one point of a recording.
type disk struct {
	files   map[fileID]*file
	names   map[string]fileID // the names that are on disk
	pending []nameChange      // the changes of names that may be on disk, in order
}

// A file is the state of a file on a disk.
type file struct {
	synced  []byte      // the content that is on disk
	pending []operation // may be on disk, in order
}

// An operation is a write or a truncation of a file.
type operation struct {
	event    int // its index
	truncate bool
	offset   int64 // of the write, or the new size
	data     []byte

	// failed means that a sync of this operation failed. The kernel then forgets
	// that it has not been written: a later sync does not write it, unless the
	// page is changed again.
	failed bool
}

func (o *operation) end() int64 { return o.offset + int64(len(o.data)) }

// touches reports whether o changes a byte from start until before end.
func (o *operation) touches(start, end int64) bool {
	return o.offset < end && (o.truncate || o.end() > start)
}

// apply applies the operation to the part of a file that starts at start.
func (o *operation) apply(part []byte, start int64) {
	end := start + int64(len(part))
	if !o.touches(start, end) {
		return
	}
	if o.truncate {
		clear(part[max(o.offset-start, 0):])
		return
	}
	copy(part[max(o.offset-start, 0):], o.data[max(start-o.offset, 0):])
}

// resize returns the size of a file of the given size after the operation.
func (o *operation) resize(size int64) int64 {
	if o.truncate {
		return o.offset
	}
	return max(size, o.end())
}

// A nameChange creates, removes or renames a name.
type nameChange struct {
	index int // of the event
	*event
}

// diskAt returns the disk after the given events.
func diskAt(events []event) *disk {
	d := &disk{files: map[fileID]*file{}, names: map[string]fileID{}}
	for i := range events {
		e := &events[i]
		switch e.Kind {
		case evCreate:
			d.files[e.File] = new(file)
			d.pending = append(d.pending, nameChange{i, e})
		case evUnlink, evRename:
			d.pending = append(d.pending, nameChange{i, e})
		case evSyncDir:
			d.syncNames(e.Start)
		case evWrite, evTruncate:
			f := d.files[e.File]
			f.pending = append(f.pending, operation{
				event: i, truncate: e.Kind == evTruncate, offset: e.Offset, data: e.Data,
			})
		case evSync:
			if e.Failed {
				d.files[e.File].failSync(e.Start)
			} else {
				d.files[e.File].sync(e.Start)
			}
		}
	}
	return d
}

// syncNames puts the changes before the event start on disk.
func (d *disk) syncNames(start int) {
	for len(d.pending) > 0 && d.pending[0].index < start {
		d.pending[0].apply(d.names)
		d.pending = d.pending[1:]
	}
}

// apply applies a change to names. A change of a name that is not on disk has no
// effect.
func (c nameChange) apply(names map[string]fileID) {
	switch c.Kind {
	case evCreate:
		names[c.Name] = c.File
	case evUnlink:
		delete(names, c.Name)
	case evRename:
		if id, ok := names[c.Name]; ok {
			delete(names, c.Name)
			names[c.Target] = id
		}
	}
}

// pageSize is the size of a page of the kernel's cache, in bytes.
const pageSize = 4096

// failSync marks the operations before the event start as failed. It splits them
// into pages, because each page is written or lost on its own.
func (f *file) failSync(start int) {
	var split []operation
	for _, o := range f.pending {
		if o.event >= start || o.truncate {
			split = append(split, o)
			continue
		}
		for offset := o.offset; offset < o.end(); {
			end := min(o.end(), (offset/pageSize+1)*pageSize)
			split = append(split, operation{
				event: o.event, offset: offset, data: o.data[offset-o.offset : end-o.offset], failed: true,
			})
			offset = end
		}
	}
	f.pending = split
}

// sync puts the operations before the event start on disk.
func (f *file) sync(start int) {
	var left []operation
	for i, o := range f.pending {
		if o.event >= start || o.failed && !f.changedAgain(i, start) {
			left = append(left, o)
			continue
		}
		size := o.resize(int64(len(f.synced)))
		f.synced = resize(f.synced, size)
		o.apply(f.synced, 0)
	}
	f.pending = left
}

// changedAgain reports whether the page of the failed operation i was changed
// again before the event start.
func (f *file) changedAgain(i, start int) bool {
	page := f.pending[i].offset / pageSize * pageSize
	return slices.ContainsFunc(f.pending[i+1:], func(o operation) bool {
		return !o.failed && o.event < start && o.touches(page, page+pageSize)
	})
}

func resize(b []byte, size int64) []byte {
	if size <= int64(len(b)) {
		return b[:size]
	}
	return append(b, make([]byte, size-int64(len(b)))...)
}
