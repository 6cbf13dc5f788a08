package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"log-ingester/internal/entry"
)

// config is the configuration of one process. Each field up to version is a
// flag and an environment variable; flags documents them and sets their
// defaults.
type config struct {
	addr           string
	db             string
	level          levelFlag
	synchronous    string // lower case
	maxBody        byteSize
	queue          byteSize // at most memory
	memory         byteSize
	retain         ageFlag  // 0: no limit
	maxDB          byteSize // 0: no limit
	drainTimeout   time.Duration
	tlsCert        string
	tlsKey         string
	apiKeysFile    string
	trustedProxies networksFlag
	fastPath       bool
	healthcheck    bool
	version        bool

	apiKeys string // from the environment only

	// Set by load.
	keys        *apiKeys     // nil if no keys are configured
	certificate *certificate // nil for plain HTTP
}

// flags returns the flag set that fills c, after setting the defaults.
func (c *config) flags() *flag.FlagSet {
	*c = config{
		level:       levelFlag{entry.LevelError},
		synchronous: "full",
		maxBody:     16 << 20,
		queue:       8 << 20,
		memory:      64 << 20,
	}
	fs := flag.NewFlagSet("log-ingester", flag.ContinueOnError)
	fs.StringVar(&c.addr, "addr", ":3002", "`address` to listen on")
	fs.StringVar(&c.db, "db", "logs.db", "database `file`, created if missing")
	fs.Var(&c.level, "level", "lowest `level` to keep: trace, debug, info, warn, error or fatal")
	fs.Func("synchronous", "SQLite's synchronous `pragma`: off, normal, full or extra (default full)", c.setSynchronous)
	fs.Var(&c.maxBody, "max-body", "largest request body in `bytes`, both compressed and decompressed")
	fs.Var(&c.queue, "queue", "limit of the queue in `bytes`, at most -memory; an empty queue accepts a larger request")
	fs.Var(&c.memory, "memory", "limit of request bodies in progress and the queue together, in `bytes`")
	fs.Var(&c.retain, "retain", "`age` at which entries are deleted, for example 30d or 720h; 0 keeps all")
	fs.Var(&c.maxDB, "max-db", "database size in `bytes` above which the oldest entries are deleted; 0 means no limit")
	fs.DurationVar(&c.drainTimeout, "drain-timeout", 30*time.Second, "`time` limit for storing queued entries at shutdown")
	fs.StringVar(&c.tlsCert, "tls-cert", "", "PEM `file` with the TLS certificate chain; "+
		"enables HTTPS with -tls-key; reloaded on SIGHUP")
	fs.StringVar(&c.tlsKey, "tls-key", "", "PEM `file` with the private key of the certificate")
	fs.StringVar(&c.apiKeysFile, "api-keys-file", "", "`file` with one API key per line; "+
		"lines starting with # are comments; reloaded on SIGHUP")
	fs.Var(&c.trustedProxies, "trusted-proxies", "`networks` of reverse proxies, separated by commas, "+
		"for example 10.0.0.0/8,::1; for their connections, the client is the address in X-Forwarded-For")
	fs.BoolVar(&c.fastPath, "fast-path", true, "skip header parsing for keep-alive clients that repeat the same header "+
		"over HTTP/1.1; false serves all requests through net/http")
	fs.BoolVar(&c.healthcheck, "healthcheck", false,
		"check whether the service at -addr accepts logs, and exit with status 0 or 1")
	fs.BoolVar(&c.version, "version", false, "print the version and exit")
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

const envPrefix = "LOG_INGESTER_"

// envName returns the environment variable of a flag.
func envName(flagName string) string {
	return envPrefix + strings.ReplaceAll(strings.ToUpper(flagName), "-", "_")
}

// Limits of sizes, in bytes.
const (
	// Repairing invalid UTF-8 can triple the length of a value, and SQLite
	// accepts values of up to 1 GB.
	maxMaxBody = 256 << 20
	// newQueue allocates a channel of 1/256 of -queue, which can be as large as
	// -memory.
	maxMemory = 64 << 30
	// An empty database has four pages.
	minMaxDB = 8 * pageSize
)

// parseConfig reads the environment and then the flags, which take precedence.
// It returns flag.ErrHelp if args ask for help.
func parseConfig(args []string, getenv func(string) string) (*config, error) {
	c := new(config)
	fs := c.flags()
	fs.SetOutput(io.Discard)
	envErr := setFromEnv(fs, getenv)
	if err := fs.Parse(args); err != nil {
		return nil, err // -h works even if the environment is invalid
	}
	if envErr != nil {
		return nil, envErr
	}
	if fs.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	if err := c.validate(); err != nil {
		return nil, err
	}
	c.queue = min(c.queue, c.memory)
	c.apiKeys = getenv(envName("api-keys"))
	return c, nil
}

// setFromEnv sets the flags whose environment variable is not empty, and
// returns the first error.
func setFromEnv(fs *flag.FlagSet, getenv func(string) string) (err error) {
	fs.VisitAll(func(f *flag.Flag) {
		name := envName(f.Name)
		value := getenv(name)
		if value == "" || err != nil {
			return
		}
		if e := fs.Set(f.Name, value); e != nil {
			err = fmt.Errorf("invalid value %q for %s: %w", value, name, e)
		}
	})
	return err
}

// unknownVariables returns the names in environ that look like variables of this
// program but are not.
func unknownVariables(environ []string) (unknown []string) {
	known := map[string]bool{envName("api-keys"): true}
	new(config).flags().VisitAll(func(f *flag.Flag) { known[envName(f.Name)] = true })
	for _, variable := range environ {
		name, _, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(name, envPrefix) && !known[name] {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	return unknown
}

func (c *config) validate() error {
	switch {
	case c.maxBody < 1 || c.maxBody > maxMaxBody:
		return errors.New("-max-body must be from 1 byte to 256MiB")
	case c.queue < 1:
		return errors.New("-queue must be at least 1 byte")
	case c.memory/2 < c.maxBody:
		return fmt.Errorf("-memory must be at least twice -max-body (%v), "+
			"because a body and its decoded entries are in memory together", &c.maxBody)
	case c.memory > maxMemory:
		return errors.New("-memory must be at most 64GiB")
	case c.retain < 0:
		return errors.New("-retain must not be negative")
	case c.maxDB > 0 && c.maxDB < minMaxDB:
		return errors.New("-max-db must be at least 64KiB, or 0 for no limit")
	case c.drainTimeout <= 0:
		return errors.New("-drain-timeout must be positive")
	case (c.tlsCert == "") != (c.tlsKey == ""):
		return errors.New("-tls-cert and -tls-key must be set together")
	}
	if err := checkAddress(c.addr); err != nil {
		return fmt.Errorf("-addr must be a host and a port, for example localhost:3002 or :3002: %w", err)
	}
	return nil
}

func checkAddress(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	_, err = net.LookupPort("tcp", port)
	return err
}

// load parses the API keys and reads the certificate.
func (c *config) load() (err error) {
	if c.keys, err = loadAPIKeys(c.apiKeys, c.apiKeysFile); err != nil {
		return err
	}
	c.apiKeys = "" // c.keys has their digests
	if c.tlsCert == "" {
		return nil
	}
	c.certificate = &certificate{certFile: c.tlsCert, keyFile: c.tlsKey}
	return c.certificate.load()
}

// reload rereads the files of the API keys and the certificate. If it cannot use a
// file, it logs that, and the content that was loaded before stays in use.
func (c *config) reload(log *slog.Logger) {
	if c.keys != nil {
		if err := c.keys.load(); err != nil {
			log.Error("reloading API keys failed; keeping the current ones", "err", err)
		} else {
			log.Info("API keys reloaded", "keys", c.keys.String())
		}
	}
	if c.certificate != nil {
		if err := c.certificate.load(); err != nil {
			log.Error("reloading the TLS certificate failed; keeping the current one", "err", err)
		} else {
			log.Info("TLS certificate reloaded")
		}
	}
}

// printHelp describes the flags and their environment variables.
func printHelp(w io.Writer) {
	fmt.Fprint(w, `log-ingester accepts JSON logs over HTTP and stores errors in a SQLite file.

Usage: log-ingester [flags]

  curl -d '{"level":"error","message":"it broke"}' http://localhost:3002/ingest
  sqlite3 logs.db 'SELECT * FROM logs'

Flags, each with its environment variable:

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
API keys come from -api-keys-file or, separated by commas, from
LOG_INGESTER_API_KEYS. Sizes are numbers of bytes with an optional unit:
512KiB, 16MiB, 1GiB or 1G, 10MB.
`)
}

// A levelFlag is a flag.Value for the name of a level.
type levelFlag struct{ entry.Level }

func (f *levelFlag) Set(s string) error {
	l := entry.LevelByName([]byte(s))
	if l == entry.LevelUnknown {
		return errors.New("must be trace, debug, info, warn, error or fatal")
	}
	f.Level = l
	return nil
}

// A networksFlag is a flag.Value for addresses and networks separated by commas.
type networksFlag []netip.Prefix

func (f *networksFlag) String() string {
	var texts []string
	for _, network := range *f {
		texts = append(texts, network.String())
	}
	return strings.Join(texts, ",")
}

func (f *networksFlag) Set(s string) error {
	*f = nil
	for item := range strings.SplitSeq(s, ",") {
		network, err := parseNetwork(strings.TrimSpace(item))
		if err != nil {
			return errors.New("must be addresses or networks separated by commas, for example 10.0.0.0/8,::1")
		}
		*f = append(*f, network)
	}
	return nil
}

// parseNetwork parses a network or a single address.
func parseNetwork(text string) (netip.Prefix, error) {
	if strings.Contains(text, "/") {
		network, err := netip.ParsePrefix(text)
		return network.Masked(), err
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Prefix{}, err
	}
	return addr.WithZone("").Prefix(addr.BitLen())
}

// An ageFlag is a flag.Value for a duration in Go's syntax or in days.
type ageFlag time.Duration

func (a *ageFlag) String() string { return time.Duration(*a).String() }

func (a *ageFlag) Set(s string) error {
	age, err := entry.ParseDuration(s)
	if err != nil {
		return errors.New("must be a duration, for example 30d or 720h")
	}
	*a = ageFlag(age)
	return nil
}

// A byteSize is a flag.Value for a number of bytes with an optional unit.
type byteSize int64

// byteUnits lists a unit before the units that are its suffixes.
var byteUnits = []struct {
	name  string
	bytes int64
}{
	{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"B", 1},
	{"G", 1 << 30}, {"M", 1 << 20}, {"K", 1 << 10},
}

// String uses the largest binary unit that divides b.
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
		return errors.New("must be a number of bytes, for example 16MiB")
	}
	*b = byteSize(n * unit)
	return nil
}
