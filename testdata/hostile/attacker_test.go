//go:build linux

package hostile

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The attacks run in a process of their own with a low priority, so that they
// use only the processor time that the service and the honest client leave.

// A plan says what the attacking process does.
type plan struct {
	Addr     string
	TLS      bool
	Spread   bool   // each attack has an address of its own
	Key      string // API key, or empty
	Only     string // attacks to run, separated by commas; empty for all
	Interval time.Duration
}

// planVariable is the environment variable that makes the test binary run the
// attacks of a plan, in JSON, instead of the tests.
const planVariable = "HOSTILE_PLAN"

// An attackers is the attacking process.
type attackers struct {
	t     *testing.T
	cmd   *exec.Cmd
	stdin io.Closer
	out   bytes.Buffer
	once  sync.Once
}

func startAttackers(t *testing.T, p plan) *attackers {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	text, err := json.Marshal(p)
	must(t, err)
	a := &attackers{t: t, cmd: exec.Command("nice", "-n", "10", self)}
	a.cmd.Env = append(os.Environ(), planVariable+"="+string(text))
	a.cmd.Stdout = &a.out
	a.cmd.Stderr = os.Stderr
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdin, err := a.cmd.StdinPipe()
	must(t, err)
	a.stdin = stdin
	must(t, a.cmd.Start())
	t.Cleanup(func() { a.stop() })
	return a
}

// stop ends the attacks, closes their connections, and returns the counters of
// each attack.
func (a *attackers) stop() (counts map[string]map[string]int64) {
	a.once.Do(func() {
		a.stdin.Close()
		kill := time.AfterFunc(waitTimeout, func() { a.cmd.Process.Kill() })
		err := a.cmd.Wait()
		kill.Stop()
		if err != nil {
			a.t.Errorf("attacking process: %v", err)
		}
		if err := json.Unmarshal(a.out.Bytes(), &counts); err != nil {
			a.t.Errorf("read the report of the attacks: %v", err)
		}
	})
	return counts
}

// log logs what the attacks did.
func (a *attackers) log(counts map[string]map[string]int64) {
	a.t.Helper()
	for _, attack := range attacks {
		if c, ok := counts[attack.name]; ok {
			a.t.Logf("attack %-17s %v", attack.name, c)
		}
	}
	used := a.cmd.ProcessState.UserTime() + a.cmd.ProcessState.SystemTime()
	a.t.Logf("attacks used %.1f s of processor time", used.Seconds())
}

// runAttacks is the main function of the attacking process. It ends when
// standard input is closed.
func runAttacks(planText string) error {
	var p plan
	if err := json.Unmarshal([]byte(planText), &p); err != nil {
		return fmt.Errorf("read plan: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, os.Stdin) // returns when the test closes it or has exited
		cancel()
	}()
	var running sync.WaitGroup
	started := map[string]*attacker{}
	for i, attack := range attacks {
		if attack.http2 && !p.TLS || p.Only != "" && !strings.Contains(","+p.Only+",", ","+attack.name+",") {
			continue
		}
		a := &attacker{plan: p, address: net.IPv4(127, 0, 0, 2), counts: map[string]int64{}}
		if p.Spread {
			a.address[len(a.address)-1] += byte(i)
		}
		started[attack.name] = a
		running.Go(func() { attack.run(ctx, a, attack.rate) })
	}
	running.Wait()
	report := map[string]map[string]int64{}
	for name, a := range started {
		report[name] = a.counts
	}
	return json.NewEncoder(os.Stdout).Encode(report)
}

// An attacker runs one attack. Any goroutine may use it.
type attacker struct {
	plan
	address net.IP // its own

	mu     sync.Mutex
	counts map[string]int64 // by event
}

func (a *attacker) count(event string) {
	a.mu.Lock()
	a.counts[event]++
	a.mu.Unlock()
}

// A pacer limits the rate of an attack.
type pacer struct{ *time.Ticker }

func newPacer(perSecond float64) pacer {
	return pacer{time.NewTicker(time.Duration(float64(time.Second) / perSecond))}
}

// wait waits for the next turn. It returns false when ctx is done.
func (p pacer) wait(ctx context.Context) bool {
	select {
	case <-p.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// sleep waits for d. It returns false when ctx is done.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// smallBuffers makes the kernel buffer little of what a slow reader has not
// read.
func smallBuffers(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 16<<10) // larger buffers only weaken the attack
	})
}

