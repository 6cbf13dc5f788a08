//go:build linux

package hostile

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// An attack is one way to exhaust the service.
type attack struct {
	name  string
	rate  float64 // new connections or requests per second
	http2 bool    // needs TLS
	run   func(ctx context.Context, a *attacker, rate float64)
}

// attacks are all attacks. Connections with unfinished requests are closed by
// the service after 20 s, so a rate of 1/20 of their number replaces them all.
var attacks = []attack{
	{"headers", 102, false, attackHeaders},
	{"streams", 60, true, attackStreams},
	{"tails", 4, false, attackTails},
	{"large entries", 1, false, attackLargeEntries},
	{"invalid UTF-8", 1, false, attackDecoding},
	{"deep search", 4, false, attackDeepSearch},
	{"slow readers", 10, false, attackSlowReaders},
	{"sockets", 102, false, attackSockets},
	{"small entries", 1000, false, attackSmallEntries},
	{"queue bursts", 1, false, attackQueue},
	{"gzip bombs", 4, false, attackBombs},
	{"gzip flood", 200, false, attackFlood},
	{"unfinished bodies", 2, false, attackUnfinishedBodies},
	{"large bodies", 2, false, attackLargeBodies},
}

// seeds is the number of rows that the test stores before the attacks. Their
// ids are 1 to seeds.
const seeds = 10_000

const maxBody = 16 << 20 // default of -max-body

// attackHeaders holds connections with large headers, half of them unfinished.
func attackHeaders(ctx context.Context, a *attacker, rate float64) {
	short := strings.Repeat("aaa:\r\n", 6000)
	var distinct strings.Builder
	for i := range 3600 {
		fmt.Fprintf(&distinct, "a%05d:\r\n", i)
	}
	few := short[:6*120]
	long := "Long: " + strings.Repeat("a", 36_000-6) + "\r\n"
	var names strings.Builder
	for i := range 6000 {
		fmt.Fprintf(&names, "%x,", i)
	}
	trailer := "Transfer-Encoding: chunked\r\nTrailer: " + names.String() + "\r\n"
	headers := []string{short, distinct.String(), few, long, trailer}
	holder{2040, rate, 30 * time.Second, false}.run(ctx, a, func(i int) string {
		text := "POST /ingest HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n"
		if i&1 == 0 {
			text += a.authorization()
		}
		text += headers[i/2%len(headers)]
		if i/2/len(headers)%2 == 0 {
			text += "\r\n" // the header is complete, the body is not
		}
		return text
	})
}

// attackTails opens tails that never read.
func attackTails(ctx context.Context, a *attacker, rate float64) {
	text := "GET /logs/tail HTTP/1.1\r\nHost: " + a.Addr + "\r\n" + a.authorization() + "\r\n"
	holder{40, rate, 30 * time.Second, true}.run(ctx, a, func(int) string { return text })
}

// attackLargeEntries stores an entry of nearly 16 MiB at each interval, and
// reads those entries, quickly and slowly.
func attackLargeEntries(ctx context.Context, a *attacker, rate float64) {
	client := a.client(time.Minute)
	body := `{"level":"error","message":"large `
	body += strings.Repeat("a", maxBody-len(body)-2) + `"}`
	path := fmt.Sprintf("/logs?after=%d&q=large&limit=4", seeds)
	var running sync.WaitGroup
	running.Go(func() {
		repeat(ctx, 1, perInterval(a), func(int) { a.send(ctx, client, "POST", "/ingest", body) })
	})
	running.Go(func() {
		repeat(ctx, 4, rate, func(i int) {
			if i&1 == 0 {
				a.send(ctx, client, "GET", path, "")
			} else {
				a.readSlowly(ctx, path, 260_000, 30*time.Second)
			}
		})
	})
	running.Wait()
}

func perInterval(a *attacker) float64 { return 1 / a.Interval.Seconds() }

// attackDecoding sends bodies whose decoding needs much more memory than their
// bytes.
func attackDecoding(ctx context.Context, a *attacker, _ float64) {
	client := a.client(time.Minute)
	invalid := `{"level":"error","message":"invalid ` + strings.Repeat("\xff", 64<<10) + `"}` + "\n"
	largest := `{"level":"error","message":"valid ` + strings.Repeat("a", 128<<10) + `"}`
	body := strings.Repeat(invalid, (7<<20-len(largest))/len(invalid)) + largest
	level := `{"message":"level","level":"`
	level += strings.Repeat("Ⱥ", (maxBody-len(level)-2)/2) + `"}`
	pace := newPacer(perInterval(a))
	defer pace.Stop()
	for {
		var running sync.WaitGroup
		for range 4 {
			running.Go(func() { a.send(ctx, client, "POST", "/ingest", body) })
		}
		running.Go(func() { a.send(ctx, client, "POST", "/ingest", level) })
		running.Wait()
		if !pace.wait(ctx) {
			return
		}
	}
}

// deepEntry returns an entry of 15 MB whose details are nested 240 deep.
func deepEntry() string {
	var b strings.Builder
	b.WriteString(`{"level":"error","message":"deep"`)
	for range 240 {
		b.WriteString(`,"k":{"a":1`)
	}
	for i := 0; b.Len() < 15_000_000; i++ {
		fmt.Fprintf(&b, `,"m%d":2`, i%1000)
	}
	b.WriteString(strings.Repeat("}", 241))
	return b.String()
}

// deepQuery returns a search with 60 conditions. To evaluate them, the service must
// read the whole entry of deepEntry.
func deepQuery() string {
	query := fmt.Sprintf("/logs?after=%d&before=%d", seeds, seeds+2)
	for i := range 60 {
		query += fmt.Sprintf("&details.x%d=2", i)
	}
	return query
}

