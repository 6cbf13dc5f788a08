//go:build linux && amd64

package main

import (
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"time"

	_ "modernc.org/sqlite" // driver for readers and the audit
)

// A workload is something that the service does while it is recorded.
type workload struct {
	name    string
	deletes bool // retention deletes the oldest rows
	run     func(*run) error
	after   afterCheck // an additional check with a started service; may be nil
}

var workloads = []workload{
	{name: "first", run: firstResponse},
	{name: "single", run: func(r *run) error { return r.load(4, 40, 1, 200) }},
	{name: "batches", run: func(r *run) error { return r.load(3, 20, 40, 1000) }},
	{name: "checkpoints", run: checkpoints},
	{name: "terminate", run: terminate},
	{name: "kill", run: killAndRestart},
	{name: "retain", run: retain, deletes: true},
	{name: "max-db", run: maxDB, deletes: true},
	{name: "full-disk", run: fullDisk},
	{name: "full-disk-retention", run: fullDiskWithRetention, deletes: true},
	{name: "move", run: move},
	{name: "move-with-reader", run: moveWithReader},
	{name: "sync-error", run: syncError},
	{name: "sync-error-with-reader", run: syncErrorWithReader},
	{name: "keys", run: keys, after: repeatRequests},
	{name: "keys-sync-error", run: keysSyncError, after: repeatRequests},
	{name: "summaries", run: summaries, deletes: true, after: search},
}

// load starts the service and lets clients send requests, half of which wait for
// the commit.
func (r *run) load(clients, requests, maxEntries, size int) error {
	if err := r.start(); err != nil {
		return err
	}
	return r.sendFrom(clients, func(s *sender) error {
		for range requests {
			if err := s.mustSend(s.IntN(2) == 0, 1+s.IntN(maxEntries), size, newTime); err != nil {
				return err
			}
		}
		return nil
	})
}

// firstResponse starts the service on an empty directory, and sends a few
// requests.
func firstResponse(r *run) error {
	if err := r.start(); err != nil {
		return err
	}
	return r.sendFrom(1, func(s *sender) error {
		for range 3 {
			if err := s.mustSend(true, 1, 100, newTime); err != nil {
				return err
			}
		}
		return nil
	})
}

// checkpoints sends enough for several checkpoints in another goroutine, after which
// SQLite overwrites the WAL from its start. Then it sends so much at once that a commit
// runs a checkpoint.
func checkpoints(r *run) error {
	if err := r.load(2, 45, 30, 3000); err != nil {
		return err
	}
	return r.sendFrom(1, func(s *sender) error { return s.mustSend(true, 900, 10_000, newTime) })
}

// terminate shuts the service down while its queue is not empty.
func terminate(r *run) error {
	for range 3 {
		if err := r.start(); err != nil {
			return err
		}
		err := r.sendFrom(3, func(s *sender) error {
			for range 6 {
				if err := s.mustSend(false, 1+s.IntN(10), 500, newTime); err != nil {
					return err
				}
			}
			return nil
		})
		if err := errors.Join(err, r.terminateService()); err != nil {
			return err
		}
	}
	return nil
}

// killAndRestart kills the service, so that the next one recovers the WAL.
func killAndRestart(r *run) error {
	for range 3 {
		if err := r.load(2, 8, 10, 500); err != nil {
			return err
		}
		r.stopRecording()
	}
	return nil
}

