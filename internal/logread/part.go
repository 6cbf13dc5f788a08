package logread

// A frame writes what surrounds each entry in a response.
type frame interface {
	begin(dst []byte, id int64) []byte
	end(dst []byte) []byte
}

// maxFrame is an upper bound of what a frame writes for one entry, in bytes.
const maxFrame = 64

// A partWriter formats entries and collects them in parts of bounded size. Its
// memory is part of readMemory, and what exceeds minPart is added to account.
type partWriter struct {
	frame   frame
	account account
	send    func(part []byte) error // sends a part; it may block and change the part
	buf     []byte
	size    int // limit of cap(buf), at least minPart
}

func newPartWriter(f frame, account account, send func([]byte) error) *partWriter {
	return &partWriter{frame: f, account: account, send: send, size: minPart}
}

// add adds an entry to the part, and reports whether it fits.
func (w *partWriter) add(r *row) bool {
	if !w.room(maxFrame + r.maxJSON()) {
		return false
	}
	w.buf = r.appendJSON(w.frame.begin(w.buf, r.id))
	w.buf = w.frame.end(w.buf)
	return true
}

// addPiece adds as much of a large entry as fits into an empty part.
func (w *partWriter) addPiece(r *largeRow, e *largeEntry, work *work) error {
	for n := largePart; n > minPart && !w.room(n); n /= 2 {
	}
	w.grow(w.size)
	begins := r.sum == 0
	if begins {
		w.buf = w.frame.begin(w.buf, r.id)
	}
	var err error
	if w.buf, err = r.append(w.buf, e, w.size-maxFrame-len(w.buf), work); err != nil {
		return err
	}
	if r.pieces.done() {
		w.buf = w.frame.end(w.buf)
	}
	return nil
}

// room makes room for n more bytes, and reports whether it could. Only an empty part
// can become larger than partSize.
func (w *partWriter) room(n int) bool {
	n += len(w.buf)
	if n <= cap(w.buf) {
		return true
	}
	if n > w.size {
		size := max(n, partSize)
		if size > largePart || size > partSize && !w.empty() || !w.account.grow(size-w.size) {
			return false
		}
		w.size = size
	}
	w.grow(min(w.size, max(n, 2*cap(w.buf))))
	return true
}

// grow makes the capacity of the buffer n, which must be at most w.size.
func (w *partWriter) grow(n int) {
	if n > cap(w.buf) {
		w.buf = append(make([]byte, 0, n), w.buf...)
	}
}

// empty reports whether the part is empty.
func (w *partWriter) empty() bool { return len(w.buf) == 0 }

// flush sends the part.
func (w *partWriter) flush() error {
	if w.empty() {
		return nil
	}
	err := w.send(w.buf)
	w.reset()
	return err
}

// reset empties the part, and frees the buffer of a large one.
func (w *partWriter) reset() {
	w.buf = w.buf[:0]
	if w.size > partSize {
		w.close()
	}
}

// close frees the memory of the part.
func (w *partWriter) close() {
	w.account.shrink(w.size - minPart)
	w.size, w.buf = minPart, nil
}
