//go:build linux

package examples

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// nginx writes its access log to app.log, which the Collector sends.
func TestNginx(t *testing.T) {
	t.Parallel()
	nginx := "/usr/sbin/nginx" // not in the PATH of all users
	require(t, exists(nginx), "nginx")
	s := collector("collector", feedFile)
	require(t, s.installed(), s.name)
	e := newEndpoint(t)
	e.startService()
	dir := s.prepare(e)
	s.start(t, dir)

	conf := e.copyExample("nginx", apiKey)
	e.replaceInFiles(conf, []string{"/var/log/nginx/access.json", filepath.Join(dir, "app.log")})
	socket := filepath.Join(conf, "socket")
	text := fmt.Sprintf(`pid %s/pid; error_log stderr; daemon off; master_process off; events {}
http { include %[1]s/ingest.conf; server { listen unix:%s;
location /ok { return 200; } location /teapot { return 418; } location /broken { return 502; } } }`, conf, socket)
	file := filepath.Join(conf, "nginx.conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	startProcess(t, exec.Command(nginx, "-c", file, "-p", conf))
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	eventually(t, "nginx listens", func() bool {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			return false
		}
		return conn.Close() == nil
	})
	for _, path := range []string{"/ok?q=%22", "/teapot", "/broken"} {
		res, err := (&http.Client{Transport: transport, Timeout: timeout}).Get("http://shop" + path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
	e.waitForRows(3)
	checkRows(t, e.rows(), []row{
		{"info", "GET /ok?q=%22 HTTP/1.1"}, {"warn", "GET /teapot HTTP/1.1"}, {"error", "GET /broken HTTP/1.1"},
	})
}
