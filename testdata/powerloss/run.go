//go:build linux && amd64

package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
)

// A run is one recorded execution of a workload.
type run struct {
	*recorder
	*process // the running service
	binary   string
	flags    []string // of every service
	seed     uint64
	clients  int // number of clients so far
}

// record executes a workload and returns its recording. flags are the service's.
func record(execute func(*run) error, binary, tempDir string, seed uint64, flags ...string) (*recording, error) {
	dir, err := os.MkdirTemp(tempDir, "recording-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) // the recording does not need it
	r := &run{recorder: newRecorder(dir), binary: binary, flags: flags, seed: seed}
	err = execute(r)
	if r.process != nil {
		if err != nil {
			err = fmt.Errorf("%w; log of the service: %s", err, r.log.text())
		}
		r.stopRecording()
	}
	rec, incomplete := r.recording()
	if err := errors.Join(err, incomplete); err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	return rec, nil
}

// start starts the service.
func (r *run) start() error {
	r.started()
	p, err := startRecorded(r.recorder, serviceArgs(r.binary, r.dir, r.flags...))
	if err == nil {
		r.process = p
	}
	return err
}

// stopRecording kills the service, if it is running.
func (r *run) stopRecording() {
	r.kill()
	r.process = nil
}

// terminateService shuts the service down.
func (r *run) terminateService() error {
	p := r.process
	r.process = nil
	return p.terminate()
}

// A sender is a client with its own random numbers.
type sender struct {
	*client
	*rand.Rand
}

// connect connects a client.
func (r *run) connect() (*sender, error) {
	id := r.clients
	r.clients++
	c, err := dial(r.recorder, r.address)
	if err != nil {
		return nil, err
	}
	return &sender{c, rand.New(rand.NewPCG(r.seed, uint64(id)))}, nil
}

// newTime and oldTime are the times of entries that retention keeps and deletes.
const (
	newTime = "2999-01-01T00:00:00.000000000Z"
	oldTime = "2001-01-01T00:00:00.000000000Z"
)

// send sends a request of n entries of about size bytes, and returns the status
// of its response.
func (s *sender) send(wait bool, n, size int, timestamp string) (status int, err error) {
	return s.post(s.newRequest(wait, false, n, size, timestamp))
}

// newRequest returns a new request of n entries of about size bytes.
func (s *sender) newRequest(wait, withKey bool, n, size int, timestamp string) request {
	return s.r.newRequest(wait, withKey, func(id int) []row {
		var rows []row
		for i := range n {
			rows = append(rows, row{
				Level:   "error",
				Message: fmt.Sprintf("%d/%d/%d", id, i, n),
				Time:    timestamp,
				Pad:     strconv.Quote(s.text(size/2 + s.IntN(size))),
			})
		}
		return rows
	})
}

// text returns n random letters.
func (s *sender) text(n int) string {
	text := make([]byte, n)
	for i := range text {
		text[i] = 'a' + byte(s.IntN(26))
	}
	return string(text)
}

// mustSend is like send, but returns an error if the response is not 2xx.
func (s *sender) mustSend(wait bool, n, size int, timestamp string) error {
	status, err := s.send(wait, n, size, timestamp)
	if err == nil && status/100 != 2 {
		err = fmt.Errorf("got status %d, want 200 or 202", status)
	}
	return err
}

// sendFrom connects clients, and waits until they have sent their requests.
func (r *run) sendFrom(clients int, send func(*sender) error) error {
	var group sync.WaitGroup
	errs := make([]error, clients)
	for i := range clients {
		s, err := r.connect()
		if err != nil {
			return err
		}
		group.Go(func() {
			defer s.conn.Close() // all responses were received
			errs[i] = send(s)
		})
	}
	group.Wait()
	return errors.Join(errs...)
}
