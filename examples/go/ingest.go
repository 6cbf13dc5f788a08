package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxLines  = 10_000  // lines that wait
	batchSize = 1 << 20 // bytes after which a request takes no more lines
)

// A Writer sends JSON log lines to the log ingester from a goroutine. Each
// Write must be one line, as slog.JSONHandler, zap, zerolog and logrus do.
//
// The Writer repeats a request after a connection error or a status of 500 or
// more, until the service accepts it. Each request has a key, so that the
// service stores its lines once. On standard error the Writer reports how many
// lines were lost, and why.
type Writer struct {
	url, key     string
	closeTimeout time.Duration
	ctx          context.Context // canceled when closeTimeout is over
	cancel       context.CancelFunc
	done         chan struct{} // closed when run returns
	overflow     atomic.Int64  // lines dropped since the last report

	mu     sync.Mutex // guards closed, and sending to and closing of lines
	closed bool
	lines  chan []byte
}

// NewWriter returns a Writer that sends to url, for example
// http://localhost:3002/ingest?wait=1. Without wait=1, the service responds before
// it has stored the lines, and loses them if it is killed then. Close waits for closeTimeout
// at most, for example 10 seconds. An empty key sends no key.
func NewWriter(url, key string, closeTimeout time.Duration) *Writer {
	w := &Writer{url: url, key: key, closeTimeout: closeTimeout,
		done: make(chan struct{}), lines: make(chan []byte, maxLines)}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	go w.run()
	return w
}

// Write queues a line and never waits for the service. It drops and counts the
// line if the buffer is full.
func (w *Writer) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return 0, os.ErrClosed
	}
	select {
	case w.lines <- bytes.Clone(line):
	default:
		w.overflow.Add(1)
	}
	return len(line), nil
}

// Close waits until all lines are sent, or closeTimeout is over. Call it before
// os.Exit and log.Fatal, which do not run deferred functions.
func (w *Writer) Close() error {
	w.mu.Lock()
	if !w.closed {
		w.closed = true
		close(w.lines)
	}
	w.mu.Unlock()
	defer time.AfterFunc(w.closeTimeout, w.cancel).Stop()
	<-w.done
	return nil
}

func (w *Writer) run() {
	defer close(w.done)
	for batch := range w.lines {
		n := 1
		for ; len(w.lines) > 0 && len(batch) < batchSize; n++ {
			batch = append(batch, <-w.lines...)
		}
		w.send(batch, n)
	}
}

// send posts a batch of n lines until the service accepts or refuses it.
func (w *Writer) send(batch []byte, n int) {
	key := rand.Text()
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		retry, err := w.post(batch, key)
		w.reportOverflow()
		if err == nil {
			return
		}
		if !retry {
			report(n, err)
			return
		}
		select {
		case <-time.After(wait):
		case <-w.ctx.Done():
			w.reportOverflow()
			for range w.lines {
				n++
			}
			report(n, fmt.Errorf("not sent within %v: %w", w.closeTimeout, err))
			return
		}
	}
}

// post sends one request. retry reports whether to send it again after an error.
func (w *Writer) post(batch []byte, key string) (retry bool, err error) {
	ctx, cancel := context.WithTimeout(w.ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "POST", w.url, bytes.NewReader(batch))
	if err != nil {
		return false, err
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	req.Header.Set("Idempotency-Key", key)
	if w.key != "" {
		req.Header.Set("Authorization", "Bearer "+w.key)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return true, err
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(res.Body, 1024)) // read the body, so that the connection is reused
	if res.StatusCode < 300 {
		return false, nil
	}
	return res.StatusCode >= 500, fmt.Errorf("%s: %s", res.Status, bytes.TrimSpace(text))
}

func (w *Writer) reportOverflow() {
	if lost := w.overflow.Swap(0); lost > 0 {
		report(int(lost), errors.New("buffer full"))
	}
}

func report(n int, reason error) {
	fmt.Fprintf(os.Stderr, "log ingester: %d lines lost: %v\n", n, reason)
}
