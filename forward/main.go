// Forward ships the rows of a log ingester's logs.db to PostgreSQL, or to
// what speaks its protocol, so that many machines end up in one table.
//
//	forward -db logs.db -to postgres://user@host/database [-source NAME] [-once]
//
// Each row arrives exactly once, whatever is killed when: a batch of rows and
// the note of how far the source has come are one transaction in PostgreSQL,
// and after any failure that note says where to go on. logs.db is only ever
// read, in short transactions.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	sqlite3 "modernc.org/sqlite/lib"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// A config is what the flags and the environment ask for.
type config struct {
	db      string          // the SQLite file; logs.db
	to      *pgx.ConnConfig // the database that collects
	source  string          // names this file's rows there; the host name
	once    bool            // end when all is shipped
	metrics string          // address of /metrics; none
}

// run is main with its exit code: 0 when told to end or, with -once, when all
// is shipped; 1 on an error that trying again cannot mend; 2 on wrong usage.
func run(args []string, stdout, stderr *os.File) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cfg, err := parse(args, stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintf(stderr, "forward: %v\n", err)
		return 2
	}

	terminal := isTerminal(stderr)
	out := &statusWriter{w: stderr}
	log := slog.New(slog.NewTextHandler(out, nil)).With("source", cfg.source)
	stats := newStats()

	if cfg.metrics != "" {
		stopMetrics, err := serveMetrics(cfg.metrics, stats, cfg.db, log)
		if err != nil {
			log.Error("cannot serve metrics", "err", err)
			return 1
		}
		defer stopMetrics()
	}
	endReport := report(stats, cfg.source, out, terminal, log)
	err = forward(ctx, cfg, stats, log)
	endReport()

	totals := []any{"shipped", stats.shipped.Load(), "lost", stats.lost.Load(), "skipped", stats.skipped.Load()}
	switch {
	case err != nil:
		log.Error("cannot go on", append(totals, "err", err)...)
		return 1
	case ctx.Err() != nil:
		log.Info("told to end", totals...)
	default:
		log.Info("all is shipped", totals...)
	}
	return 0
}

// parse reads the flags, and for those that are not given the environment:
// FORWARD_DB, FORWARD_TO, FORWARD_SOURCE, FORWARD_ONCE, FORWARD_METRICS.
func parse(args []string, stdout io.Writer) (config, error) {
	var cfg config
	var to string
	var showVersion bool
	flags := flag.NewFlagSet("forward", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&cfg.db, "db", "logs.db", "the SQLite `file` to follow")
	flags.StringVar(&to, "to", "", "`address` of the database, postgres://USER:PASSWORD@HOST:5432/DATABASE;\nin FORWARD_TO it stays out of the process list")
	flags.StringVar(&cfg.source, "source", "", "`name` of this file's rows in the database, its own for every file (default: the host name)")
	flags.BoolVar(&cfg.once, "once", false, "end when all is shipped, instead of following the file")
	flags.StringVar(&cfg.metrics, "metrics", "", "`address` to serve /metrics on, like 127.0.0.1:9102 (default: none)")
	flags.BoolVar(&showVersion, "version", false, "print the version and end")

	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(stdout, "Usage: forward -to ADDRESS [-db FILE] [-source NAME] [-once] [-metrics ADDRESS]\n\n"+
			"Ships the rows of a log ingester's SQLite file to PostgreSQL, each exactly once.\n"+
			"Every flag can be set in the environment as well, as FORWARD_TO, FORWARD_DB, …\n\n")
		flags.SetOutput(stdout)
		flags.PrintDefaults()
		return cfg, err
	} else if err != nil {
		return cfg, fmt.Errorf("%w (see forward -h)", err)
	}
	if flags.NArg() > 0 {
		// Not quoted: it may be an address with its password.
		return cfg, errors.New("unexpected argument after the flags (see forward -h)")
	}
	if showVersion {
		fmt.Fprintln(stdout, versionText())
		return cfg, flag.ErrHelp
	}

	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	var err error
	flags.VisitAll(func(f *flag.Flag) {
		name := "FORWARD_" + strings.ToUpper(f.Name)
		value := os.Getenv(name)
		if given[f.Name] || value == "" || f.Name == "version" {
			return
		}
		if setErr := f.Value.Set(value); setErr != nil {
			err = fmt.Errorf("%s=%s: %w", name, value, setErr)
		}
	})
	if err != nil {
		return cfg, err
	}

	if to == "" {
		return cfg, errors.New("no database to ship to: give -to, or FORWARD_TO in the environment")
	}
	if cfg.to, err = pgx.ParseConfig(to); err != nil {
		// The error of the driver may quote the address, password included.
		return cfg, errors.New("-to (or FORWARD_TO) is not an address of PostgreSQL: want postgres://USER:PASSWORD@HOST:5432/DATABASE, special characters in the password percent-encoded")
	}
	if cfg.to.RuntimeParams["application_name"] == "" {
		cfg.to.RuntimeParams["application_name"] = "log-ingester forward"
	}
	if cfg.source == "" {
		if cfg.source, err = os.Hostname(); err != nil {
			return cfg, fmt.Errorf("no host name to name the rows by, give -source: %w", err)
		}
	}
	if fitText(cfg.source) != cfg.source || len(cfg.source) > 255 {
		return cfg, errors.New("-source must be at most 255 bytes of UTF-8")
	}
	return cfg, nil
}

