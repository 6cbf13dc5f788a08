// Log-ingester takes JSON logs over HTTP, keeps what matters, and leaves it in
// one SQLite file.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	os.Exit(run(os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}

// run is the program: it returns the exit status, 2 for a wrong flag and 1 for
// all else that went wrong.
func run(args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	cfg, err := parseConfig(args, getenv)
	switch {
	case errors.Is(err, flag.ErrHelp):
		printHelp(stdout)
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "log-ingester:", err, "(-h explains the flags)")
		return 2
	case cfg.version:
		printVersion(stdout)
		return 0
	case cfg.healthcheck:
		if err := checkHealth(cfg); err != nil {
			fmt.Fprintln(stderr, "log-ingester: not ready:", err)
			return 1
		}
		return 0
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	defer signal.Stop(signals)
	if err := serve(cfg, log, signals); err != nil {
		log.Error(err.Error())
		return 1
	}
	return 0
}

// serve runs the service until a signal comes.
func serve(cfg *config, log *slog.Logger, signals <-chan os.Signal) error {
	db, err := openDatabase(cfg.db, cfg.synchronous)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", cfg.addr)
	if err != nil {
		return errors.Join(fmt.Errorf("listening: %w", err), db.close())
	}
	s := newService(cfg, db, log)
	written := make(chan struct{})
	go func() {
		defer close(written)
		s.writer.run()
	}()
	server := &http.Server{
		Handler:           s.routes(),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	log.Info("taking logs", "addr", listener.Addr().String(), "db", cfg.db, "level", cfg.level.String())

	select {
	case err = <-served:
		err = fmt.Errorf("serving: %w", err)
	case sig := <-signals:
		log.Info("ending", "signal", sig.String())
	}
	ended := make(chan error, 1)
	go func() { ended <- s.end(server, written) }()
	select {
	case e := <-ended:
		return errors.Join(err, e)
	case <-signals:
		return errors.Join(err, fmt.Errorf("ended by a second signal: %s", s.leftBehind()))
	}
}

// A service is all that serves one database.
type service struct {
	cfg     *config
	log     *slog.Logger
	metrics *metrics
	queue   *queue
	memory  *budget
	writer  *writer
}

func newService(cfg *config, db *database, log *slog.Logger) *service {
	s := &service{
		cfg:     cfg,
		log:     log,
		metrics: new(metrics),
		queue:   newQueue(int64(cfg.queue)),
		memory:  &budget{limit: int64(cfg.memory)},
	}
	s.writer = &writer{queue: s.queue, memory: s.memory, db: db, log: log, metrics: s.metrics}
	return s
}

// routes returns the handler of all addresses.
func (s *service) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/ingest", &ingester{
		threshold: s.cfg.level.level,
		maxBody:   int64(s.cfg.maxBody),
		queue:     s.queue,
		memory:    s.memory,
		metrics:   s.metrics,
	})
	mux.HandleFunc("GET /healthz", serveHealth)
	mux.HandleFunc("GET /readyz", s.serveReady)
	return mux
}

// end finishes the requests in hand, drains the queue, and closes the database.
func (s *service) end(server *http.Server, written <-chan struct{}) error {
	deadline := time.Now().Add(s.cfg.drainTimeout)
	// Half of the time is for clients, so that one that never ends its request
	// leaves the writer the other half.
	ctx, cancel := context.WithDeadline(context.Background(), time.Now().Add(s.cfg.drainTimeout/2))
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		s.log.Warn("cutting off requests that did not end", "err", err)
		server.Close() // closing a connection that is being cut off tells nothing
	}
	s.queue.stop()
	select {
	case <-written:
	case <-time.After(time.Until(deadline)):
		return fmt.Errorf("the database took no writes for %v: %s", s.cfg.drainTimeout, s.leftBehind())
	}
	if err := s.writer.db.close(); err != nil {
		return fmt.Errorf("closing the database: %w", err)
	}
	s.log.Info("ended", "stored", s.metrics.stored.Load())
	return nil
}

// leftBehind says how much is lost when the program ends now.
func (s *service) leftBehind() string {
	return fmt.Sprintf("%d accepted entries are not stored", s.queue.entries.Load())
}
