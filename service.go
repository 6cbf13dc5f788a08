package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"log-ingester/internal/dbfile"
	"log-ingester/internal/fastpath"
	"log-ingester/internal/httpapi"
	"log-ingester/internal/logread"
	"log-ingester/internal/viewer"
)

// A service connects the parts that serve one database.
type service struct {
	cfg      *config
	log      *slog.Logger
	auth     *authorizer
	metrics  *metrics
	queue    *queue
	memory   *budget
	headers  *budget
	accounts *accounts
	conns    *connTable // set by start
	ingest   *ingester
	writer   *writer
	summary  *summarizer
	load     *loadMeter
	reader   atomic.Pointer[logread.Reader] // reads the file that the writer has open

	server   *http.Server
	fastPath *fastpath.Listener // nil if net/http serves all connections
	written  chan struct{}      // closed when the writer has exited
}

// newService connects the parts. It opens the reader's connection pool and
// creates the reserve file of the retention, but starts neither the writer nor
// the server.
func newService(cfg *config, db *database, log *slog.Logger) (*service, error) {
	s := &service{
		cfg:      cfg,
		log:      log,
		metrics:  new(metrics),
		queue:    newQueue(int64(cfg.queue)),
		memory:   &budget{limit: int64(cfg.memory)},
		headers:  &budget{limit: headerBudget},
		accounts: newAccounts(cfg.trustedProxies),
		written:  make(chan struct{}),
	}
	s.load = &loadMeter{received: s.metrics.received.Load}
	reader, err := s.openReader()
	if err != nil {
		return nil, err
	}
	s.auth = &authorizer{keys: cfg.keys, metrics: s.metrics, writeError: writeRouteError}
	s.writer = &writer{
		queue:     s.queue,
		memory:    s.memory,
		db:        db,
		retention: newRetention(db, time.Duration(cfg.retain), int64(cfg.maxDB), log, s.metrics),
		log:       log,
		metrics:   s.metrics,
		committed: func(lastID int64) { s.reader.Load().Committed(lastID) },
		jobs:      make(chan writerJob),
	}
	if cfg.maxDB > 0 {
		db.keys.index.limit = min(maxKeys, int64(cfg.maxDB)/8/keyBytes)
	}
	isBusy := func() bool { return s.load.isBusy() || s.reader.Load().IsReading() }
	s.summary = newSummarizer(cfg.db, s.writer.jobs, isBusy, log)
	s.reader.Store(reader)
	db.onReopen = s.reopenReader
	s.ingest = s.newIngester()
	s.server = newServer(s.routes())
	s.server.RegisterOnShutdown(func() { s.reader.Load().Shutdown() })
	s.server.ErrorLog = slog.NewLogLogger(log.Handler(), slog.LevelWarn)
	return s, nil
}

// start starts the writer and the HTTP server on l. The returned channel
// receives the error that ends serving.
func (s *service) start(l net.Listener) <-chan error {
	go func() {
		defer close(s.written)
		s.writer.run()
	}()
	s.summary.start()
	s.conns = newConnTable(l, s.maxConnections(), s.accounts)
	served := make(chan error, 1)
	listener := s.listener(s.conns)
	go func() { served <- s.server.Serve(listener) }()
	return served
}

// maxConnections returns how many connections can be open at once.
func (s *service) maxConnections() int {
	if s.cfg.certificate != nil {
		return maxTLSConnections
	}
	return maxConnections
}

// listener returns the listener of the connections that net/http serves. In front of
// it are TLS and the fast path, if they are used.
func (s *service) listener(l net.Listener) net.Listener {
	var isHTTP2 func(net.Conn) bool
	if s.cfg.certificate != nil {
		s.server.Protocols = decryptedProtocols()
		l = &tlsListener{l, s.cfg.certificate.tlsConfig(), s.log}
		isHTTP2 = negotiatedHTTP2
	}
	if s.cfg.fastPath {
		// The fast path serves only /ingest, so its handler does not need the routes.
		s.fastPath = fastpath.New(l, s.auth.sameOrigin(s.auth.sender(s.ingest)), fastpath.Config{
			Path:           "/ingest",
			RequestTimeout: requestTimeout,
			IdleTimeout:    idleTimeout,
			ConnContext:    withConn,
			Log:            s.log,
		})
		l = s.fastPath
	}
	return &headerListener{l, s.headers, isHTTP2}
}

