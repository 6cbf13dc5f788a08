//go:build linux && amd64

package main

import (
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

// keys sends requests with an Idempotency-Key, some of them repeatedly, and kills the
// service. Then it does the same again.
func keys(r *run) error {
	for range 2 {
		if err := r.start(); err != nil {
			return err
		}
		if err := r.sendKeys(); err != nil {
			return err
		}
		r.stopRecording()
	}
	return nil
}

// keysSyncError is like keys, but syncs of the WAL fail.
func keysSyncError(r *run) error {
	if err := r.start(); err != nil {
		return err
	}
	r.failWALSyncs(2)
	return r.sendKeys()
}

// sendKeys sends requests with a key. Half of them are repeated by the same client,
// and a refused one is repeated until it is stored.
func (r *run) sendKeys() error {
	return r.sendFrom(3, func(s *sender) error {
		for range 6 {
			q := s.newRequest(s.IntN(2) == 0, true, 1+s.IntN(5), 300, newTime)
			if err := s.postUntilStored(q); err != nil {
				return err
			}
			if s.IntN(2) == 0 {
				if err := s.postUntilStored(q); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func (s *sender) postUntilStored(q request) error {
	for deadline := time.Now().Add(timeout); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		status, err := s.post(q)
		if err != nil || status/100 == 2 {
			return err
		}
		if status != 503 {
			return fmt.Errorf("got status %d, want 200, 202 or 503", status)
		}
	}
	return errors.New("timeout waiting for a response with status 200 or 202")
}

// summaries lets the service summarize some blocks, delete some of their entries while
// others are inserted, and summarize the segment again.
func summaries(r *run) error {
	if err := r.start(); err != nil {
		return err
	}
	if err := r.sendBlocks(1, 100, oldTime); err != nil {
		return err
	}
	if err := r.sendBlocks(2, 1000, newTime); err != nil {
		return err
	}
	if err := r.waitForSummary(2 << 10); err != nil {
		return err
	}
	if err := r.terminateService(); err != nil {
		return err
	}
	r.flags = append(r.flags, "-retain", "1h")
	if err := r.start(); err != nil {
		return err
	}
	if err := r.sendBlocks(17, 1000, newTime); err != nil {
		return err
	}
	return r.waitForSummary(18 << 10)
}

// sendBlocks sends n requests with the given number of entries.
func (r *run) sendBlocks(n, entries int, timestamp string) error {
	return r.sendFrom(1, func(s *sender) error {
		for range n {
			if err := s.mustSend(true, entries, 30, timestamp); err != nil {
				return err
			}
		}
		return nil
	})
}

// waitForSummary waits until the summary of the first segment covers all ids below
// upTo.
func (r *run) waitForSummary(upTo int) error {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(r.dir, database)+"?mode=ro")
	if err != nil {
		return err
	}
	defer db.Close() // nothing is written, and the service has the WAL open
	for deadline := time.Now().Add(timeout); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var made bool
		const isMade = "SELECT count(*) FROM logs_segments WHERE filter IS NOT NULL AND building IS NULL AND upto >= ?"
		if err := db.QueryRow(isMade, upTo).Scan(&made); err != nil {
			return err
		}
		if made {
			return nil
		}
	}
	return errors.New("timeout waiting for a summary")
}
