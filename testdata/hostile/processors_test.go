//go:build linux

package hostile

import (
	"context"
	"fmt"
	"os"
	"sort"
	"strings"
	"sync"
	"time"
)

const sampleInterval = 250 * time.Millisecond

// processors records how much processor time the service, the test and all other
// programs use.
type processors struct {
	pids []int // of the test

	mu      sync.Mutex
	samples []processorSample
}

// A processorSample is the usage between the previous sample and at.
type processorSample struct {
	at                     time.Time
	service, tests, others float64 // shares of all processors
}

// run takes samples until ctx is done. The first of the pids is the service.
func (p *processors) run(ctx context.Context) {
	total, used := totalTicks(), p.ticks()
	every(ctx, sampleInterval, func() {
		now, usedNow := totalTicks(), p.ticks()
		all := now.busy + now.idle - total.busy - total.idle
		if all <= 0 {
			return // less than a tick has passed
		}
		s := processorSample{at: time.Now()}
		own := 0.0
		for i := range usedNow {
			share := (usedNow[i] - used[i]) / all
			own += share
			if i == 0 {
				s.service = share
			}
		}
		s.tests = own - s.service
		s.others = min(1, (now.busy-total.busy)/all-own)
		total, used = now, usedNow
		p.mu.Lock()
		p.samples = append(p.samples, s)
		p.mu.Unlock()
	})
}

// disturbed reports whether other programs used much of the processors between
// two times.
func (p *processors) disturbed(from, to time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	first := sort.Search(len(p.samples), func(i int) bool { return p.samples[i].at.After(from) })
	for _, s := range p.samples[first:] {
		if !s.at.Add(-sampleInterval).Before(to) {
			break
		}
		if s.others > *disturbance {
			return true
		}
	}
	return false
}

// String returns the average usage.
func (p *processors) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var sum processorSample
	for _, s := range p.samples {
		sum.service += s.service
		sum.tests += s.tests
		sum.others += s.others
	}
	n := float64(max(1, len(p.samples)))
	return fmt.Sprintf("the service used %.0f%% of the processors, the test %.0f%%, others %.0f%%",
		100*sum.service/n, 100*sum.tests/n, 100*sum.others/n)
}

// ticks is processor time in the unit of /proc.
type ticks struct{ busy, idle float64 }

// totalTicks returns the time of all processors. The time in interrupts is idle
// time here, because it may be spent for any program.
func totalTicks() (t ticks) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return ticks{}
	}
	var user, nice, system, idle, wait, irq, softIRQ, steal float64
	line, _, _ := strings.Cut(string(text), "\n")
	if _, err := fmt.Sscanf(line, "cpu %f %f %f %f %f %f %f %f",
		&user, &nice, &system, &idle, &wait, &irq, &softIRQ, &steal); err != nil {
		return ticks{}
	}
	return ticks{busy: user + nice + system + steal, idle: idle + wait + irq + softIRQ}
}

// ticks returns the time that each process of the test has used.
func (p *processors) ticks() []float64 {
	used := make([]float64, len(p.pids))
	for i, pid := range p.pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue // it has exited
		}
		_, rest, _ := strings.Cut(string(text), ") ") // the name before may contain spaces
		fields := strings.Fields(rest)
		if len(fields) < 13 {
			continue
		}
		var user, system float64
		fmt.Sscan(fields[11], &user)   // 0 if it is not a number
		fmt.Sscan(fields[12], &system) // as above
		used[i] = user + system
	}
	return used
}
