//go:build linux && amd64

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// A recorder records what happens in a data directory. The tracers of the
// service's processes and the clients call it; each call adds its event at the
// end.
type recorder struct {
	dir string

	mu       sync.Mutex
	idle     sync.Cond // inCall is 0
	inCall   int       // threads that are in a system call on the directory
	events   []event
	requests []request // by id
	err      error     // the first reason why the recording is incomplete

	inodes map[uint64]fileID // the files that have a name
	names  map[string]fileID
	files  []recordedFile // by fileID

	active    map[uint16]int // the id of the request that waits for a response, by the client's port
	failSyncs int            // how many of the next syncs of the WAL fail with EIO
	diskLimit int64          // size of all files at which the disk is full; 0 for no limit
}

// A recordedFile is the current state of a file.
type recordedFile struct {
	inode uint64
	size  int64
	index bool // of a WAL
}

func newRecorder(dir string) *recorder {
	r := &recorder{
		dir:    dir,
		inodes: map[uint64]fileID{},
		names:  map[string]fileID{},
		active: map[uint16]int{},
	}
	r.idle.L = &r.mu
	return r
}

// add adds an event. The caller holds the lock.
func (r *recorder) add(e event) { r.events = append(r.events, e) }

// fail records why the recording is incomplete.
func (r *recorder) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = errors.Join(r.err, err)
}

// name returns the name of a path in the data directory.
func (r *recorder) name(path string) (name string, ok bool) {
	dir, name := filepath.Split(path)
	return name, filepath.Clean(dir) == r.dir
}

// opened records that a file was opened under a name, and that it was created if
// it is not the one that had that name.
func (r *recorder) opened(name string, inode uint64) {
	if id, ok := r.names[name]; ok && r.inodes[inode] == id {
		return
	}
	id := fileID(len(r.files))
	r.files = append(r.files, recordedFile{inode: inode, index: isIndex(name)})
	r.names[name] = id
	r.inodes[inode] = id
	r.add(event{Kind: evCreate, File: id, Name: name})
}

func (r *recorder) wrote(id fileID, offset int64, data []byte) {
	f := &r.files[id]
	f.size = max(f.size, offset+int64(len(data)))
	if !f.index {
		r.add(event{Kind: evWrite, File: id, Offset: offset, Data: data})
	}
}

func (r *recorder) truncated(id fileID, size int64) {
	r.files[id].size = size
	if !r.files[id].index {
		r.add(event{Kind: evTruncate, File: id, Offset: size})
	}
}

func (r *recorder) unlinked(name string) {
	delete(r.names, name)
	r.add(event{Kind: evUnlink, Name: name})
}

func (r *recorder) renamed(from, to string) {
	r.names[to] = r.names[from]
	delete(r.names, from)
	r.add(event{Kind: evRename, Name: from, Target: to})
}

// full reports whether a write that ends at end does not fit on the disk.
func (r *recorder) full(id fileID, end int64) bool {
	grows := end - r.files[id].size
	return r.diskLimit > 0 && grows > 0 && r.used()+grows > r.diskLimit
}

// used returns the size of all files that have a name.
func (r *recorder) used() int64 {
	var used int64
	for _, id := range r.names {
		used += r.files[id].size
	}
	return used
}

// isWAL reports whether the file is the WAL of logs.db.
func (r *recorder) isWAL(id fileID) bool {
	wal, ok := r.names[database+"-wal"]
	return ok && wal == id
}

// rename renames a file as another program would, while the service is running.
func (r *recorder) rename(from, to string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.inCall > 0 {
		r.idle.Wait()
	}
	if err := os.Rename(filepath.Join(r.dir, from), filepath.Join(r.dir, to)); err != nil {
		return err
	}
	r.renamed(from, to)
	return nil
}

// failWALSyncs makes the next n syncs of the WAL fail with EIO.
func (r *recorder) failWALSyncs(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failSyncs = n
}

// fillDisk leaves room for only free more bytes. A negative number means that
// the disk is no longer limited.
func (r *recorder) fillDisk(free int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.diskLimit = 0
	if free >= 0 {
		r.diskLimit = r.used() + free
	}
}

// newRequest adds a request with the rows that newRows returns for its id.
func (r *recorder) newRequest(wait, withKey bool, newRows func(id int) []row) request {
	r.mu.Lock()
	defer r.mu.Unlock()
	id := len(r.requests)
	q := request{ID: id, Wait: wait, Rows: newRows(id)}
	if withKey {
		q.Key = fmt.Sprintf("key-%d", id)
	}
	r.requests = append(r.requests, q)
	return r.requests[id]
}

// sent records that the client with the given port is about to send a request.
func (r *recorder) sent(port uint16, id int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.active[port] = id
	r.add(event{Kind: evSend, Request: id})
}

// responded records that the service is about to write to the client with the
// given port, if text starts a response.
func (r *recorder) responded(port uint16, text string) {
	id, ok := r.active[port]
	var status int
	if _, err := fmt.Sscanf(text, "HTTP/1.1 %d ", &status); err != nil || !ok {
		return // the rest of a response, or a connection that sends no entries
	}
	delete(r.active, port)
	r.add(event{Kind: evResponse, Request: id, Status: status})
}

// checkResponse returns an error if the response that the client with the given
// port received is not recorded.
func (r *recorder) checkResponse(port uint16) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, waiting := r.active[port]; waiting {
		return errors.New("a client received a response that was not recorded")
	}
	return nil
}

// entered records that a thread entered a system call. The caller holds the lock.
func (r *recorder) entered() { r.inCall++ }

// left records that n threads left their system calls. The caller holds the
// lock.
func (r *recorder) left(n int) {
	r.inCall -= n
	if r.inCall == 0 {
		r.idle.Broadcast()
	}
}

// started records the start of the service.
func (r *recorder) started() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.add(event{Kind: evStart})
}

// exited records the exit of the service, which had n threads in system calls.
func (r *recorder) exited(status, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left(n)
	r.add(event{Kind: evExit, Status: status})
}

// recording returns what was recorded, or why it is incomplete.
func (r *recorder) recording() (*recording, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &recording{r.events, r.requests}, r.err
}