// retain deletes expired rows, returns their space, and stores new rows
// meanwhile.
func retain(r *run) error {
	if err := r.start(); err != nil {
		return err
	}
	err := r.sendFrom(1, func(s *sender) error {
		for range 12 {
			if err := s.mustSend(true, 20, 3000, oldTime); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, r.terminateService()); err != nil {
		return err
	}
	r.flags = append(r.flags, "-retain", "1h")
	return r.load(2, 15, 5, 1000)
}

// maxDB deletes the oldest rows whenever the database is too large.
func maxDB(r *run) error {
	r.flags = append(r.flags, "-max-db", "256KiB")
	return r.load(2, 25, 10, 3000)
}

// fullDisk fills the disk twice while clients send.
func fullDisk(r *run) error {
	if err := r.start(); err != nil {
		return err
	}
	for range 2 {
		if err := r.sendUntilFull(100<<10, newTime); err != nil {
			return err
		}
		r.fillDisk(-1)
		if err := r.sendUntilStored(); err != nil {
			return err
		}
	}
	return nil
}

// fullDiskWithRetention fills the disk with expired rows, so that retention
// makes space.
func fullDiskWithRetention(r *run) error {
	r.flags = append(r.flags, "-retain", "1h")
	if err := r.start(); err != nil {
		return err
	}
	if err := r.sendUntilFull(300<<10, oldTime); err != nil {
		return err
	}
	return r.sendUntilStored()
}

// sendUntilFull leaves room for free bytes and sends requests until one that
// waits for its commit fails.
func (r *run) sendUntilFull(free int64, timestamp string) error {
	r.fillDisk(free)
	return r.sendFrom(2, func(s *sender) error {
		for range 200 {
			status, err := s.send(s.IntN(2) == 0, 1+s.IntN(10), 1000, timestamp)
			if err != nil || status == 503 {
				return err
			}
		}
		return errors.New("the disk did not become full")
	})
}

// sendUntilStored sends requests until one is stored, and then a few more.
func (r *run) sendUntilStored() error {
	return r.sendFrom(1, func(s *sender) error {
		stored := 0
		for deadline := time.Now().Add(timeout); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
			status, err := s.send(true, 2, 500, newTime)
			if err != nil {
				return err
			}
			if status == 200 {
				stored++
			}
			if stored == 5 {
				return nil
			}
		}
		return errors.New("timeout waiting for a response with status 200")
	})
}

// move renames the database while clients send.
func move(r *run) error {
	if err := r.start(); err != nil {
		return err
	}
	return r.moveUnderLoad()
}

// moveUnderLoad renames the database while clients send.
func (r *run) moveUnderLoad() error {
	var sent atomic.Int64
	return r.sendFrom(3, func(s *sender) error {
		for range 16 {
			if sent.Add(1) == 20 {
				if err := r.rename(database, moved); err != nil {
					return err
				}
			}
			if _, err := s.send(s.IntN(2) == 0, 1+s.IntN(5), 500, newTime); err != nil {
				return err
			}
		}
		return nil
	})
}

// moveWithReader renames the database while a reader keeps its rows in the WAL.
func moveWithReader(r *run) error {
	if err := r.load(1, 3, 5, 500); err != nil {
		return err
	}
	reader, err := sql.Open("sqlite", "file:"+filepath.Join(r.dir, database)+"?mode=ro")
	if err != nil {
		return err
	}
	// The reader is closed after the recording, because the last connection
	// deletes the WAL.
	tx, err := reader.Begin()
	if err != nil {
		return err
	}
	var rows int
	if err := tx.QueryRow("SELECT count(*) FROM logs").Scan(&rows); err != nil {
		return err
	}
	if err := r.moveUnderLoad(); err != nil {
		return err
	}
	err = r.log.contains("uncheckpointed rows in this WAL")
	r.stopRecording()
	return errors.Join(err, tx.Rollback(), reader.Close())
}

// syncError lets syncs of the WAL fail while clients send.
func syncError(r *run) error {
	if err := r.start(); err != nil {
		return err
	}
	return r.failSyncsUnderLoad()
}

// syncErrorWithReader is like syncError, but the service also has a connection
// for reading, so that SQLite does not delete the WAL.
func syncErrorWithReader(r *run) error {
	if err := r.start(); err != nil {
		return err
	}
	response, err := http.Get("http://" + r.address + "/logs")
	if err != nil {
		return err
	}
	response.Body.Close() // the status is sufficient
	if response.StatusCode != 200 {
		return fmt.Errorf("read /logs: got status %d, want 200", response.StatusCode)
	}
	return r.failSyncsUnderLoad()
}

func (r *run) failSyncsUnderLoad() error {
	for _, failures := range []int{1, 2, 3} {
		var sent atomic.Int64
		err := r.sendFrom(2, func(s *sender) error {
			for range 8 {
				if sent.Add(1) == 6 {
					r.failWALSyncs(failures)
				}
				if _, err := s.send(s.IntN(3) > 0, 1+s.IntN(3), 500, newTime); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		if err := r.sendUntilStored(); err != nil {
			return err
		}
	}
	return nil
}
