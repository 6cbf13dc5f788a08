package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// stats are the figures of this process. Any goroutine may use them.
type stats struct {
	shipped   atomic.Int64 // rows committed
	lost      atomic.Int64
	skipped   atomic.Int64
	fitted    atomic.Int64
	errors    atomic.Int64
	lastError atomic.Int64 // Unix nanoseconds; 0 for none
	position  atomic.Int64 // the last id dealt with; -1 until PostgreSQL has said it
	fileEnd   atomic.Int64 // the highest id in the file when it was last read
}

func newStats() *stats {
	s := &stats{}
	s.position.Store(-1)
	return s
}

func (s *stats) committed(b batch) {
	s.shipped.Add(int64(len(b.rows)))
	s.lost.Add(b.lost)
	s.skipped.Add(b.skipped)
	s.fitted.Add(b.fitted)
	s.position.Store(b.end.id)
	s.fileEnd.Store(b.fileEnd)
}

func (s *stats) failed() {
	s.errors.Add(1)
	s.lastError.Store(time.Now().UnixNano())
}

// serveMetrics answers GET /metrics on the address until the returned function
// is called.
func serveMetrics(address string, s *stats, db string, log *slog.Logger) (stop func(), err error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		writeMetrics(r.Context(), w, s, db)
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("metrics are not served any more", "err", err)
		}
	}()
	log.Info("serving metrics", "url", "http://"+listener.Addr().String()+"/metrics")
	return func() { server.Close() }, nil // its connections may be cut
}

// writeMetrics writes Prometheus' text format. A figure that is not known,
// like the lag while PostgreSQL has not been reached, is left out.
func writeMetrics(ctx context.Context, w io.Writer, s *stats, db string) {
	metric := func(kind, name, help string, value any) {
		fmt.Fprintf(w, "# HELP %[2]s %[3]s\n# TYPE %[2]s %[1]s\n%[2]s %[4]v\n", kind, name, help, value)
	}
	if position := s.position.Load(); position >= 0 {
		if rows, age, err := waiting(ctx, db, position); err == nil {
			metric("gauge", "forward_lag_rows", "Rows in the file that PostgreSQL does not have.", rows)
			metric("gauge", "forward_lag_seconds", "Age of the oldest row in the file that PostgreSQL does not have, by its timestamp.", age.Seconds())
		}
		metric("gauge", "forward_position", "Id of the last row dealt with.", position)
	}
	metric("counter", "forward_rows_shipped_total", "Rows committed in PostgreSQL.", s.shipped.Load())
	metric("counter", "forward_rows_lost_total", "Rows deleted from the file before they were shipped.", s.lost.Load())
	metric("counter", "forward_rows_skipped_total", "Rows that PostgreSQL refused.", s.skipped.Load())
	metric("counter", "forward_rows_fitted_total", "Rows changed to fit PostgreSQL.", s.fitted.Load())
	metric("counter", "forward_errors_total", "Failures after which shipping was tried again.", s.errors.Load())
	if last := s.lastError.Load(); last != 0 {
		metric("gauge", "forward_last_error_age_seconds", "Time since the last failure.", time.Since(time.Unix(0, last)).Seconds())
	}
}

// waiting reads from the file, over a connection of its own, so that the lag
// is right while shipping stands still.
func waiting(ctx context.Context, path string, position int64) (rows int64, age time.Duration, err error) {
	db, err := openReadOnly(path)
	if err != nil {
		return 0, 0, err
	}
	defer db.Close()
	var oldest string
	err = db.QueryRowContext(ctx, `
		SELECT coalesce(max(seq), 0) - ?1, coalesce((SELECT timestamp FROM logs WHERE id > ?1 ORDER BY id LIMIT 1), '')
		FROM sqlite_sequence WHERE name = 'logs'`, position).Scan(&rows, &oldest)
	if err != nil {
		return 0, 0, err
	}
	if t, ok := parseTime(oldest); ok && rows > 0 {
		age = max(0, time.Since(t))
	}
	return max(0, rows), age, nil
}
