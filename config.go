package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"strconv"
	"strings"
	"time"
)

// config is how the service was told to run. Each field above apiKeys is a flag
// and an environment variable.
type config struct {
	addr         string        // :3002
	db           string        // logs.db
	level        levelFlag     // error
	synchronous  string        // full: off, normal, full or extra
	maxBody      byteSize      // 16 MiB
	queue        byteSize      // 8 MiB
	memory       byteSize      // 64 MiB
	retain       time.Duration // 0: all
	maxDB        byteSize      // 0: no limit
	drainTimeout time.Duration // 30 s
	tlsCert      string        // none
	tlsKey       string        // none
	apiKeysFile  string        // none
	healthcheck  bool
	version      bool

	apiKeys string // from the environment only

	// What load reads.
	keys        *apiKeys     // of apiKeys and apiKeysFile; nil for none
	certificate *certificate // of tlsCert and tlsKey; nil for none
}

// flags returns the flags that fill c, with their defaults.
func (c *config) flags() *flag.FlagSet {
	*c = config{
		level:       levelFlag{levelError},
		synchronous: "full",
		maxBody:     16 << 20,
		queue:       8 << 20,
		memory:      64 << 20,
	}
	fs := flag.NewFlagSet("log-ingester", flag.ContinueOnError)
	fs.StringVar(&c.addr, "addr", ":3002", "`address` to listen on")
	fs.StringVar(&c.db, "db", "logs.db", "`file` to keep the logs in; made where it is missing")
	fs.Var(&c.level, "level", "lowest `level` to keep: trace, debug, info, warn, error or fatal")
	fs.Func("synchronous", "when to wait for the disk, SQLite's `pragma`: off, normal, full or extra (default full)", c.setSynchronous)
	fs.Var(&c.maxBody, "max-body", "largest body of a request, in `bytes`, on the wire and inflated")
	fs.Var(&c.queue, "queue", "most that may wait for the database, in `bytes`, and no more than -memory; a larger request is taken when nothing waits")
	fs.Var(&c.memory, "memory", "most that bodies in hand and the queue may take together, in `bytes`")
	fs.DurationVar(&c.retain, "retain", 0, "`age` from which entries are deleted, such as 720h; 0 keeps all")
	fs.Var(&c.maxDB, "max-db", "size of the database, in `bytes`, from which its oldest entries are deleted; 0 is no limit")
	fs.DurationVar(&c.drainTimeout, "drain-timeout", 30*time.Second, "how `long` the end may take when the database takes no writes")
	fs.StringVar(&c.tlsCert, "tls-cert", "", "`file` with the TLS certificate and its chain, PEM; with -tls-key, HTTPS is served; read again on SIGHUP")
	fs.StringVar(&c.tlsKey, "tls-key", "", "`file` with the certificate's private key, PEM")
	fs.StringVar(&c.apiKeysFile, "api-keys-file", "", "`file` with the API keys, one a line; lines that begin with # are comments; read again on SIGHUP")
	fs.BoolVar(&c.healthcheck, "healthcheck", false, "ask the service that runs at -addr whether it can take logs, and end: 0 for yes, 1 for no")
	fs.BoolVar(&c.version, "version", false, "print the version and end")
	return fs
}

func (c *config) setSynchronous(s string) error {
	switch s = strings.ToLower(s); s {
	case "off", "normal", "full", "extra":
		c.synchronous = s
		return nil
	}
	return errors.New("must be off, normal, full or extra")
}

// envName is the environment variable of a flag.
func envName(flagName string) string {
	return "LOG_INGESTER_" + strings.ReplaceAll(strings.ToUpper(flagName), "-", "_")
}

// mostBody is the most that -max-body may be, in bytes: invalid UTF-8 is three
// times as long when it is repaired, and SQLite takes a text of up to 1 GB.
const mostBody = 256 << 20

// mostMemory is the most that -memory may be, in bytes. The queue's channel
// takes a 256th of it.
const mostMemory = 64 << 30

// leastDB is the least that -max-db may be, in bytes: an empty database has
// three pages.
const leastDB = 8 * pageSize

