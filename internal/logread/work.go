package logread

import "context"

// checkEvery is how many bytes a scan examines between two checks of its context.
const checkEvery = 256 << 10

// A work counts the bytes that a scan examines, and ends the scan when its context
// is done. Everything whose cost depends on the size of an entry reports to it, at
// the latest after each piece of pieceSize bytes. A cancelled scan therefore ends
// soon, also in the middle of an entry.
type work struct {
	ctx       context.Context
	examined  int64 // bytes up to the last check
	unchecked int   // bytes since the last check
	err       error // why the scan must end
	buf       []byte
}

// examine adds n bytes. If it returns false, the scan must end; all later calls
// return false too.
func (w *work) examine(n int) bool {
	w.unchecked += n
	return w.unchecked < checkEvery || w.check()
}

func (w *work) check() bool {
	if w.err == nil {
		w.err = w.ctx.Err()
	}
	if w.err != nil {
		return false // unchecked stays large, so that each call of examine comes here
	}
	w.examined += int64(w.unchecked)
	w.unchecked = 0
	return true
}

// total returns how many bytes were examined.
func (w *work) total() int64 { return w.examined + int64(w.unchecked) }
