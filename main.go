// Log-ingester accepts JSON logs over HTTP, keeps the entries at or above a
// level, and stores them in one SQLite file.
//
// The files of this package follow an entry through the service: server and
// auth admit the request, ingest and body read it, levelscan finds and filters
// its entries, logentry decodes the remaining ones, queue holds them, and writer
// commits them to the database. Everything else, such as reading the log, is in
// packages under internal.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"
)

func main() {
	os.Exit(run(os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}

// run implements main with the process's arguments, environment and outputs as
// parameters, for tests. It returns the exit status: 2 for an invalid flag or
// variable, 1 for any other error.
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
	ballast := tuneGC(cfg, getenv)
	defer runtime.KeepAlive(ballast)
	log := slog.New(slog.NewTextHandler(stderr, nil))
	for _, name := range unknownVariables(os.Environ()) {
		log.Warn("unknown environment variable; -h lists the known ones", "name", name)
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	defer signal.Stop(signals)
	if err := serve(cfg, log, signals); err != nil {
		log.Error(err.Error())
		return 1
	}
	return 0
}

// ballastSize is the size of the unused part of the heap with TLS, in bytes.
const ballastSize = 16 << 20

// tuneGC sets GOGC=50 and a memory limit, unless the environment sets them. The
// live heap is about 1 MB, so most of Go's 4 MB minimum heap is garbage. Halving
// it costs 3% for single-entry requests through net/http and nothing measurable
// elsewhere. The limit is -memory plus 64 MiB for connections, headers, pools and
// garbage. Near it, the collector runs more often, so that garbage of large bodies
// does not grow the process further.
//
// Requests over HTTP/2 leave more garbage, 5 KB each. So with TLS, tuneGC allocates
// ballast, which the caller must keep alive: a live object, whose pages the operating
// system does not provide because nothing writes to them. Half of its size is added to
// the garbage that the collector lets grow. A higher GOGC would also multiply the garbage
// of a large heap.
func tuneGC(cfg *config, getenv func(string) string) (ballast []byte) {
	if getenv("GOGC") == "" {
		debug.SetGCPercent(50)
		if cfg.tlsCert != "" {
			ballast = make([]byte, ballastSize)
		}
	}
	if getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(int64(cfg.memory) + 64<<20 + int64(len(ballast)))
	}
	return ballast
}

// serve runs the service until it receives a signal.
func serve(cfg *config, log *slog.Logger, signals <-chan os.Signal) error {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	if err := cfg.load(); err != nil {
		return err
	}
	// Listen before opening the database, so that early clients wait.
	listener, err := net.Listen("tcp", cfg.addr)
	if err != nil {
		return err // "listen tcp …"
	}
	lock, err := lockInstance(cfg.db)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	defer lock.Close() // the lock file stays, because removing it would race with another start
	db, err := openDatabase(cfg.db, cfg.synchronous, log)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	s, err := newService(cfg, db, log)
	if err != nil {
		return errors.Join(err, listener.Close(), db.close())
	}
	served := s.start(listener)
	log.Info("accepting logs", "addr", listener.Addr().String(), "db", cfg.db, "level", cfg.level.String(),
		"tls", cfg.certificate != nil, "keys", cfg.keys.String())

	for {
		select {
		case err := <-served:
			return errors.Join(fmt.Errorf("serve: %w", err), shutdownOrAbort(s, signals))
		case sig := <-signals:
			log.Info("shutting down", "signal", sig.String())
			return shutdownOrAbort(s, signals)
		case <-hangups:
			cfg.reload(log)
		}
	}
}

// signalDebounce is the time after a signal during which a second one is ignored.
// timeout(1), for example, signals a process and then its process group.
const signalDebounce = 50 * time.Millisecond

// shutdownOrAbort shuts s down. A second signal aborts the shutdown.
func shutdownOrAbort(s *service, signals <-chan os.Signal) error {
	begin := time.Now()
	done := make(chan error, 1)
	go func() { done <- s.shutdown() }()
	for {
		select {
		case err := <-done:
			return err
		case <-signals:
			if time.Since(begin) > signalDebounce {
				return fmt.Errorf("stopped by a second signal: %s", s.pendingLoss())
			}
		}
	}
}

// checkHealth implements -healthcheck, for container images without a shell. It
// requests /readyz from the service that runs with the same configuration.
func checkHealth(cfg *config) error {
	client := &http.Client{
		Timeout: 5 * time.Second,
		Transport: &http.Transport{
			// Dialing an address without a host reaches the loopback interface.
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, cfg.addr)
			},
			// The certificate is for the host name that clients use, not for
			// localhost. The request carries no secret.
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		},
	}
	defer client.CloseIdleConnections()
	url := "http://localhost/readyz"
	if cfg.tlsCert != "" {
		url = "https://localhost/readyz"
	}
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err != nil {
		return fmt.Errorf("%s, and reading the response failed: %w", resp.Status, err)
	}
	return fmt.Errorf("%s: %s", resp.Status, bytes.TrimSpace(body))
}

// printVersion implements -version.
func printVersion(w io.Writer) {
	version, commit := buildVersion()
	fmt.Fprintf(w, "log-ingester %s commit %s %s SQLite %s\n", version, commit, runtime.Version(), sqliteVersion())
}
