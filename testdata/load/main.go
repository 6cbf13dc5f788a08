// Load measures the service under production loads, next to empty handlers of the
// same protocol and to other log servers. It prints the rows of the table in
// docs/performance.md.
//
//	go run -C testdata/load .                     all rows except sustained
//	go run -C testdata/load . -row gzip-33        one row
//	go run -C testdata/load . -row sustained -rows 100000000
//	go run -C testdata/load . -list               the names of the rows
//
// It needs wrk and h2load. It starts all servers on loopback. Each round runs all servers
// of a row, one after the other, so that a change in the speed of the machine affects all
// of them.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) > 2 && os.Args[1] == "serve" {
		fail(serveEmpty(os.Args[2:]))
	}
	fail(run())
}

// fail exits, with status 1 if err is not nil.
func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func run() error {
	var cfg config
	flag.StringVar(&cfg.service, "service", "", "`path` of the service's binary; default: build it")
	flag.StringVar(&cfg.victoriaLogs, "victoria-logs", "victoria-logs", "`path` of VictoriaLogs")
	flag.StringVar(&cfg.fluentBit, "fluent-bit", "fluent-bit", "`path` of Fluent Bit")
	flag.IntVar(&cfg.rounds, "rounds", 0, "rounds of each row; default: depends on the row")
	flag.DurationVar(&cfg.duration, "duration", 0, "duration of each run; default: depends on the row")
	flag.Int64Var(&cfg.rows, "rows", 10_000_000, "stored entries at which the row sustained ends")
	name := flag.String("row", "", "`name` of the only row to measure")
	list := flag.Bool("list", false, "print the names of the rows")
	flag.Parse()
	if *list {
		for _, r := range rows {
			fmt.Printf("%-14s %s\n", r.name, r.title)
		}
		fmt.Printf("%-14s %s\n", "sustained", sustainedTitle)
		return nil
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cfg.ctx = ctx
	dir, err := os.MkdirTemp("", "load")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) // a directory that remains is harmless
	cfg.dir = dir
	if err := cfg.prepare(); err != nil {
		return err
	}
	if *name == "sustained" {
		return cfg.sustained()
	}
	return cfg.measureRows(*name)
}

// prepare builds the service and writes the files that the servers need.
func (cfg *config) prepare() error {
	if cfg.service == "" {
		cfg.service = filepath.Join(cfg.dir, "log-ingester")
		build := exec.CommandContext(cfg.ctx, "go", "build", "-C", "../..", "-o", cfg.service, ".")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build the service: %w\n%s", err, out)
		}
	}
	if err := os.WriteFile(cfg.path("requests.lua"), requestsLua, 0o600); err != nil {
		return err
	}
	return cfg.writeCertificate()
}

// measureRows measures the row with the given name, or all.
func (cfg *config) measureRows(name string) error {
	found := false
	fmt.Println(tableHeader)
	for _, r := range rows {
		if name != "" && name != r.name {
			continue
		}
		found = true
		if err := cfg.measure(r); err != nil {
			return fmt.Errorf("measure %s: %w", r.name, err)
		}
	}
	if !found {
		return fmt.Errorf("there is no row %q; see -list", name)
	}
	return nil
}

// measure runs all servers of r in rounds, and prints their medians.
func (cfg *config) measure(r row) error {
	if cfg.rounds > 0 {
		r.rounds = cfg.rounds
	}
	if cfg.duration > 0 {
		r.duration = cfg.duration
	}
	bodies := cfg.path("bodies-" + r.name)
	size, err := writeBodies(bodies, r.load)
	if err != nil {
		return err
	}
	results := make([][]result, len(r.servers))
	for round := range r.rounds {
		for i, s := range r.servers {
			fmt.Fprintf(os.Stderr, "%s: round %d of %d: %s\n", r.name, round+1, r.rounds, s.name)
			res, err := cfg.runOnce(r, s, bodies)
			if cfg.ctx.Err() != nil {
				return cfg.ctx.Err()
			}
			if err != nil {
				fmt.Fprintf(os.Stderr, "%s, %s: %v\n", r.name, s.name, err)
				continue
			}
			results[i] = append(results[i], res)
		}
	}
	printRow(r, size, results)
	return nil
}

// runOnce starts a server, sends the load, and stops it.
func (cfg *config) runOnce(r row, s server, bodies string) (res result, err error) {
	p, err := cfg.start(s)
	if err != nil {
		return res, err
	}
	defer p.stop()
	before, err := p.processorTime()
	if err != nil {
		return res, err
	}
	if r.http2 {
		res, err = cfg.h2load(p, r, bodies)
	} else {
		res, err = cfg.wrk(p, r, bodies)
	}
	if err != nil {
		return res, err
	}
	after, err := p.idleTime()
	if err != nil {
		return res, err
	}
	res.processor = (after - before) / time.Duration(max(1, res.requests))
	res.peak, err = p.peakMemory()
	return res, err
}
