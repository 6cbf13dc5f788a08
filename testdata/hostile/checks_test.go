//go:build linux

package hostile

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"sort"
	"strings"
	"sync"
	"syscall"
	"time"
)

// failures collects the failures of checks that run during the attacks. Any
// goroutine may use it.
type failures struct {
	mu    sync.Mutex
	start time.Time
	tried map[string]int
	first map[string][]string // the first few of each check
	count map[string]int
}

func newFailures() *failures {
	return &failures{
		start: time.Now(),
		tried: map[string]int{},
		first: map[string][]string{},
		count: map[string]int{},
	}
}

// record records the result of a check: a failure unless got is empty.
func (f *failures) record(check, got string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tried[check]++
	if got == "" {
		return
	}
	f.count[check]++
	if len(f.first[check]) < 3 {
		line := fmt.Sprintf("%.1f s: %s", time.Since(f.start).Seconds(), strings.TrimSpace(got))
		f.first[check] = append(f.first[check], line)
	}
}

// report returns a line for each check, in the order of their names, and the
// lines of those that failed.
func (f *failures) report() (all, failed []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for check, n := range f.tried {
		line := fmt.Sprintf("%-16s %d of %d failed", check, f.count[check], n)
		if f.count[check] > 0 {
			line += ": " + strings.Join(f.first[check], "; ")
			failed = append(failed, line)
		}
		all = append(all, line)
	}
	sort.Strings(all)
	sort.Strings(failed)
	return all, failed
}

// every calls f at each interval until ctx is done. f may take longer.
func every(ctx context.Context, interval time.Duration, f func()) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		f()
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// A monitor watches a service during the attacks, from the address of the
// honest client.
type monitor struct {
	*failures
	s *service
	m *mode

	mu           sync.Mutex
	resident     int64   // largest VmRSS
	budget       float64 // largest memory_bytes
	wal          float64 // largest wal_bytes
	goroutines   float64 // largest
	classSum     float64 // of the memory classes, in the sample with the largest deviation
	classOff     float64 // its deviation from VmRSS, as a share of VmRSS
	classSamples int
}

// probe requests path once a second, on a new connection, like the probes of a
// container. Each response must arrive within a second.
func (m *monitor) probe(ctx context.Context, path string) {
	c := m.s.newClient(m.m, honestAddress, m.m.key(honestKey), false, time.Second)
	every(ctx, time.Second, func() {
		before := m.s.status("VmRSS")
		status, text, err := c.do(context.Background(), http.MethodGet, path, "")
		if err != nil || status != http.StatusOK {
			m.record(path, fmt.Sprintf("got status %d and error %v", status, err))
			return
		}
		m.record(path, "")
		if path == "/metrics" {
			m.compareMemory(parseMetrics(text), before, m.s.status("VmRSS"))
		}
	})
}

