package main

import (
	"bufio"
	"bytes"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

//go:embed requests.lua
var requestsLua []byte

// A result has the figures of one run of a server.
type result struct {
	requests  int64   // with a 2xx response
	rate      float64 // of them, per second
	p50, p99  time.Duration
	processor time.Duration // of the server, for each request
	peak      int64         // resident memory of the server, in bytes
}

// wrk sends a load with wrk.
func (cfg *config) wrk(p *process, r row, bodies string) (result, error) {
	args := []string{"-t1", fmt.Sprintf("-c%d", r.conns), fmt.Sprintf("-d%.0f", r.duration.Seconds()), "--latency",
		"-s", cfg.path("requests.lua"), "-H", "Content-Type: application/json"}
	if r.load.gzip {
		args = append(args, "-H", "Content-Encoding: gzip")
	}
	for _, h := range p.server.headers {
		args = append(args, "-H", h)
	}
	cmd := exec.CommandContext(cfg.ctx, "wrk", append(args, p.url)...)
	cmd.Env = append(os.Environ(), "BODIES="+bodies, fmt.Sprintf("PAUSE=%d", r.pause))
	out, err := cmd.CombinedOutput()
	if err != nil {
		return result{}, fmt.Errorf("wrk: %w\n%s", err, out)
	}
	return parseWrk(string(out))
}

var (
	wrkTotal   = regexp.MustCompile(`(\d+) requests in ([\d.]+\w+),`)
	wrkFailed  = regexp.MustCompile(`Non-2xx or 3xx responses: (\d+)`)
	wrkLatency = regexp.MustCompile(`(?m)^ +(50|99)% +([\d.]+\w+) *$`)
)

// parseWrk reads the output of wrk. Responses other than 2xx do not count.
func parseWrk(out string) (res result, err error) {
	total := wrkTotal.FindStringSubmatch(out)
	if total == nil || strings.Contains(out, "Socket errors") {
		return res, fmt.Errorf("wrk reports:\n%s", out)
	}
	if res.requests, err = strconv.ParseInt(total[1], 10, 64); err != nil {
		return res, err
	}
	took, err := time.ParseDuration(total[2])
	if err != nil {
		return res, err
	}
	if failed := wrkFailed.FindStringSubmatch(out); failed != nil {
		n, err := strconv.ParseInt(failed[1], 10, 64)
		if err != nil {
			return res, err
		}
		fmt.Fprintf(os.Stderr, "%d of %d responses are not 2xx\n", n, res.requests)
		res.requests -= n
	}
	res.rate = float64(res.requests) / took.Seconds()
	for _, line := range wrkLatency.FindAllStringSubmatch(out, -1) {
		latency, err := time.ParseDuration(line[2])
		if err != nil {
			return res, err
		}
		if line[1] == "50" {
			res.p50 = latency
		} else {
			res.p99 = latency
		}
	}
	return res, nil
}

// h2load sends the first body of a load with h2load, over HTTP/2, with ten streams for
// each connection.
func (cfg *config) h2load(p *process, r row, bodies string) (result, error) {
	log := cfg.path("h2load.log")
	defer os.Remove(log)
	out, err := exec.CommandContext(cfg.ctx, "h2load", "-t1", fmt.Sprintf("-c%d", r.conns), "-m10",
		fmt.Sprintf("-D%.0f", r.duration.Seconds()), "--log-file", log, "-d", filepath.Join(bodies, "0"),
		"-H", "content-type: application/json", p.url).CombinedOutput()
	if err != nil {
		return result{}, fmt.Errorf("h2load: %w\n%s", err, out)
	}
	text, err := os.ReadFile(log)
	if err != nil {
		return result{}, err
	}
	res, err := parseH2load(text)
	res.rate = float64(res.requests) / r.duration.Seconds()
	return res, err
}

// parseH2load reads the log of h2load. A line has the start of a request, its status,
// and its latency in microseconds.
func parseH2load(log []byte) (res result, err error) {
	var latencies []time.Duration
	for lines := bufio.NewScanner(bytes.NewReader(log)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) != 3 || !strings.HasPrefix(fields[1], "2") {
			return res, fmt.Errorf("h2load reports: %q", lines.Text())
		}
		us, err := strconv.Atoi(fields[2])
		if err != nil {
			return res, err
		}
		latencies = append(latencies, time.Duration(us)*time.Microsecond)
	}
	if len(latencies) == 0 {
		return res, fmt.Errorf("h2load sent no request")
	}
	slices.Sort(latencies)
	res.requests = int64(len(latencies))
	res.p50, res.p99 = latencies[len(latencies)/2], latencies[len(latencies)*99/100]
	return res, nil
}