// dial opens a connection that is closed when ctx is done. protocols are
// offered in the TLS handshake.
func (a *attacker) dial(ctx context.Context, protocols ...string) (net.Conn, error) {
	dialer := net.Dialer{
		LocalAddr: &net.TCPAddr{IP: a.address},
		Timeout:   10 * time.Second,
		Control:   smallBuffers,
	}
	conn, err := dialer.DialContext(ctx, "tcp", a.Addr)
	if err != nil {
		a.count("dial failed")
		return nil, err
	}
	conn = &boundConn{conn, context.AfterFunc(ctx, func() { conn.Close() })}
	if !a.TLS {
		return conn, nil
	}
	// The attackers need not know whom they attack.
	secure := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: protocols})
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		a.count("handshake failed")
		return nil, err
	}
	conn.SetDeadline(time.Time{})
	return secure, nil
}

// A boundConn is a connection that is closed when a context is done.
type boundConn struct {
	net.Conn
	unbind func() bool
}

// Close closes the connection. The context no longer refers to it.
func (c *boundConn) Close() error {
	c.unbind()
	return c.Conn.Close()
}

// authorization returns the header line with the API key, or nothing.
func (a *attacker) authorization() string {
	if a.Key == "" {
		return ""
	}
	return "Authorization: Bearer " + a.Key + "\r\n"
}

// A holder keeps a number of connections open. It replaces a connection that the
// service closes, or that is older than lifetime.
type holder struct {
	connections int
	rate        float64 // new connections per second
	lifetime    time.Duration
	stalls      bool // reads nothing after the status of the response
}

// run sends on each connection the text that text returns for its number.
func (h holder) run(ctx context.Context, a *attacker, text func(i int) string) {
	repeat(ctx, h.connections, h.rate, func(i int) { h.hold(ctx, a, text(i)) })
}

func (h holder) hold(ctx context.Context, a *attacker, text string) {
	conn, err := a.dial(ctx)
	if err != nil {
		return
	}
	defer conn.Close()
	a.count("connections")
	conn.SetDeadline(time.Now().Add(h.lifetime))
	if _, err := io.WriteString(conn, text); err != nil {
		a.count("closed while sending")
		return
	}
	if h.stalls {
		a.readStatus(bufio.NewReaderSize(conn, 16))
		sleep(ctx, h.lifetime)
		return
	}
	r := bufio.NewReader(conn)
	a.readStatus(r)
	io.Copy(io.Discard, r) // until the service closes the connection
}

// readStatus counts the status of a response.
func (a *attacker) readStatus(r *bufio.Reader) {
	var line [12]byte // HTTP/1.1 200
	if _, err := io.ReadFull(r, line[:]); err != nil {
		a.count("no response")
		return
	}
	a.count("status " + string(line[9:]))
}

// client returns a client whose requests come from the attacker's address.
func (a *attacker) client(timeout time.Duration) *http.Client {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: a.address}}
	return &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{
			DialContext:         dialer.DialContext,
			TLSClientConfig:     &tls.Config{InsecureSkipVerify: true}, // as in dial
			MaxIdleConnsPerHost: 64,
			DisableCompression:  true,
		},
	}
}

func (a *attacker) scheme() string {
	if a.TLS {
		return "https"
	}
	return "http"
}

// send sends a request, reads the response, and counts its status. It returns
// the status, or 0 if there was no complete response.
func (a *attacker) send(ctx context.Context, c *http.Client, method, path, body string, header ...string) int {
	r, err := http.NewRequestWithContext(ctx, method, a.scheme()+"://"+a.Addr+path, strings.NewReader(body))
	if err != nil {
		panic(err) // the attack has an invalid path
	}
	if a.Key != "" {
		r.Header.Set("Authorization", "Bearer "+a.Key)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := c.Do(r)
	if err != nil {
		a.count("no response")
		return 0
	}
	defer resp.Body.Close()
	a.count(fmt.Sprintf("status %d", resp.StatusCode))
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		a.count("response cut off")
		return 0
	}
	return resp.StatusCode
}

// repeat calls f in n goroutines, together at most rate times per second.
func repeat(ctx context.Context, n int, rate float64, f func(i int)) {
	pace := newPacer(rate)
	defer pace.Stop()
	var running sync.WaitGroup
	for i := range n {
		running.Go(func() {
			for pace.wait(ctx) {
				f(i)
			}
		})
	}
	running.Wait()
}

// readSlowly requests path and reads the response at rate bytes per second, for
// at most lifetime.
func (a *attacker) readSlowly(ctx context.Context, path string, rate int, lifetime time.Duration) {
	conn, err := a.dial(ctx)
	if err != nil {
		return
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(lifetime))
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\n%sConnection: close\r\n\r\n", path, a.Addr, a.authorization())
	a.readStatus(bufio.NewReaderSize(conn, 16))
	buf := make([]byte, rate/10)
	for sleep(ctx, 100*time.Millisecond) {
		if _, err := io.ReadFull(conn, buf); err != nil {
			return
		}
	}
}
