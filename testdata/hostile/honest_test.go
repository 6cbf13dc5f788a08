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

	maxEntries = 100 // in a request

	// leastMeasured is the least number of requests that can fail a run because of
	// their latency.
	leastMeasured = 300
)

// A sender is the honest client that sends logs. It records every request and
// its response, so that the database can be compared with them.
type sender struct {
	client *client

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
	start   time.Time
	took    time.Duration
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
	}
}

// next returns the next request and its number. Of ten requests, one has
// maxEntries entries, and one waits for the commit.
func (s *sender) next(measure bool) (number int, r *request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	number = len(s.requests)
	r = &request{entries: 1, measure: measure, start: time.Now()}
	switch number % 10 {
	case 3:
		r.entries = maxEntries
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
	status, _, err := s.client.do(context.Background(), http.MethodPost, path, body.String())
	s.mu.Lock()
	defer s.mu.Unlock()
	r.status, r.err, r.took = status, err, time.Since(r.start)
}

// A latency summarizes the requests of the honest client that did not wait for
// the commit.
type latency struct {
	requests         int
	accepted         float64 // share that got 202
	disturbed        int     // while other programs used the processors; they do not count below
	withinLimit      float64 // share that got 202 within honestLatency
	median, p99, max time.Duration
	statuses         map[string]int // of all requests
	errors           []string       // the first few
}

func (s *sender) latency(measured bool, p *processors) (l latency) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.statuses = map[string]int{}
	var times []time.Duration
	good, accepted := 0, 0
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
		if r.status == http.StatusAccepted {
			accepted++
		}
		if p.disturbed(r.start, r.start.Add(r.took)) {
			l.disturbed++
			continue
		}
		times = append(times, r.took)
		if r.status == http.StatusAccepted && r.took <= honestLatency {
			good++
		}
	}
	l.accepted = float64(accepted) / float64(max(1, l.requests))
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
	return fmt.Sprintf("%d requests, %.2f%% got 202; without %d disturbed ones, %.2f%% within %v, "+
		"median %v, 99th percentile %v, max %v, statuses %v",
		l.requests, 100*l.accepted, l.disturbed, 100*l.withinLimit, honestLatency, l.median.Round(10*time.Microsecond),
		l.p99.Round(10*time.Microsecond), l.max.Round(time.Millisecond), l.statuses)
}
