package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// serveMetrics serves GET /metrics on the address until stop is called.
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
			log.Error("serving metrics failed", "err", err)
		}
	}()
	log.Info("serving metrics", "url", "http://"+listener.Addr().String()+"/metrics")
	return func() { server.Close() }, nil // a response may be cut off
}

// writeMetrics writes the Prometheus text format. It leaves out values that are
// unknown, such as the lag before the position was read from PostgreSQL.
func writeMetrics(ctx context.Context, w io.Writer, s *stats, db string) {
	metric := func(kind, name, help string, value any) {
		fmt.Fprintf(w, "# HELP %[2]s %[3]s\n# TYPE %[2]s %[1]s\n%[2]s %[4]v\n", kind, name, help, value)
	}
	if position := s.position.Load(); position >= 0 {
		if rows, age, err := readLag(ctx, db, position); err == nil {
			metric("gauge", "forward_lag_rows", "Rows in the file that are not in PostgreSQL yet.", rows)
			metric("gauge", "forward_lag_seconds", "Age of the oldest row that is not in PostgreSQL yet, by its timestamp.", age.Seconds())
		}
		metric("gauge", "forward_position", "Id of the last row that was shipped, lost or skipped.", position)
	}
	metric("counter", "forward_rows_shipped_total", "Rows committed to PostgreSQL.", s.shipped.Load())
	metric("counter", "forward_rows_lost_total", "Rows deleted from the file before they were shipped.", s.lost.Load())
	metric("counter", "forward_rows_skipped_total", "Rows that PostgreSQL refused.", s.skipped.Load())
	metric("counter", "forward_rows_fitted_total", "Rows changed so that PostgreSQL can store them.", s.sanitized.Load())
	metric("counter", "forward_errors_total", "Failures followed by a retry.", s.errors.Load())
	if last := s.lastError.Load(); last != 0 {
		metric("gauge", "forward_last_error_age_seconds", "Time since the last failure.", time.Since(time.Unix(0, last)).Seconds())
	}
}

// readLag returns the number of rows after position and the age of the first.
// It opens its own connection, so the lag is correct even while shipping is
// blocked.
func readLag(ctx context.Context, path string, position int64) (rows int64, age time.Duration, err error) {
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
