package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/jackc/pgx/v5"
)

// A config holds the settings from the flags and the environment.
type config struct {
	db      string          // path of the SQLite file; default logs.db
	to      *pgx.ConnConfig // the PostgreSQL database; required
	source  string          // name of the file's rows in PostgreSQL; default the host name
	once    bool            // exit after shipping all rows; default false
	metrics string          // address of /metrics; default none
}

// parseConfig reads the flags. For a flag that is not given it reads the
// environment: FORWARD_DB, FORWARD_TO, FORWARD_SOURCE, FORWARD_ONCE,
// FORWARD_METRICS. It returns flag.ErrHelp if it printed the help or the
// version to stdout.
func parseConfig(args []string, stdout io.Writer) (config, error) {
	var cfg config
	var to string
	var showVersion bool
	flags := flag.NewFlagSet("forward", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&cfg.db, "db", "logs.db", "SQLite `file` to ship")
	flags.StringVar(&to, "to", "", "`address` of the database, postgres://USER:PASSWORD@HOST:5432/DATABASE;\nset FORWARD_TO instead to keep the password out of the process list")
	flags.StringVar(&cfg.source, "source", "", "`name` of the file's rows in the database, different for every file (default: the host name)")
	flags.BoolVar(&cfg.once, "once", false, "exit after shipping all rows instead of following the file")
	flags.StringVar(&cfg.metrics, "metrics", "", "`address` to serve /metrics on, for example 127.0.0.1:9102 (default: none)")
	flags.BoolVar(&showVersion, "version", false, "print the version and exit")

	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(stdout, "Usage: forward -to ADDRESS [-db FILE] [-source NAME] [-once] [-metrics ADDRESS]\n\n"+
			"Ships the rows of a log ingester's SQLite file to PostgreSQL, each exactly once.\n"+
			"Each flag except -version has an environment variable: FORWARD_TO, FORWARD_DB, …\n\n")
		flags.SetOutput(stdout)
		flags.PrintDefaults()
		return cfg, err
	} else if err != nil {
		return cfg, fmt.Errorf("%w (see forward -h)", err)
	}
	if flags.NArg() > 0 {
		// Do not quote the argument: it may be an address with a password.
		return cfg, errors.New("unexpected argument after the flags (see forward -h)")
	}
	if showVersion {
		fmt.Fprintln(stdout, versionText())
		return cfg, flag.ErrHelp
	}
	if err := readEnvironment(flags); err != nil {
		return cfg, err
	}
	return cfg, cfg.complete(to)
}

// readEnvironment sets each flag that is not given from its variable. It
// ignores FORWARD_VERSION, which container images may set.
func readEnvironment(flags *flag.FlagSet) error {
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
	return err
}

// complete parses the database address, sets the default source and checks the
// source.
func (c *config) complete(to string) (err error) {
	if to == "" {
		return errors.New("no database address: set -to or FORWARD_TO")
	}
	if c.to, err = pgx.ParseConfig(to); err != nil {
		// Do not wrap the driver's error: it may quote the password.
		return errors.New("invalid PostgreSQL address in -to or FORWARD_TO: want postgres://USER:PASSWORD@HOST:5432/DATABASE, special characters in the password percent-encoded")
	}
	if c.to.RuntimeParams["application_name"] == "" {
		c.to.RuntimeParams["application_name"] = "log-ingester forward"
	}
	if c.source == "" {
		if c.source, err = os.Hostname(); err != nil {
			return fmt.Errorf("cannot read the host name, set -source: %w", err)
		}
	}
	if sanitizeText(c.source) != c.source || len(c.source) > 255 {
		return errors.New("-source must be at most 255 bytes of UTF-8 without NUL")
	}
	return nil
}
