package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// postOnce sends a request with an idempotency key. status is 0 if there is no
// response.
func postOnce(client *http.Client, url, key, body string) (status int, text string, replayed bool) {
	r, err := http.NewRequestWithContext(context.Background(), "POST", url, strings.NewReader(body))
	if err != nil {
		return 0, err.Error(), false
	}
	r.Header.Set("Idempotency-Key", key)
	resp, err := client.Do(r)
	if err != nil {
		return 0, err.Error(), false
	}
	defer resp.Body.Close()
	response, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error(), false
	}
	return resp.StatusCode, string(response), resp.Header.Get("Idempotency-Replayed") == "true"
}

// Clients send the same requests again and again, at the same time, with and
// without wait=1, while the process is killed. In the end each is stored once.
func TestRepetitionsSurviveKill(t *testing.T) {
	t.Parallel()
	const keys, clients, kills = 300, 8, 5
	db := t.TempDir() + "/logs.db"
	send := func(client *http.Client, url string, i int) (int, string, bool) {
		body := fmt.Sprintf(`[{"level":"error","msg":"%d/0"},{"level":"info"},{"level":"error","msg":"%d/1"}]`, i, i)
		return postOnce(client, url, fmt.Sprint("key-", i), body)
	}
	var url atomic.Value // of the process that runs
	p := start(t, db)
	url.Store(p.url + "/ingest")
	var running sync.WaitGroup
	var repetitions atomic.Int64
	stop := make(chan struct{})
	for range clients {
		running.Go(func() {
			client := &http.Client{Transport: &http.Transport{}, Timeout: waitTimeout}
			defer client.CloseIdleConnections()
			for {
				select {
				case <-stop:
					return
				default:
				}
				target := url.Load().(string) + []string{"", "?wait=1"}[rand.N(2)]
				status, text, replayed := send(client, target, rand.N(keys))
				switch {
				case status == 0:
					time.Sleep(5 * time.Millisecond) // until the next process runs
				case status != 200 && status != 202 || strings.TrimSpace(text) != `{"accepted":2,"filtered":1}`:
					t.Errorf("got %d %s, want 200 or 202 and 2 accepted", status, text)
				case replayed:
					repetitions.Add(1)
				}
			}
		})
	}
	for range kills {
		before := repetitions.Load()
		p.waitFor("requests are repeated", func() bool { return repetitions.Load() > before+100 })
		p.signal(syscall.SIGKILL)
		p = start(t, db)
		url.Store(p.url + "/ingest")
	}
	close(stop)
	running.Wait()
	for i := range keys {
		// A 202 that is not replayed may have been lost before, and is stored now.
		if status, text, _ := send(http.DefaultClient, p.url+"/ingest?wait=1", i); status != 200 && status != 202 {
			t.Errorf("last repetition: got %d %s, want 200 or 202", status, text)
		}
	}
	p.interrupt()
	stored := map[string]int{}
	for _, r := range readRows(t, db) {
		stored[r[1]]++
	}
	for i := range keys {
		for j := range 2 {
			if message := fmt.Sprintf("%d/%d", i, j); stored[message] != 1 {
				t.Errorf("got %s stored %d times, want 1", message, stored[message])
			}
		}
	}
	if len(stored) != 2*keys {
		t.Errorf("got %d messages, want %d", len(stored), 2*keys)
	}
}