// version and commit are set by the linker in builds that have no repository
// beside them: -ldflags '-X main.version=v0.1.0 -X main.commit=…'.
var version, commit string

func versionText() string {
	built, from := "(devel)", "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		built = cmp.Or(info.Main.Version, built)
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				from = s.Value
			}
		}
	}
	return fmt.Sprintf("forward %s commit %s %s SQLite %s",
		cmp.Or(version, built), cmp.Or(commit, from), runtime.Version(), sqlite3.SQLITE_VERSION)
}

// How long to wait before trying again: doubled after every failure up to the
// longest, and back at the shortest once rows have arrived.
const (
	shortestWait = 100 * time.Millisecond
	longestWait  = 10 * time.Second
)

// forward ships until ctx ends, until all is shipped with -once, or until an
// error that trying again cannot mend.
func forward(ctx context.Context, cfg config, stats *stats, log *slog.Logger) error {
	log.Info("forwarding", "db", cfg.db, "host", cfg.to.Host, "database", cfg.to.Database, "user", cfg.to.User)
	wait := shortestWait
	for {
		before := stats.position.Load()
		err := session(ctx, cfg, stats, log)
		if err == nil || ctx.Err() != nil {
			return nil
		}
		if isPermanent(err) {
			return err
		}
		if stats.position.Load() > before {
			wait = shortestWait
		}
		stats.failed()
		// Jitter, so that the forwarders of many machines do not all knock
		// at once on a database that has just come up.
		pause := wait/2 + rand.N(wait)
		log.Error("failed, will try again", "in", pause.Round(time.Millisecond), "err", err)
		if sleep(ctx, pause) != nil {
			return nil
		}
		wait = min(2*wait, longestWait)
	}
}

// session ships over one connection until it fails, or until all is shipped
// with -once. It keeps nothing for the next one: PostgreSQL knows where to go
// on.
func session(ctx context.Context, cfg config, stats *stats, log *slog.Logger) error {
	src, err := openSource(ctx, cfg.db, cfg.once, log)
	if err != nil {
		return err
	}
	defer src.close()
	dst, err := connect(ctx, cfg, stats, log)
	if err != nil {
		return err
	}
	defer dst.close()

	// The next batch is read while this one is shipped; unbuffered, so that
	// two batches are the most there is in memory.
	ctx, cancel := context.WithCancel(ctx)
	batches := make(chan batch)
	ended := make(chan error, 1)
	start := dst.position
	go func() {
		defer close(batches)
		ended <- src.follow(ctx, start, cfg.once, batches)
	}()
	for b := range batches {
		if err = dst.ship(ctx, b); err != nil {
			break
		}
	}
	cancel()
	readErr := <-ended
	if err != nil {
		return err
	}
	return readErr
}

// A permanentError is one that trying again cannot mend.
type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }

func permanent(format string, args ...any) error {
	return permanentError{fmt.Errorf(format, args...)}
}

func isPermanent(err error) bool {
	var p permanentError
	return errors.As(err, &p)
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