// openReader opens the file that is at the path now for reading.
func (s *service) openReader() (*logread.Reader, error) {
	return logread.Open(s.cfg.db, logread.Config{
		Log:        s.log,
		ClientAddr: s.accounts.addressOf,
		IsBusy:     s.load.isBusy,
	})
}

// reopenReader makes the next reads use the file that is at the path now.
func (s *service) reopenReader() {
	reader, err := s.openReader()
	if err != nil {
		s.log.Error("cannot open the new database for reading; serving the old one", "err", err)
		return
	}
	old := s.reader.Swap(reader)
	go func() {
		if err := old.Close(); err != nil { // waits for reads in progress
			s.log.Warn("cannot close the old database", "err", err)
		}
	}()
}

// newIngester returns the handler of POST /ingest.
func (s *service) newIngester() *ingester {
	return &ingester{
		threshold:  s.cfg.level.Level,
		maxBody:    int64(s.cfg.maxBody),
		queue:      s.queue,
		memory:     s.memory,
		accounts:   s.accounts,
		processors: newProcessors(),
		metrics:    s.metrics,
		clock:      time.Now,
		keys:       s.writer.db.keys,
		query: func(ctx context.Context, query string, args ...any) *sql.Row {
			return s.reader.Load().QueryRow(ctx, query, args...)
		},

		refusalDelay: refusalDelay,
	}
}

// routes returns the handler of all routes.
func (s *service) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/ingest", s.auth.sender(s.ingest))
	mux.Handle("/ingest/{$}", s.auth.sender(s.ingest))
	mux.Handle("/v1/logs", s.auth.sender(otlpHandler{s.ingest}))
	mux.Handle("/v1/logs/{$}", s.auth.sender(otlpHandler{s.ingest}))
	elastic := elasticKey(s.auth.sender(elasticHandler{s.ingest}))
	mux.Handle("/elasticsearch", elastic)
	mux.Handle("/elasticsearch/", elastic)
	viewer.Register(mux)
	for path, h := range map[string]http.Handler{
		"/healthz":        http.HandlerFunc(s.serveHealth),
		"/readyz":         http.HandlerFunc(s.serveReady),
		"/logs":           s.read((*logread.Reader).ServeLogs),
		"/logs/histogram": s.read((*logread.Reader).ServeHistogram),
		"/logs/kinds":     s.read((*logread.Reader).ServeKinds),
		"/logs/fields":    s.read((*logread.Reader).ServeFields),
		"/logs/tail":      s.read((*logread.Reader).ServeTail),
		"/metrics":        s.auth.scraper(http.HandlerFunc(s.serveMetrics)),
	} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			beginRequest(r)
			h.ServeHTTP(w, r)
		})
		mux.HandleFunc(path, serveMethodNotAllowed)
	}
	mux.HandleFunc("/{$}", serveMethodNotAllowed)
	mux.HandleFunc("/", serveNotFound)
	return limitHeaders(s.auth.sameOrigin(mux))
}

// writeRouteError sends e in the format of the errors of the request's route.
func writeRouteError(w http.ResponseWriter, r *http.Request, e *httpapi.Error) {
	switch path := r.URL.Path; {
	case path == "/v1/logs" || path == "/v1/logs/":
		writeOTLPError(w, r, e)
	case path == "/elasticsearch" || strings.HasPrefix(path, "/elasticsearch/"):
		writeElasticError(w, e)
	default:
		httpapi.WriteError(w, e)
	}
}

// serveMethodNotAllowed handles other methods than GET and HEAD on a route for
// reading.
func serveMethodNotAllowed(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Allow", "GET, HEAD")
	httpapi.WriteError(w, httpapi.Errorf(http.StatusMethodNotAllowed,
		"method %s is not allowed on %s; send logs to POST /ingest", r.Method, r.URL.Path))
}

// serveNotFound handles paths without a route.
func serveNotFound(w http.ResponseWriter, r *http.Request) {
	httpapi.WriteError(w, httpapi.Errorf(http.StatusNotFound, "no route %s; send logs to POST /ingest", r.URL.Path))
}

// read returns a handler that calls serve with the current reader, for clients
// that may read logs.
func (s *service) read(serve func(*logread.Reader, http.ResponseWriter, *http.Request)) http.Handler {
	h := s.auth.reader(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		serve(s.reader.Load(), w, r)
	}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		httpapi.SetDataHeaders(w)
		h.ServeHTTP(w, r)
	})
}

