package viewer

import (
	"flag"
	"testing"
	"time"
)

var (
	tailTime = flag.Duration("tailtime", 4*time.Second, "how `long` TestPageTailGrowth tails the log")
	tailRate = flag.Int("tailrate", 500, "`entries` per second that TestPageTailGrowth stores")
)

const (
	tailReports = 6                     // during the tail
	tailWarmUp  = 2 * time.Second       // until the list has its usual rows
	tailBatch   = 20 * time.Millisecond // time between two commits
	maxHeap     = 64 << 20
	maxNodes    = 3_000
)

// usage is what a tab uses.
type usage struct {
	heap  float64 // bytes that scripts use, after a garbage collection
	nodes float64 // of all documents
	cpu   float64 // seconds of all threads of its process
	at    float64 // seconds
}

// usage collects garbage before it measures.
func (p *tab) usage() usage {
	p.t.Helper()
	p.call("HeapProfiler.collectGarbage", object{}, nil)
	var response struct {
		Metrics []struct {
			Name  string
			Value float64
		}
	}
	p.call("Performance.getMetrics", object{}, &response)
	values := make(map[string]float64)
	for _, m := range response.Metrics {
		values[m.Name] = m.Value
	}
	return usage{values["JSHeapUsedSize"], values["Nodes"], values["ProcessTime"], values["Timestamp"]}
}

// A tab that shows the newest entries must not grow, however long it is open. This
// command measures the figures in docs/performance.md:
//
//	go test -run TestPageTailGrowth -v -timeout 0 ./internal/viewer -tailtime 1h
func TestPageTailGrowth(t *testing.T) {
	s := newSite(t)
	s.fill(10_000) // too many to be loaded at once
	p := openTab(t, s.url+"/", desktop)
	// This log has no summaries, so after a while a histogram can take too long on a
	// busy machine.
	p.allowErrors("logs/histogram")
	p.call("Performance.enable", object{}, nil)
	p.wait("isLive() && isLoaded()")
	p.eval(`$("#list").scrollTop = 0`)
	stored := s.deliverFor(tailWarmUp)
	first := p.usage()
	t.Logf("start: heap %.1f MB, %.0f nodes", first.heap/1e6, first.nodes)
	last := first
	for range tailReports {
		stored += s.deliverFor(*tailTime / tailReports)
		now := p.usage()
		t.Logf("after %4.0f s: heap %.1f MB, %.0f nodes, %.1f%% of a core, %d entries stored",
			now.at-first.at, now.heap/1e6, now.nodes, 100*(now.cpu-last.cpu)/(now.at-last.at), stored)
		last = now
	}
	p.wait("isLive() && !state.failure")
	if last.heap > maxHeap || last.nodes > maxNodes {
		t.Errorf("the tab uses %.0f bytes and %.0f nodes, want at most %d and %d",
			last.heap, last.nodes, maxHeap, maxNodes)
	}
}

// deliverFor delivers entries at the rate of the test for a while, and returns how
// many.
func (s *site) deliverFor(d time.Duration) int {
	start := time.Now()
	stored := 0
	tick := time.NewTicker(tailBatch)
	defer tick.Stop()
	for time.Since(start) < d {
		<-tick.C
		due := int(time.Since(start).Seconds() * float64(*tailRate))
		if due > stored {
			s.deliver(shopEntries(time.Now(), due-stored)...)
			stored = due
		}
	}
	return stored
}
