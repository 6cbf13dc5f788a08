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
	"runtime/debug"
	"sync/atomic"
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
	tuneCollector(cfg, getenv)
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

// tuneCollector sets the garbage collector for a small service, unless its own
// environment variables do. The heap that lives is about a megabyte, so that
// the most of Go's least goal of 4 MB is garbage. Short bodies leave next to
// none, and others are as fast with half of that, but for single entries that
// come by way of net/http, which it costs some 3%. The limit makes the collector
// work harder before large bodies make the process grow: beside the budget there
// are connections, pools, and what is about to be freed.
func tuneCollector(cfg *config, getenv func(string) string) {
	if getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
	if getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(int64(cfg.memory) + 64<<20)
	}
}

// serve runs the service until a signal comes.
func serve(cfg *config, log *slog.Logger, signals <-chan os.Signal) error {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	if err := cfg.load(); err != nil {
		return err
	}
	// Clients who come while the database is being opened wait.
	listener, err := net.Listen("tcp", cfg.addr)
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	listener = limitListener(listener, maxConnections)
	db, err := openDatabase(cfg.db, cfg.synchronous, log)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	s, err := newService(cfg, db, log)
	if err != nil {
		return errors.Join(err, listener.Close(), db.close())
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		s.writer.run()
	}()
	routes := s.routes()
	server := newServer(routes)
	var fast *fastPath
	if cfg.certificate == nil {
		fast = newFastPath(listener, routes, log)
		listener = fast
	}
	server.RegisterOnShutdown(func() { s.reader.Load().endTails() })
	server.ErrorLog = slog.NewLogLogger(log.Handler(), slog.LevelWarn)
	served := make(chan error, 1)
	go func() {
		if cfg.certificate == nil {
			served <- server.Serve(listener)
			return
		}
		server.TLSConfig = cfg.certificate.config()
		served <- server.ServeTLS(listener, "", "")
	}()
	log.Info("taking logs", "addr", listener.Addr().String(), "db", cfg.db, "level", cfg.level.String(),
		"tls", cfg.certificate != nil, "keys", cfg.keys.String())

	var sig os.Signal
	var since time.Time
	for sig == nil && err == nil {
		select {
		case err = <-served:
			err = fmt.Errorf("serving: %w", err)
		case sig = <-signals:
			since = time.Now()
			log.Info("ending", "signal", sig.String())
		case <-hangups:
			cfg.reload(log)
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- s.end(server, fast, written) }()
	for {
		select {
		case e := <-ended:
			return errors.Join(err, e)
		case <-signals:
			if time.Since(since) > signalEcho {
				return errors.Join(err, fmt.Errorf("ended by a second signal: %s", s.leftBehind()))
			}
		}
	}
}

// signalEcho is how soon after a signal another is the same one: timeout(1),
// for one, signals a program and then its process group.
const signalEcho = 50 * time.Millisecond

// A service is all that serves one database.
type service struct {
	cfg     *config
	log     *slog.Logger
	metrics *metrics
	queue   *queue
	memory  *budget
	writer  *writer
	reader  atomic.Pointer[logReader] // of the file that the writer has open
}

func newService(cfg *config, db *database, log *slog.Logger) (*service, error) {
	reader, err := newLogReader(cfg.db, log)
	if err != nil {
		return nil, err
	}
	s := &service{
		cfg:     cfg,
		log:     log,
		metrics: new(metrics),
		queue:   newQueue(int64(cfg.queue)),
		memory:  &budget{limit: int64(cfg.memory)},
	}
	s.writer = &writer{
		queue:     s.queue,
		memory:    s.memory,
		db:        db,
		retention: newRetention(cfg, db, log, s.metrics),
		log:       log,
		metrics:   s.metrics,
		committed: func(last int64) { s.reader.Load().committed(last) },
	}
	s.reader.Store(reader)
	db.reopened = s.reopenReader
	return s, nil
}

// reopenReader makes reads go to the file that is at the path now.
func (s *service) reopenReader() {
	reader, err := newLogReader(s.cfg.db, s.log)
	if err != nil {
		s.log.Error("reading the old database still", "err", err)
		return
	}
	old := s.reader.Swap(reader)
	go func() {
		if err := old.close(); err != nil { // once its reads have ended
			s.log.Warn("closing the old database", "err", err)
		}
	}()
}

// fromLog answers by a method of the reader at hand.
func (s *service) fromLog(answer func(*logReader, http.ResponseWriter, *http.Request)) http.Handler {
	return s.reading(func(w http.ResponseWriter, r *http.Request) { answer(s.reader.Load(), w, r) })
}

// routes returns the handler of all addresses.
func (s *service) routes() http.Handler {
	ingest := &ingester{
		threshold: s.cfg.level.level,
		maxBody:   int64(s.cfg.maxBody),
		queue:     s.queue,
		memory:    s.memory,
		metrics:   s.metrics,
		clock:     time.Now,
	}
	mux := http.NewServeMux()
	mux.Handle("/ingest", s.withKey(ingest))
	mux.HandleFunc("GET /healthz", serveHealth)
	mux.HandleFunc("GET /readyz", s.serveReady)
	mux.Handle("GET /logs", s.fromLog((*logReader).serveLogs))
	mux.Handle("GET /logs/histogram", s.fromLog((*logReader).serveHistogram))
	mux.Handle("GET /logs/tail", s.fromLog((*logReader).serveTail))
	mux.HandleFunc("GET /{$}", serveViewer)
	mux.Handle("GET /metrics", s.withKey(http.HandlerFunc(s.serveMetrics)))
	return s.sameOrigin(mux)
}

// end finishes the requests in hand, drains the queue, and closes the database.
func (s *service) end(server *http.Server, fast *fastPath, written <-chan struct{}) error {
	deadline := time.Now().Add(s.cfg.drainTimeout)
	// Half of the time is for clients, so that one that never ends its request
	// leaves the writer the other half.
	ctx, cancel := context.WithDeadline(context.Background(), time.Now().Add(s.cfg.drainTimeout/2))
	defer cancel()
	err := server.Shutdown(ctx)
	if fast != nil {
		err = errors.Join(err, fast.shutdown(ctx))
	}
	if err != nil {
		s.log.Warn("cutting off requests that did not end", "err", err)
		server.Close() // closing a connection that is being cut off tells nothing
	}
	s.queue.stop()
	select {
	case <-written:
	case <-time.After(time.Until(deadline)):
		return fmt.Errorf("the database took no writes for %v: %s", s.cfg.drainTimeout, s.leftBehind())
	}
	if err := errors.Join(s.reader.Load().close(), s.writer.close()); err != nil {
		return fmt.Errorf("closing the database: %w", err)
	}
	s.log.Info("ended", "stored", s.metrics.stored.Load())
	return nil
}

// leftBehind says how much is lost when the program ends now.
func (s *service) leftBehind() string {
	return fmt.Sprintf("%d accepted entries are not stored", s.queue.entries.Load())
}