// serveHealth handles GET /healthz. It always responds 200, which shows that the
// process is alive.
func (s *service) serveHealth(w http.ResponseWriter, _ *http.Request) {
	io.WriteString(w, "ok\n") // a write error means that the client has disconnected
}

// serveReady handles GET /readyz. It responds 200 if the service accepts logs, and
// else 503 with the reason.
func (s *service) serveReady(w http.ResponseWriter, _ *http.Request) {
	err := s.queue.notReady()
	if err == nil {
		io.WriteString(w, "ok\n") // as in serveHealth
		return
	}
	httpapi.WriteError(w, httpapi.Errorf(http.StatusServiceUnavailable, "%v", err))
}

// serveMetrics handles GET /metrics.
func (s *service) serveMetrics(w http.ResponseWriter, _ *http.Request) {
	text := s.metrics.text(s.gauges)
	httpapi.SetDataHeaders(w)
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	w.Write(text) // a write error means that the client has disconnected
}

func (s *service) gauges() gauges {
	version, commit := buildVersion()
	classes, resident := memoryClasses(s.countedMemory())
	return gauges{
		memoryClasses: classes,
		residentBytes: resident,
		queueEntries:  s.queue.entries.Load(),
		queueBytes:    s.queue.bytes.Load(),
		queueLimit:    s.queue.limit,
		memoryBytes:   s.memory.used.Load(),
		memoryLimit:   s.memory.limit,
		databaseBytes: fileSize(s.cfg.db),
		walBytes:      fileSize(dbfile.Sidecar(s.cfg.db, "-wal")),
		keys:          s.writer.db.keys.count(),
		goroutines:    runtime.NumGoroutine(),
		version:       version,
		commit:        commit,
		goVersion:     runtime.Version(),
	}
}

// countedMemory returns the memory that the service counts, by class.
func (s *service) countedMemory() []memoryClass {
	queued := s.queue.bytes.Load()
	reads, tails := s.reader.Load().Memory()
	return []memoryClass{
		{"connections", s.connectionMemory()},
		{"headers", s.headers.used.Load()},
		{"requests", max(0, s.memory.used.Load()-queued)},
		{"queue", queued},
		{"reads", reads},
		{"tails", tails},
	}
}

// connectionMemory returns the approximate memory of the open connections.
func (s *service) connectionMemory() int64 {
	if s.conns == nil { // a test without a server
		return 0
	}
	conns, http2 := s.conns.counts()
	each := int64(connectionSize)
	if s.cfg.certificate != nil {
		each = tlsConnectionSize
	}
	return int64(conns)*each + int64(http2)*http2ConnectionSize
}

// fileSize returns the size of a file in bytes, or 0 if it is missing.
func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// shutdown finishes the requests in progress, drains the queue and closes the
// database. Requests get half of -drain-timeout, so that the writer has the other
// half even if clients send their requests slowly.
func (s *service) shutdown() error {
	deadline := time.Now().Add(s.cfg.drainTimeout)
	s.finishRequests()
	s.summary.stop()
	s.queue.stop()
	select {
	case <-s.written:
	case <-time.After(time.Until(deadline)):
		return fmt.Errorf("database not writable for %v: %s", s.cfg.drainTimeout, s.pendingLoss())
	}
	if err := errors.Join(s.reader.Load().Close(), s.writer.close()); err != nil {
		return fmt.Errorf("close database: %w", err)
	}
	s.log.Info("shut down", "stored", s.metrics.stored.Load())
	return nil
}

// finishRequests stops accepting connections, and waits for the requests in
// progress, at most half of -drain-timeout. It does not wait for clients that do
// not send the rest of a request, or do not read a response.
func (s *service) finishRequests() {
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.drainTimeout/2)
	defer cancel()
	closed := make(chan int)
	go func() { closed <- s.conns.drain(ctx) }()
	err := s.server.Shutdown(ctx)
	if s.fastPath != nil {
		err = errors.Join(err, s.fastPath.Shutdown(ctx))
	}
	if err != nil {
		s.log.Warn("closing connections with unfinished requests", "err", err)
		s.server.Close() // its error is about connections that are being dropped
	}
	cancel()
	if n := <-closed; n > 0 {
		s.log.Warn("closed connections that delayed the shutdown", "connections", n)
	}
}

// pendingLoss reports how many entries are lost if the process exits now.
func (s *service) pendingLoss() string {
	return fmt.Sprintf("%d accepted entries lost", s.queue.entries.Load())
}
