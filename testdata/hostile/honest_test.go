//go:build linux

package hostile

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	honestAddress  = "127.0.0.1"
	honestInterval = 20 * time.Millisecond  // between the requests of the honest client
	honestLatency  = 100 * time.Millisecond // for honestShare of its requests
	honestShare    = 0.99

	// A request does not count if a control request that was sent at the same time
	// took longer, because other processes then used the processors.
	controlLatency = honestLatency / 4
)

// A sender is the honest client that sends logs. It records every request and
// its response, so that the database can be compared with them.
type sender struct {
	client  *client
	control *client // of a server that does nothing

	mu       sync.Mutex
	requests []*request // by number
}

// A request is one of a sender. Its entries have the messages
// honest/NUMBER/INDEX.
type request struct {
	entries int
	wait    bool // for the commit
	measure bool // the latency counts
	status  int  // 0 if there was no response
	err     error
	took    time.Duration
	control time.Duration // of the control request
}

// run sends a request each honestInterval until ctx is done, and waits for all
// responses. A slow response does not delay the next request.
func (s *sender) run(ctx context.Context, measure bool) {
	pace := time.NewTicker(honestInterval)
	defer pace.Stop()
	var running sync.WaitGroup
	defer running.Wait()
	for {
		select {
		case <-pace.C:
		case <-ctx.Done():
			return
		}
		number, r := s.next(measure)
		running.Go(func() { s.send(number, r) })
		running.Go(func() { s.sendControl(r) })
	}
}

// next returns the next request and its number. Of ten requests, one has 100
// entries, and one waits for the commit.
func (s *sender) next(measure bool) (number int, r *request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	number = len(s.requests)
	r = &request{entries: 1, measure: measure}
	switch number % 10 {
	case 3:
		r.entries = 100
	case 7:
		r.wait = true
	}
	s.requests = append(s.requests, r)
	return number, r
}

func (s *sender) send(number int, r *request) {
	var body strings.Builder
	for i := range r.entries {
		fmt.Fprintf(&body, `{"level":"error","message":"honest/%d/%d","service":"checkout","user":12345}`+"\n", number, i)
	}
	body.WriteString(`{"level":"info","message":"dropped"}`)
	path := "/ingest"
	if r.wait {
		path += "?wait=1"
	}
	start := time.Now()
	status, _, err := s.client.do(context.Background(), http.MethodPost, path, body.String())
	s.mu.Lock()
	defer s.mu.Unlock()
	r.status, r.err, r.took = status, err, time.Since(start)
}

// sendControl sends a control request. Its latency is that of the machine.
func (s *sender) sendControl(r *request) {
	start := time.Now()
	s.control.do(context.Background(), http.MethodPost, "/", "{}") // only the time matters
	s.mu.Lock()
	defer s.mu.Unlock()
	r.control = time.Since(start)
}

// A latency summarizes the requests of the honest client that did not wait for
// the commit.
type latency struct {
	requests         int
	disturbed        int     // with a slow control request; they do not count below
	withinLimit      float64 // share that got 202 within honestLatency
	median, p99, max time.Duration
	statuses         map[string]int // of all requests
	errors           []string       // the first few
}

func (s *sender) latency(measured bool) (l latency) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.statuses = map[string]int{}
	var times []time.Duration
	good := 0
	for number, r := range s.requests {
		if r.measure != measured {
			continue
		}
		l.statuses[statusName(r)]++
		if r.err != nil && len(l.errors) < 3 {
			l.errors = append(l.errors, fmt.Sprintf("request %d after %v: %v", number, r.took, r.err))
		}
		if r.wait {
			continue
		}
		l.requests++
		if r.control > controlLatency {
			l.disturbed++
			continue
		}
		times = append(times, r.took)
		if r.status == http.StatusAccepted && r.took <= honestLatency {
			good++
		}
	}
	if len(times) == 0 {
		return l
	}
	slices.Sort(times)
	l.withinLimit = float64(good) / float64(len(times))
	l.median, l.p99, l.max = times[len(times)/2], times[len(times)*99/100], times[len(times)-1]
	return l
}

func statusName(r *request) string {
	if r.status == 0 {
		return "none"
	}
	return fmt.Sprint(r.status)
}

func (l latency) String() string {
	return fmt.Sprintf("%d requests, of which %d do not count, %.2f%% got 202 within %v, "+
		"median %v, 99th percentile %v, max %v, statuses %v",
		l.requests, l.disturbed, 100*l.withinLimit, honestLatency, l.median.Round(10*time.Microsecond),
		l.p99.Round(10*time.Microsecond), l.max.Round(time.Millisecond), l.statuses)
}
