package main

import (
	"fmt"
	"io"
	"modernc.org/sqlite"
	"net/http"
	"runtime"
	"runtime/debug"
)

// serveHealth answers GET /healthz: the process is alive.
func serveHealth(w http.ResponseWriter, _ *http.Request) {
	io.WriteString(w, "ok\n") // a client that has gone away is nobody to report to
}

// serveReady answers GET /readyz: the service can take logs, or why not.
func (s *service) serveReady(w http.ResponseWriter, _ *http.Request) {
	err := s.queue.unready()
	if err == nil {
		io.WriteString(w, "ok\n")
		return
	}
	writeRefusal(w, refuse(http.StatusServiceUnavailable, "%v", err))
}

// printVersion tells what the binary was built from.
func printVersion(w io.Writer) {
	version, commit := buildVersion()
	fmt.Fprintf(w, "log-ingester %s commit %s %s SQLite %s\n", version, commit, runtime.Version(), sqliteVersion())
}

// buildVersion returns the module's version and the commit it was built from,
// as far as the build recorded them.
func buildVersion() (version, commit string) {
	version, commit = "(devel)", "unknown"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return version, commit
	}
	if info.Main.Version != "" {
		version = info.Main.Version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			commit = s.Value
		}
	}
	return version, commit
}

// sqliteVersion returns the version of the SQLite that is linked in.
func sqliteVersion() string {
	conn, err := new(sqlite.Driver).Open(":memory:")
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	d := &database{conn: conn.(sqlConn)}
	rows, err := d.query("SELECT sqlite_version()")
	if err != nil {
		return err.Error()
	}
	return rows[0][0].(string)
}