// compareMemory compares the memory classes with the resident size before and
// after they were read.
func (m *monitor) compareMemory(values map[string]float64, before, after int64) {
	sum := 0.0
	for name, v := range values {
		if strings.HasPrefix(name, "memory_class_bytes{") {
			sum += v
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.resident = max(m.resident, before, after)
	m.budget = max(m.budget, values["memory_bytes"])
	m.wal = max(m.wal, values["wal_bytes"])
	m.goroutines = max(m.goroutines, values["goroutines"])
	if sum == 0 {
		return // the service reports no classes
	}
	m.classSamples++
	off := func(rss int64) float64 { return sum/float64(rss) - 1 }
	nearest := off(before)
	if math.Abs(off(after)) < math.Abs(nearest) {
		nearest = off(after)
	}
	if math.Abs(nearest) > math.Abs(m.classOff) {
		m.classSum, m.classOff = sum, nearest
	}
	if math.Abs(nearest) > 0.2 {
		m.record("memory classes", fmt.Sprintf("got a sum of %.1f MiB, but %.1f and %.1f MiB resident",
			sum/(1<<20), float64(before)/(1<<20), float64(after)/(1<<20)))
	} else {
		m.record("memory classes", "")
	}
}

// readPages reads a page of the log, and searches for recent entries, once a
// second. Slow readers must not keep others from reading.
func (m *monitor) readPages(ctx context.Context) {
	c := m.s.newClient(m.m, honestAddress, m.m.key(honestKey), true, 10*time.Second)
	for name, path := range map[string]string{
		"read":   fmt.Sprintf("/logs?before=%d&limit=100", seeds+1),
		"search": "/logs?q=honest&limit=20",
	} {
		go every(ctx, time.Second, func() {
			status, text, err := c.do(ctx, http.MethodGet, path, "")
			switch {
			case ctx.Err() != nil:
			case err != nil || status != http.StatusOK:
				m.record(name, fmt.Sprintf("got status %d and error %v: %.100s", status, err, text))
			default:
				m.record(name, "")
			}
		})
	}
}

// readSlowly reads all seeds at 260 KB/s, which takes longer than the time limit
// of a search. It must get all of them.
func (m *monitor) readSlowly(ctx context.Context, deadline time.Time) {
	for first := true; ctx.Err() == nil && (first || time.Until(deadline) > 40*time.Second); first = false {
		got := ""
		start := time.Now()
		if rows, err := m.readAll(); err != nil || rows != seeds {
			got = fmt.Sprintf("got %d rows after %v and error %v", rows, time.Since(start).Round(time.Second), err)
		}
		m.record("slow read", got)
		sleep(ctx, time.Second)
	}
}

// readAll reads all seeds slowly, and returns their number.
func (m *monitor) readAll() (rows int, err error) {
	dialer := net.Dialer{Control: smallBuffers}
	c := &http.Client{
		Timeout: 3 * time.Minute,
		Transport: &http.Transport{
			DialContext:       dialer.DialContext,
			TLSClientConfig:   m.m.tlsConfig(),
			DisableKeepAlives: true,
		},
	}
	url := fmt.Sprintf("%s://%s/logs?before=%d&limit=%d", m.m.scheme(), m.s.addr, seeds+1, seeds)
	r, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	if m.m.keys {
		r.Header.Set("Authorization", "Bearer "+honestKey)
	}
	resp, err := c.Do(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("status %d", resp.StatusCode)
	}
	decoder := json.NewDecoder(&slowReader{resp.Body, 260_000})
	if _, err := decoder.Token(); err != nil {
		return 0, err
	}
	for ; decoder.More(); rows++ {
		var entry struct{ ID int }
		if err := decoder.Decode(&entry); err != nil {
			return rows, err
		}
		if entry.ID != seeds-rows {
			return rows, fmt.Errorf("got id %d, want %d", entry.ID, seeds-rows)
		}
	}
	_, err = decoder.Token() // the end of the array
	return rows, err
}

// A slowReader reads at most rate bytes per second.
type slowReader struct {
	io.Reader
	rate int
}

func (r *slowReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p[:min(len(p), r.rate/20)])
	time.Sleep(time.Duration(n) * time.Second / time.Duration(r.rate))
	return n, err
}

// follow opens a tail, which must send an entry of the honest client soon. With
// keys, it then revokes the key, which must end the tail.
func (m *monitor) follow(ctx context.Context) {
	every(ctx, 5*time.Second, func() {
		if err := m.followOnce(ctx); err != nil && ctx.Err() == nil {
			m.record("tail", err.Error())
		} else {
			m.record("tail", "")
		}
	})
}

func (m *monitor) followOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, m.m.scheme()+"://"+m.s.addr+"/logs/tail?q=honest", nil)
	if err != nil {
		return err
	}
	if m.m.keys {
		r.Header.Set("Authorization", "Bearer "+revokedKey)
	}
	transport := &http.Transport{TLSClientConfig: m.m.tlsConfig(), DisableKeepAlives: true}
	resp, err := transport.RoundTrip(r)
	if err != nil {
		return fmt.Errorf("open tail: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("got status %d", resp.StatusCode)
	}
	lines := bufio.NewReader(resp.Body)
	for line := ""; !strings.HasPrefix(line, "data: {\"id\""); {
		if line, err = lines.ReadString('\n'); err != nil {
			return fmt.Errorf("wait for an entry: %w", err)
		}
	}
	if !m.m.keys {
		return nil
	}
	return m.revoke(lines)
}

// revoke revokes the key of a tail for a moment. The tail must end within two
// seconds.
func (m *monitor) revoke(tail *bufio.Reader) error {
	m.m.writeKeys(m.s.t, honestKey, attackerKey)
	defer func() {
		m.m.writeKeys(m.s.t, honestKey, attackerKey, revokedKey)
		m.s.cmd.Process.Signal(syscall.SIGHUP) // the next tail fails if this fails
		time.Sleep(500 * time.Millisecond)
	}()
	if err := m.s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		io.Copy(io.Discard, tail)
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-time.After(2 * time.Second):
		return errors.New("the tail continues 2 s after its key was revoked")
	}
}

// A browserCheck is a request of a browser that must be refused.
type browserCheck struct {
	name, method, path string
	header             []string
}

func browserChecks() (checks []browserCheck) {
	crossSite := []string{"Host", "localhost", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"}
	for _, path := range []string{"/logs?q=a&limit=1", "/logs/histogram?since=1m", "/logs/tail", "/metrics"} {
		checks = append(checks, browserCheck{"cross-site", http.MethodGet, path, crossSite})
	}
	rebound := []string{
		"Host", "evil.example", "Origin", "http://evil.example", "Referer", "http://evil.example/",
		"Sec-Fetch-Site", "same-origin", "User-Agent", "Mozilla/5.0",
	}
	return append(checks,
		browserCheck{"rebound", http.MethodPost, "/ingest", rebound},
		browserCheck{"rebound", http.MethodGet, "/metrics", rebound},
		browserCheck{"rebound", http.MethodGet, "/logs", rebound},
	)
}

// checkBrowsers sends the requests of browserChecks once a second, with a key
// if another site's page could make the browser send one.
func (m *monitor) checkBrowsers(ctx context.Context) {
	withKey := m.s.newClient(m.m, honestAddress, m.m.key(honestKey), true, 10*time.Second)
	noKey := m.s.newClient(m.m, honestAddress, "", true, 10*time.Second)
	every(ctx, time.Second, func() {
		for _, check := range browserChecks() {
			c, want := withKey, http.StatusForbidden
			if check.name == "rebound" && m.m.keys {
				c, want = noKey, http.StatusUnauthorized
			}
			body := `{"level":"error","message":"rebound"}`
			if check.method == http.MethodGet {
				body = ""
			}
			status, _, err := c.do(context.Background(), check.method, check.path, body, check.header...)
			got := ""
			if err != nil || status != want {
				got = fmt.Sprintf("%s %s: got status %d and error %v, want %d", check.method, check.path, status, err, want)
			}
			m.record(check.name, got)
		}
	})
}