// attackDeepSearch searches in the entry of deepEntry. Half of the clients
// leave early.
func attackDeepSearch(ctx context.Context, a *attacker, rate float64) {
	patient, impatient := a.client(time.Minute), a.client(300*time.Millisecond)
	path := deepQuery()
	repeat(ctx, 4, rate, func(i int) {
		if i&1 == 0 {
			a.send(ctx, patient, "GET", path, "")
		} else {
			a.send(ctx, impatient, "GET", path, "")
		}
	})
}

// attackSlowReaders reads 10,000 rows slowly, with 4 clients and then with 40.
func attackSlowReaders(ctx context.Context, a *attacker, rate float64) {
	path := fmt.Sprintf("/logs?before=%d&limit=10000", seeds+1)
	var running sync.WaitGroup
	for _, n := range []int{4, 40} {
		running.Go(func() {
			repeat(ctx, n, rate, func(int) { a.readSlowly(ctx, path, 260_000, 2*time.Minute) })
		})
		if !sleep(ctx, 20*time.Second) {
			break
		}
	}
	running.Wait()
}

// attackSockets holds connections with unfinished requests of several kinds.
func attackSockets(ctx context.Context, a *attacker, rate float64) {
	post := "POST /ingest HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n"
	texts := []string{
		"",
		"POST /ingest HTTP/1.1\r\n",
		post + a.authorization() + "\r\n",
		post + "\r\n{",
		post + "Expect: 100-continue\r\n\r\n",
		"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /healthz",
		"GET /logs HTTP/1.1\r\nHost: example.com\r\n\r\n", // 401 or 403, then idle
		"POST /ingest HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n" + a.authorization() + "\r\nffffff\r\n{",
	}
	holder{2048, rate, 30 * time.Second, false}.run(ctx, a, func(i int) string { return texts[i%len(texts)] })
}

// attackSmallEntries floods the service with valid requests of one entry.
func attackSmallEntries(ctx context.Context, a *attacker, rate float64) {
	client := a.client(time.Minute)
	repeat(ctx, 20, rate, func(int) {
		a.countEntry(a.send(ctx, client, "POST", "/ingest", `{"level":"error","message":"flood"}`))
	})
}

// countEntry counts an entry that was accepted, or may have been.
func (a *attacker) countEntry(status int) {
	switch status {
	case 200, 202:
		a.count("accepted")
	case 0:
		a.count("unknown")
	}
}

// attackQueue sends more than fits into the queue at once, in requests of one
// entry.
func attackQueue(ctx context.Context, a *attacker, _ float64) {
	client := a.client(time.Minute)
	body := `{"level":"error","message":"burst","filler":"` + strings.Repeat("a", 128<<10) + `"}`
	pace := newPacer(perInterval(a))
	defer pace.Stop()
	for pace.wait(ctx) {
		var running sync.WaitGroup
		for range 64 {
			running.Go(func() {
				for range 4 {
					a.countEntry(a.send(ctx, client, "POST", "/ingest", body))
				}
			})
		}
		running.Wait()
	}
}

// gzipped compresses n bytes of spaces.
func gzipped(n int) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write(bytes.Repeat([]byte(" "), n)) // a bytes.Buffer returns no errors
	z.Close()
	return b.String()
}

// attackBombs sends gzip bombs, complete ones and some that stop when they have
// inflated to nearly -max-body.
func attackBombs(ctx context.Context, a *attacker, rate float64) {
	client := a.client(time.Minute)
	bomb := strings.Repeat(gzipped(4<<20), 100)
	stalled := unfinishedPost(a, len(bomb), "Content-Encoding: gzip\r\n") + gzipped(15<<20)
	var running sync.WaitGroup
	running.Go(func() {
		repeat(ctx, 8, rate, func(int) { a.send(ctx, client, "POST", "/ingest", bomb, "Content-Encoding", "gzip") })
	})
	running.Go(func() {
		holder{16, rate, time.Minute, false}.run(ctx, a, func(int) string { return stalled })
	})
	running.Wait()
}

// attackFlood opens connections that each send a small gzip body, which inflates
// to nearly -max-body.
func attackFlood(ctx context.Context, a *attacker, rate float64) {
	body := gzipped(maxBody - 1)
	text := unfinishedPost(a, len(body), "Content-Encoding: gzip\r\n") + body
	holder{2000, rate, 5 * time.Second, false}.run(ctx, a, func(int) string { return text })
}

// unfinishedPost returns the header of a request with a body of n bytes.
func unfinishedPost(a *attacker, n int, header string) string {
	return fmt.Sprintf("POST /ingest HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n%s%s\r\n",
		n, header, a.authorization())
}

// attackUnfinishedBodies holds requests with nearly all of a body of 16 MiB.
func attackUnfinishedBodies(ctx context.Context, a *attacker, rate float64) {
	text := unfinishedPost(a, maxBody, "") + strings.Repeat(" ", maxBody-1)
	holder{16, rate, time.Minute, false}.run(ctx, a, func(int) string { return text })
}

// attackLargeBodies floods the service with bodies of 16 MiB whose entries are
// dropped.
func attackLargeBodies(ctx context.Context, a *attacker, rate float64) {
	client := a.client(time.Minute)
	entry := `{"level":"info","message":"dropped","filler":"` + strings.Repeat("a", 100) + `"}` + "\n"
	body := strings.Repeat(entry, maxBody/len(entry))
	repeat(ctx, 16, rate, func(int) { a.send(ctx, client, http.MethodPost, "/ingest", body) })
}
