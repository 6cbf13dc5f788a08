package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"time"

	"modernc.org/sqlite"
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

// checkHealth asks the service that was started with the same configuration
// whether it can take logs. It is for images without a shell.
func checkHealth(cfg *config) error {
	client := &http.Client{
		Timeout: 5 * time.Second,
		Transport: &http.Transport{
			// Where the service listens on all addresses, this is the loopback one.
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, cfg.addr)
			},
			// The certificate names the host as clients know it. No key is sent.
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
	why, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err != nil {
		return fmt.Errorf("%s, and then: %w", resp.Status, err)
	}
	return fmt.Errorf("%s: %s", resp.Status, bytes.TrimSpace(why))
}

// version and commit are set by the linker in builds that have no repository
// beside them: -ldflags '-X main.version=v0.1.0 -X main.commit=…'.
var version, commit string

// printVersion tells what the binary was built from.
func printVersion(w io.Writer) {
	built, from := buildVersion()
	fmt.Fprintf(w, "log-ingester %s commit %s %s SQLite %s\n", built, from, runtime.Version(), sqliteVersion())
}

// buildVersion returns the version and the commit of the build, as far as it
// recorded them.
func buildVersion() (built, from string) {
	built, from = cmp.Or(version, "(devel)"), cmp.Or(commit, "unknown")
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return built, from
	}
	if version == "" && info.Main.Version != "" {
		built = info.Main.Version
	}
	for _, s := range info.Settings {
		if commit == "" && s.Key == "vcs.revision" {
			from = s.Value
		}
	}
	return built, from
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
