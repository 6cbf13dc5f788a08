package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"log-ingester/internal/entry"
	"log-ingester/internal/proctest"
)

// benchmarkEntries returns n different entries of about 190 bytes, as services
// log them. errors per cent of them are at or above the level error. If mixed
// is set, a fifth contains escapes and a fifth contains nested values.
func benchmarkEntries(n, errors int, mixed bool) [][]byte {
	r := rand.New(rand.NewPCG(uint64(n), uint64(errors)))
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	entries := make([][]byte, n)
	for i := range entries {
		level := pick("debug", "info", "info", "info", "info", "warn")
		if r.IntN(100) < errors {
			level = pick("error", "error", "error", "fatal")
		}
		escapes, nested := mixed && r.IntN(5) == 0, mixed && r.IntN(5) == 0

		e := fmt.Appendf(nil, `{"timestamp":"2026-03-%02dT%02d:%02d:%02d.%06dZ","level":"%s","service":"%s"`,
			1+r.IntN(28), r.IntN(24), r.IntN(60), r.IntN(60), r.IntN(1e6), level,
			pick("checkout", "api", "payments", "user-profile", "search", "mailer"))
		message := pick("request handled", "connection to upstream lost", "cache miss", "slow query on orders",
			"retrying after timeout", "user signed in", "payment was declined by the bank")
		if escapes {
			message = pick(`could not open \"settings.json\"`, `panic: nil map\n\tmain.go:`, `caf\u00e9 \u2014 ordered`, `C:\\logs\\today.txt`) + message
		}
		e = fmt.Appendf(e, `,"pid":%d,"message":"%s","request_id":"%016x"`, r.IntN(1<<16), message, r.Uint64())
		if nested {
			e = fmt.Appendf(e, `,"user":{"id":%d,"roles":[%s],"beta":%s}`, r.IntN(1e6),
				pick(`"admin"`, `"reader","writer"`, `1,2,3`, ``), pick("true", "false", "null"))
		}
		if r.IntN(3) > 0 {
			e = fmt.Appendf(e, `,"status":%d`, 200+r.IntN(304))
		}
		if r.IntN(3) > 0 {
			e = fmt.Appendf(e, `,"duration_ms":%.*f`, r.IntN(4), r.ExpFloat64()*100)
		}
		if r.IntN(4) == 0 {
			e = fmt.Appendf(e, `,"retry":%s`, pick("true", "false"))
		}
		entries[i] = append(e, '}')
	}
	return entries
}

// benchmarkBody returns a body of one entry, or an array of several.
func benchmarkBody(n, errors int, mixed bool) []byte {
	entries := benchmarkEntries(n, errors, mixed)
	if n == 1 {
		return entries[0]
	}
	var body []byte
	for _, e := range entries {
		body = append(append(body, ','), e...)
	}
	body[0] = '['
	return append(body, ']')
}

// BenchmarkLevelScan scans bodies with each implementation and, for comparison,
// validates them with encoding/json.
func BenchmarkLevelScan(b *testing.B) {
	impls := implementations()
	impls = append(impls, implementation{"json.Valid", func(_ *levelScanner, body []byte, _ entry.Level) *scanError {
		if !json.Valid(body) {
			return new(scanError)
		}
		return nil
	}})
	for _, impl := range impls {
		for _, corpus := range []string{"plain", "mixed"} {
			for _, errors := range []int{33, 1} {
				for _, entries := range []int{1, 10, 100, 1000, 10000} {
					body := benchmarkBody(entries, errors, corpus == "mixed")
					b.Run(fmt.Sprintf("impl=%s/corpus=%s/errors=%d/entries=%d", impl.name, corpus, errors, entries), func(b *testing.B) {
						var s levelScanner
						b.SetBytes(int64(len(body)))
						b.ReportAllocs()
						for b.Loop() {
							if err := impl.scan(&s, body, entry.LevelError); err != nil {
								b.Fatal(err)
							}
						}
					})
				}
			}
		}
	}
}

