package main

import "sync"

// maxUnsent is how many bytes of frames can be unsent before net/http must wait. It writes
// at most one frame of 16 KiB at once.
const maxUnsent = 32 << 10

// unsentFrames are the frames that net/http has written to an HTTP/2 connection, and that
// are not yet sent. net/http writes the header and the body of a response separately, and
// each write to the connection costs a TLS record and a system call. So one goroutine, the
// sender, sends together what was added meanwhile.
//
// Any goroutine may use unsentFrames.
type unsentFrames struct {
	mu      sync.Mutex
	changed sync.Cond // signals a change of the fields below
	frames  []byte
	spare   []byte // a buffer for frames
	sending bool   // there is a sender
	err     error  // of sending
}

func newUnsentFrames() *unsentFrames {
	u := new(unsentFrames)
	u.changed.L = &u.mu
	return u
}

// add adds frames. It waits while there are too many, and returns the error of sending
// others. If start is true, the caller must start a sender.
func (u *unsentFrames) add(frames []byte) (start bool, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for u.err == nil && len(u.frames) > 0 && len(u.frames)+len(frames) > maxUnsent {
		u.changed.Wait()
	}
	if u.err != nil {
		return false, u.err
	}
	u.frames = append(u.frames, frames...)
	start = !u.sending
	u.sending = true
	return start, nil
}

// next returns the frames that the sender must send next. sent are those that it returned
// before, and err is the error of sending them. If there are no more, or err is not nil,
// the sender must end.
func (u *unsentFrames) next(sent []byte, err error) []byte {
	u.mu.Lock()
	defer u.mu.Unlock()
	defer u.changed.Broadcast()
	if sent != nil {
		u.spare = sent
	}
	if u.err = err; err != nil || len(u.frames) == 0 {
		u.sending = false
		return nil
	}
	frames := u.frames
	u.frames, u.spare = u.spare[:0], nil
	return frames
}

// wait waits until there is no sender.
func (u *unsentFrames) wait() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for u.sending {
		u.changed.Wait()
	}
}
