//go:build linux && amd64

package main

import "strings"

// A recording is everything that happened in one data directory, in order: what
// the service did to the files, and what its clients sent and received.
type recording struct {
	Events   []event
	Requests []request // by id
}

// An eventKind says what happened in an event.
type eventKind int

const (
	// Operations on a file.
	evWrite    eventKind = iota // Data was written at Offset
	evTruncate                  // the size became Offset
	evSync                      // everything before the event Start is on disk

	// Operations on the directory.
	evCreate  // Name became the name of a new file
	evUnlink  // Name was removed
	evRename  // Name became Target
	evSyncDir // all names as of the event Start are on disk

	// What the clients know.
	evSend     // Request was sent, perhaps again
	evResponse // the response to Request, with Status, was written to the socket
	evStart    // the service was started
	evExit     // the service exited with Status
)

// A fileID identifies a file of a recording. A name can belong to several files
// in turn, and a file can have several names in turn.
type fileID int

// An event is one entry of a recording. Operations that failed are not recorded,
// except failed syncs.
type event struct {
	Kind    eventKind
	File    fileID
	Offset  int64
	Data    []byte
	Name    string
	Target  string
	Start   int  // of a sync: the number of events before its system call began
	Failed  bool // of a sync
	Request int  // id
	Status  int
}

// A request is one request to POST /ingest.
type request struct {
	ID   int
	Wait bool   // for the commit
	Key  string // Idempotency-Key; empty for none
	Rows []row
}

// A row is a row of the table logs, without its id. Pad is the only member of
// its details.
type row struct{ Level, Message, Time, Pad string }

// database is the name of the service's database.
const database = "logs.db"

// moved is the name to which the workloads move the database.
const moved = "moved.db"

// isIndex reports whether a file is the index of a WAL. It is memory-mapped, so
// its content cannot be recorded. SQLite rebuilds it after a power loss.
func isIndex(name string) bool { return strings.HasSuffix(name, "-shm") }

// successStatus returns the status of the response to a request that is accepted.
func (q *request) successStatus() int {
	if q.Wait {
		return 200
	}
	return 202
}