// BenchmarkDecode decodes kept entries to rows.
func BenchmarkDecode(b *testing.B) {
	for _, corpus := range []string{"plain", "mixed"} {
		entries := benchmarkEntries(1000, 100, corpus == "mixed")
		size := 0
		for _, e := range entries {
			size += len(e)
		}
		b.Run("corpus="+corpus+"/entries=1000", func(b *testing.B) {
			e, batch, arrival := newLogEntry(), new(batch), []byte("2026-11-22T15:24:00.000000000Z")
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				batch.text, batch.rows = batch.text[:0], batch.rows[:0]
				for _, text := range entries {
					if err := e.appendRow(batch, text, arrival); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(len(entries))*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
		})
	}
}

// BenchmarkWriter stores transactions of a thousand rows of about 170 bytes, in
// batches of one row or in one batch.
func BenchmarkWriter(b *testing.B) {
	const perTransaction = 1000
	for _, synchronous := range []string{"normal", "full"} {
		for _, perBatch := range []int{1, 1000} {
			b.Run(fmt.Sprintf("synchronous=%s/batch=%d", synchronous, perBatch), func(b *testing.B) {
				db, err := openDatabase(filepath.Join(b.TempDir(), "logs.db"), synchronous, slog.New(slog.DiscardHandler))
				if err != nil {
					b.Fatal(err)
				}
				defer db.close()
				e, arrival := newLogEntry(), []byte("2026-11-22T15:24:00.000000000Z")
				batches := []*batch{new(batch)}
				for i, text := range benchmarkEntries(perTransaction, 100, false) {
					if i > 0 && i%perBatch == 0 {
						batches = append(batches, new(batch))
					}
					if err := e.appendRow(batches[len(batches)-1], text, arrival); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportAllocs()
				for b.Loop() {
					if _, err := db.write(batches); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(perTransaction*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
			})
		}
	}
}

// BenchmarkWriterKeys stores transactions of a thousand rows, each in a batch of
// its own, with and without an idempotency key.
func BenchmarkWriterKeys(b *testing.B) {
	for _, keys := range []bool{false, true} {
		b.Run(fmt.Sprintf("keys=%v", keys), func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "logs.db")
			db, err := openDatabase(path, "normal", slog.New(slog.DiscardHandler))
			must(b, err)
			defer db.close()
			e, arrival := newLogEntry(), []byte("2026-11-22T15:24:00.000000000Z")
			var batches []*batch
			for _, text := range benchmarkEntries(1000, 100, false) {
				batches = append(batches, new(batch))
				must(b, e.appendRow(batches[len(batches)-1], text, arrival))
			}
			random := rand.New(rand.NewPCG(1, 1))
			b.ReportAllocs()
			for b.Loop() {
				for i := 0; keys && i < len(batches); i++ {
					batches[i].claims = &claim{id: requestID{key: testDigest(random.Uint64())}}
				}
				_, err := db.write(batches)
				must(b, err)
				for i := 0; keys && i < len(batches); i++ {
					db.keys.settle(batches[i].claims, true)
				}
			}
			b.ReportMetric(float64(len(batches)*b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

// BenchmarkIngest sends requests to a service process over loopback. Each of 50
// connections waits for the response before it sends the next request. One
// operation is one request.
func BenchmarkIngest(b *testing.B) {
	const conns = 50
	for _, entries := range []int{1, 100, 1000} {
		for _, errors := range []int{33, 1} {
			b.Run(fmt.Sprintf("entries=%d/errors=%d/conns=%d", entries, errors, conns), func(b *testing.B) {
				p := start(b, filepath.Join(b.TempDir(), "logs.db"))
				var requests [][]byte
				for chunk := range slices.Chunk(benchmarkEntries(max(256, 8*entries), errors, false), entries) {
					body := bytes.Join(chunk, []byte("\n"))
					requests = append(requests, append([]byte(head("/ingest", len(body))), body...))
				}
				var next atomic.Int64
				var clients sync.WaitGroup
				b.ResetTimer()
				for range conns {
					clients.Go(func() {
						conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
						if err != nil {
							b.Error(err)
							return
						}
						defer conn.Close()
						responses := bufio.NewReader(conn)
						for {
							n := next.Add(1)
							if n > int64(b.N) {
								return
							}
							if _, err := conn.Write(requests[n%int64(len(requests))]); err != nil {
								b.Error(err)
								return
							}
							resp, err := http.ReadResponse(responses, nil)
							if err != nil {
								b.Error(err)
								return
							}
							io.Copy(io.Discard, resp.Body)
							resp.Body.Close()
							if resp.StatusCode != http.StatusAccepted {
								b.Errorf("status = %s, want 202", resp.Status)
								return
							}
						}
					})
				}
				clients.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
				b.ReportMetric(float64(entries)*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
				if peak, err := proctest.PeakMemory(p.cmd.Process.Pid); err == nil { // only on Linux
					b.ReportMetric(float64(peak)/(1<<20), "peak-MiB")
				}
				b.StopTimer()
				if status := p.signal(syscall.SIGTERM); status != 0 {
					b.Errorf("exit status = %d, want 0", status)
				}
			})
		}
	}
}