// parseConfig reads the environment and then the flags, which win. It returns
// flag.ErrHelp when help was asked for.
func parseConfig(args []string, getenv func(string) string) (*config, error) {
	c := new(config)
	fs := c.flags()
	fs.SetOutput(io.Discard)
	var err error
	fs.VisitAll(func(f *flag.Flag) {
		if v := getenv(envName(f.Name)); v != "" && err == nil {
			if e := fs.Set(f.Name, v); e != nil {
				err = fmt.Errorf("invalid value %q for %s: %w", v, envName(f.Name), e)
			}
		}
	})
	if e := fs.Parse(args); e != nil {
		return nil, e // help is answered even when the environment is wrong
	}
	switch {
	case err != nil:
		return nil, err
	case fs.NArg() > 0:
		return nil, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	case c.maxBody < 1 || c.maxBody > mostBody:
		return nil, errors.New("-max-body must be from 1 byte to 256MiB")
	case c.queue < 1:
		return nil, errors.New("-queue must be at least 1 byte")
	case c.memory/2 < c.maxBody:
		return nil, fmt.Errorf("-memory must be at least twice -max-body (%v), since a body and its entries are held at once", c.maxBody)
	case c.memory > mostMemory:
		return nil, errors.New("-memory must be at most 64GiB")
	case c.retain < 0:
		return nil, errors.New("-retain must not be negative")
	case c.maxDB > 0 && c.maxDB < leastDB:
		return nil, errors.New("-max-db must be at least 64KiB, or 0 for no limit")
	case c.drainTimeout <= 0:
		return nil, errors.New("-drain-timeout must be more than 0")
	case (c.tlsCert == "") != (c.tlsKey == ""):
		return nil, errors.New("-tls-cert and -tls-key go together")
	}
	if err := checkAddress(c.addr); err != nil {
		return nil, fmt.Errorf("-addr must be a host and a port, such as localhost:3002 or :3002: %w", err)
	}
	c.queue = min(c.queue, c.memory)
	c.apiKeys = getenv("LOG_INGESTER_API_KEYS")
	return c, nil
}

func checkAddress(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	_, err = net.LookupPort("tcp", port)
	return err
}

// load reads the files of the API keys and of the certificate.
func (c *config) load() (err error) {
	if c.keys, err = loadAPIKeys(c.apiKeys, c.apiKeysFile); err != nil {
		return err
	}
	if c.tlsCert == "" {
		return nil
	}
	c.certificate = &certificate{certFile: c.tlsCert, keyFile: c.tlsKey}
	return c.certificate.load()
}

// reload reads them again. What cannot be read stays as it was.
func (c *config) reload(log *slog.Logger) {
	if c.keys != nil {
		if err := c.keys.load(); err != nil {
			log.Error("the API keys stay as they were", "err", err)
		} else {
			log.Info("read the API keys again", "keys", c.keys.String())
		}
	}
	if c.certificate != nil {
		if err := c.certificate.load(); err != nil {
			log.Error("the TLS certificate stays as it was", "err", err)
		} else {
			log.Info("read the TLS certificate again")
		}
	}
}

// printHelp explains the flags and their environment variables.
func printHelp(w io.Writer) {
	fmt.Fprint(w, `log-ingester takes JSON logs over HTTP and keeps what matters in a SQLite file.

Usage: log-ingester [flags]

  curl -d '{"level":"error","message":"it broke"}' http://localhost:3002/ingest
  sqlite3 logs.db 'SELECT * FROM logs'

Flags, each with the environment variable that sets it too:

`)
	fs := new(config).flags()
	fs.VisitAll(func(f *flag.Flag) {
		kind, usage := flag.UnquoteUsage(f)
		fmt.Fprintf(w, "  -%s %s\n    \t%s", f.Name, kind, usage)
		if f.DefValue != "" && f.DefValue != "0" && f.DefValue != "0s" && f.DefValue != "false" {
			fmt.Fprintf(w, " (default %s)", f.DefValue)
		}
		fmt.Fprintf(w, "\n    \t%s\n", envName(f.Name))
	})
	fmt.Fprint(w, `
API keys come from -api-keys-file or, comma-separated, from
LOG_INGESTER_API_KEYS. Bytes may be given as 512KiB, 16MiB, 1GiB or 10MB.
`)
}

// A levelFlag is a flag that takes a level's name.
type levelFlag struct{ level }

func (f *levelFlag) Set(s string) error {
	l := levelByName([]byte(s))
	if l == levelUnknown {
		return errors.New("must be trace, debug, info, warn, error or fatal")
	}
	f.level = l
	return nil
}

// A byteSize is a flag that takes a number of bytes, with a unit or without.
type byteSize int64

// byteUnits are the units of a byteSize, those that end in others first.
var byteUnits = []struct {
	name  string
	bytes int64
}{
	{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"B", 1},
}

func (b *byteSize) String() string {
	for _, u := range byteUnits[:3] {
		if n := int64(*b); n != 0 && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(*b), 10)
}

func (b *byteSize) Set(s string) error {
	unit := int64(1)
	for _, u := range byteUnits {
		if n := len(s) - len(u.name); n > 0 && strings.EqualFold(s[n:], u.name) {
			s, unit = strings.TrimSpace(s[:n]), u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/unit {
		return errors.New("must be a number of bytes, such as 16MiB")
	}
	*b = byteSize(n * unit)
	return nil
}
