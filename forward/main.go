// Forward ships the rows of a log ingester's SQLite file, logs.db, to
// PostgreSQL or to a database that speaks its protocol, so that the logs of
// many machines end up in one table.
//
//	forward -db logs.db -to postgres://user@host/database [-source NAME] [-once]
//
// It guarantees:
//
//   - Each row arrives exactly once, no matter which process is killed or when.
//     A batch of rows and the position after it are written in one PostgreSQL
//     transaction, and after any failure forward resumes at that position.
//   - Every id is accounted for: its row was shipped, was deleted from the file
//     before it was shipped (lost), or was refused by PostgreSQL (skipped).
//   - No row blocks the rows after it. Values that PostgreSQL cannot store are
//     sanitized.
//   - Memory depends on the size of a batch, not on the size of the file. At
//     most two batches are in memory.
//
// It must not:
//
//   - write to logs.db, or keep a transaction open in it while PostgreSQL
//     works, because that would stop the ingester from truncating the WAL;
//   - keep its position anywhere but in PostgreSQL;
//   - print the database address, which may contain a password;
//   - import the log ingester, which would add the PostgreSQL driver to the
//     dependencies of that module.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run returns the exit code: 0 after SIGTERM, after an interrupt or, with
// -once, after shipping all rows; 1 on a permanent error; 2 on wrong usage.
func run(args []string, stdout, stderr *os.File) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cfg, err := parseConfig(args, stdout)
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
	stopProgress := reportProgress(stats, cfg.source, out, terminal, log)
	err = forward(ctx, cfg, stats, log)
	stopProgress()

	totals := []any{"shipped", stats.shipped.Load(), "lost", stats.lost.Load(), "skipped", stats.skipped.Load()}
	switch {
	case err != nil:
		log.Error("permanent error, giving up", append(totals, "err", err)...)
		return 1
	case ctx.Err() != nil:
		log.Info("stopped", totals...)
	default:
		log.Info("finished", totals...)
	}
	return 0
}
