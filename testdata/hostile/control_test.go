//go:build linux

package hostile

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// controlVariable is the environment variable that makes the test binary run the
// control server: it responds 202 to every request. Its latency shows how much
// other processes of the machine disturb a measurement.
const controlVariable = "HOSTILE_CONTROL"

// runControl is the main function of the control server. It ends when standard
// input is closed.
func runControl() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	fmt.Println(l.Addr())
	go func() {
		io.Copy(io.Discard, os.Stdin) // returns when the test closes it or has exited
		os.Exit(0)
	}()
	return http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // a read error means that the client has disconnected
		w.WriteHeader(http.StatusAccepted)
	}))
}

// startControl starts the control server and returns a client of it. The server
// ends with the test.
func startControl(t *testing.T) *client {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), controlVariable+"=1")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdin, err := cmd.StdinPipe()
	must(t, err)
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		stdin.Close()
		cmd.Wait() // the status does not matter
	})
	addr, err := bufio.NewReader(stdout).ReadString('\n')
	must(t, err)
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	return &client{
		Client: &http.Client{Transport: transport, Timeout: 10 * time.Second},
		url:    "http://" + strings.TrimSpace(addr),
	}
}
