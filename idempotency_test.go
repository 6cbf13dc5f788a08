package main

import (
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestIdempotencyKeyFormat(t *testing.T) {
	long := strings.Repeat("x", maxIdempotencyKey)
	for _, c := range []struct {
		name   string
		values []string
		want   string // "" for an error
	}{
		{name: "bare", values: []string{"8e03978e-40d5-43dd"}, want: "8e03978e-40d5-43dd"},
		{name: "quoted", values: []string{`"a,b;c"`}, want: "a,b;c"},
		{name: "escapes", values: []string{`"a\"b\\c"`}, want: `a"b\c`},
		{name: "bare with a quote", values: []string{`a"b\`}, want: `a"b\`},
		{name: "longest", values: []string{long}, want: long},
		{name: "longest quoted", values: []string{`"` + long + `"`}, want: long},
		{name: "too long", values: []string{long + "x"}},
		{name: "too long quoted", values: []string{`"` + long + `x"`}},
		{name: "empty", values: []string{""}},
		{name: "empty quoted", values: []string{`""`}},
		{name: "two", values: []string{"a", "b"}},
		{name: "two equal", values: []string{"a", "a"}},
		{name: "two in one field", values: []string{`"a", "b"`}},
		{name: "space", values: []string{"a b"}},
		{name: "quoted space", values: []string{`"a b"`}},
		{name: "control character", values: []string{"a\x7f"}},
		{name: "not ASCII", values: []string{"ä"}},
		{name: "no closing quote", values: []string{`"a`}},
		{name: "only a quote", values: []string{`"`}},
		{name: "escaped closing quote", values: []string{`"a\"`}},
		{name: "unfinished escape", values: []string{`"a\`}},
		{name: "unknown escape", values: []string{`"a\n"`}},
		{name: "parameter", values: []string{`"a";b=1`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest("POST", "/ingest", nil)
			r.Header["Idempotency-Key"] = c.values
			got, herr := idempotencyKey(r)
			if got != c.want || (herr != nil) != (c.want == "") || herr != nil && herr.Status != 400 {
				t.Errorf("got key %q and error %v, want key %q", got, herr, c.want)
			}
		})
	}
}

// A quoted key means the same as the bare key, if the bare key is valid.
func FuzzIdempotencyKey(f *testing.F) {
	for _, key := range []string{"a", `a"b`, `a\b`, `"a"`, `"a`, "a b", "ä", ""} {
		f.Add(key)
	}
	quote := strings.NewReplacer(`"`, `\"`, `\`, `\\`)
	f.Fuzz(func(t *testing.T, text string) {
		r := httptest.NewRequest("POST", "/ingest", nil)
		r.Header.Set("Idempotency-Key", text)
		key, herr := idempotencyKey(r)
		if herr != nil {
			return
		}
		if key == "" || len(key) > maxIdempotencyKey || !isVisible(key) {
			t.Fatalf("value %q: got key %q", text, key)
		}
		r.Header.Set("Idempotency-Key", `"`+quote.Replace(key)+`"`)
		if again, herr := idempotencyKey(r); herr != nil || again != key {
			t.Errorf("value %q: got key %q, quoted %q and error %v", text, key, again, herr)
		}
	})
}

// checkResponse checks the response to a request with an idempotency key.
func checkResponse(t *testing.T, w *httptest.ResponseRecorder, status int, body string, replayed bool) {
	t.Helper()
	header := w.Header().Get("Idempotency-Replayed")
	if w.Code != status || strings.TrimSpace(w.Body.String()) != body || (header == "true") != replayed {
		t.Errorf("got %d %s with Idempotency-Replayed %q, want %d %s and replayed = %v",
			w.Code, w.Body, header, status, body, replayed)
	}
}

// once posts body with an idempotency key.
func (s *testService) once(target, key, body string, header ...string) *httptest.ResponseRecorder {
	return s.do("POST", target, strings.NewReader(body), append(header, "Idempotency-Key", key)...)
}

// A request with a key is stored once, however it is repeated, and each
// repetition gets the response to the first.
func TestRepeatedRequest(t *testing.T) {
	const body = `{"level":"error","msg":"a"}{"level":"info"}{"level":"error","msg":"b"}`
	const want = `{"accepted":2,"filtered":1}`
	s := newTestService(t)
	checkResponse(t, s.once("/ingest?wait=1", "k", body), 200, want, false)
	checkResponse(t, s.once("/ingest?wait=1", "k", body), 200, want, true)
	checkResponse(t, s.once("/ingest/", `"k"`, body), 200, want, true)
	checkResponse(t, s.once("/ingest", "k", gzipped(body), "Content-Encoding", "gzip"), 200, want, true)
	checkError(t, s.once("/ingest", "k", body+" "), 422)
	checkError(t, s.once("/ingest", "k", "no JSON"), 422)
	checkResponse(t, s.once("/ingest", "other", body), 202, want, false)
	checkResponse(t, s.once("/ingest?wait=1", "other", body), 202, want, true)
	if got := s.metrics.received.Load(); got != 6 {
		t.Errorf("got %d entries counted as received, want 6", got)
	}
	s.stop()
	if got := storedMessages(t, s.path); got != "a,b,a,b" {
		t.Errorf("got stored messages %s, want a,b,a,b", got)
	}
}

// Repetitions that arrive at the same time are stored once.
func TestConcurrentRepetitions(t *testing.T) {
	s := newTestService(t)
	var clients sync.WaitGroup
	for k := range 20 {
		first := make(chan bool, 10) // for each response that is not replayed
		for range cap(first) {
			clients.Go(func() {
				w := s.once("/ingest?wait=1", fmt.Sprint("key ", k)[4:], smallBody)
				if w.Code != 200 {
					t.Errorf("got %d %s, want 200", w.Code, w.Body)
				}
				if w.Header()["Idempotency-Replayed"] == nil {
					first <- true
				}
			})
		}
		clients.Wait()
		if len(first) != 1 {
			t.Errorf("got %d responses without Idempotency-Replayed, want 1", len(first))
		}
	}
	if got := len(readRows(t, s.path)); got != 20 {
		t.Errorf("got %d rows, want 20", got)
	}
	if n := len(s.writer.db.keys.active); n != 0 {
		t.Errorf("got %d keys in progress, want 0", n)
	}
}

// While a request waits for its commit, a repetition waits too. A queued request
// without wait=1 has its response, so a repetition gets it at once.
func TestRepeatedBeforeCommit(t *testing.T) {
	s := newStalledService(t)
	const want = `{"accepted":1,"filtered":0}`
	checkResponse(t, s.once("/ingest", "queued", smallBody), 202, want, false)
	checkResponse(t, s.once("/ingest?wait=1", "queued", smallBody), 202, want, true)
	checkError(t, s.once("/ingest", "queued", smallBody+" "), 422)

	var clients sync.WaitGroup
	clients.Go(func() { checkResponse(t, s.once("/ingest?wait=1", "k", smallBody), 200, want, false) })
	waitFor(t, "the request is queued", func() bool { return s.queue.entries.Load() == 2 })
	checkError(t, s.once("/ingest", "k", smallBody+" "), 422)
	for range 5 {
		clients.Go(func() { checkResponse(t, s.once("/ingest", "k", smallBody), 200, want, true) })
	}
	s.startWriter()
	clients.Wait()
	if got := storedMessages(t, s.path); got != "a,a" {
		t.Errorf("got stored messages %s, want a,a", got)
	}
}

// After a request has failed, its key may be used again, for any body.
func TestFailedRequestReleasesKey(t *testing.T) {
	s := newStalledService(t, "-queue", "64KiB")
	checkError(t, s.once("/ingest", "k", `{"level":`), 400)
	large := `{"level":"error","msg":"` + strings.Repeat("x", 50_000) + `"}`
	s.do("POST", "/ingest", strings.NewReader(large)) // fills the queue
	checkError(t, s.once("/ingest", "k", large), 503)
	s.startWriter()
	checkResponse(t, s.once("/ingest?wait=1", "k", smallBody), 200, `{"accepted":1,"filtered":0}`, false)
}

// Nothing is stored of a request whose entries are all below the level, so its
// repetition is evaluated again.
func TestRepeatedRequestWithoutEntries(t *testing.T) {
	s := newTestService(t)
	for range 2 {
		checkResponse(t, s.once("/ingest?wait=1", "k", `{"level":"info"}`), 200, `{"accepted":0,"filtered":1}`, false)
	}
	if n := s.writer.db.keys.count(); n != 0 {
		t.Errorf("got %d keys, want 0", n)
	}
}

// Clients with different API keys may choose the same idempotency key.
func TestKeysOfOtherClients(t *testing.T) {
	s := newTestService(t, "-api-keys-file", keysFile(t, "one\ntwo"))
	for _, apiKey := range []string{"one", "two"} {
		body := `{"level":"error","msg":"` + apiKey + `"}`
		for _, replayed := range []bool{false, true} {
			w := s.once("/ingest?wait=1", "k", body, "X-API-Key", apiKey)
			checkResponse(t, w, 200, `{"accepted":1,"filtered":0}`, replayed)
		}
	}
	if got := storedMessages(t, s.path); got != "one,two" {
		t.Errorf("got stored messages %s, want one,two", got)
	}
}

// testClaim claims a key and returns its batch for the queue.
func (w *testWriter) testClaim(key, message string) *batch {
	w.t.Helper()
	c, first := w.db.keys.claim(requestID{key: digestOf([]byte(key))})
	if !first {
		w.t.Fatalf("key %s is in progress", key)
	}
	c.response, c.queued = response{status: 202, accepted: 1}, true
	b := newTestBatch(message)
	b.claims = c
	w.memory.reserve(&b.account.memory, claimSize)
	return b
}

// known reports whether the index finds the key.
func (w *testWriter) known(key string) bool {
	w.db.keys.mu.Lock()
	defer w.db.keys.mu.Unlock()
	return len(w.db.keys.index.find(digestOf([]byte(key)))) == 1
}

// A key is stored with its entries, whichever statement of the transaction
// fails, and also if its batch has joined another one.
func TestKeysAreStoredWithEntries(t *testing.T) {
	for name, fault := range map[string]func(*database) (*statement, bool){
		"no fault":        func(*database) (*statement, bool) { return nil, false },
		"insert":          func(d *database) (*statement, bool) { return &d.insert, false },
		"key":             func(d *database) (*statement, bool) { return &d.insertKey, false },
		"commit":          func(d *database) (*statement, bool) { return &d.commit, false },
		"commit, applied": func(d *database) (*statement, bool) { return &d.commit, true },
	} {
		t.Run(name, func(t *testing.T) {
			w := newTestWriter(t, 1<<20)
			if stmt, applied := fault(w.db); stmt != nil {
				*stmt = &faultyStmt{statement: *stmt, failures: 1, applied: applied}
			}
			for _, key := range []string{"a", "b", "c"} {
				must(t, w.putBatch(w.testClaim(key, key)))
			}
			w.put("no key")
			if n := len(w.queue.batches); n != 1 {
				t.Errorf("got %d batches, want 1", n)
			}
			w.start()
			if got := w.stop(); got != "a,b,c,no key" {
				t.Errorf("got stored messages %s, want a,b,c,no key", got)
			}
			for _, key := range []string{"a", "b", "c"} {
				if !w.known(key) {
					t.Errorf("key %s is not in the index", key)
				}
			}
			if got := query(t, w.path, "SELECT count(DISTINCT key) || '/' || count(*) FROM idempotency_keys"); got != "3/3" {
				t.Errorf("got %s keys in the table, want 3/3", got)
			}
			db := mustOpen(t, w.path)
			defer db.close()
			if got := db.keys.count(); got != 3 {
				t.Errorf("got %d keys after reopening, want 3", got)
			}
		})
	}
}

// When the file is moved, a request that waits for its commit is stored in the
// new file, with its key. The new file does not have the older keys.
func TestKeysOfMovedFile(t *testing.T) {
	w := newTestWriter(t, 1<<20)
	must(t, w.putBatch(w.testClaim("old", "old")))
	w.start()
	waitFor(t, "the entry is stored", func() bool { return w.metrics.stored.Load() == 1 })
	must(t, os.Rename(w.path, w.path+".moved"))
	must(t, w.putBatch(w.testClaim("new", "new")))
	if got := w.stop(); got != "new" {
		t.Errorf("got stored messages %s in the new file, want new", got)
	}
	if w.known("old") || !w.known("new") {
		t.Errorf("got old = %v and new = %v in the index, want only new", w.known("old"), w.known("new"))
	}
}

// Expired keys are deleted, and keys that exceed the limit.
func TestKeysExpire(t *testing.T) {
	w := newTestWriter(t, 1<<20)
	w.db.keys.index.limit = 100
	write := func(from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			must(t, w.putBatch(w.testClaim(fmt.Sprint(i), "m")))
		}
		w.receive(1 << 20)
		_, err := w.commit()
		must(t, err)
	}
	count := func() string { return query(t, w.path, "SELECT count(*)||' from '||min(id) FROM idempotency_keys") }
	write(0, 90)
	write(90, 150) // the index is not full before
	write(150, 160)
	if got := count(); got != "110 from 51" {
		t.Errorf("got %s, want 110 from 51", got)
	}
	if got := w.db.keys.count(); got != 100 {
		t.Errorf("got %d keys in the index, want 100", got)
	}

	expired := time.Now().Add(-keyLifetime - time.Minute).Unix()
	runSQL(t, w.path, fmt.Sprintf("UPDATE idempotency_keys SET time = %d WHERE id <= 155", expired))
	w.db.keys.nextExpiry = time.Time{}
	w.start() // an idle writer deletes them
	waitFor(t, "the expired keys are deleted", func() bool { return w.db.keys.count() == 5 })
	if got := count(); got != "5 from 156" {
		t.Errorf("got %s, want 5 from 156", got)
	}
	w.stop()
}

// A key that is expired but not deleted yet does not count.
func TestExpiredKeyIsNotReplayed(t *testing.T) {
	s := newTestService(t)
	const want = `{"accepted":1,"filtered":0}`
	checkResponse(t, s.once("/ingest?wait=1", "k", smallBody), 200, want, false)
	expired := time.Now().Add(-keyLifetime - time.Minute).Unix()
	runSQL(t, s.path, fmt.Sprintf("UPDATE idempotency_keys SET time = %d", expired))
	checkResponse(t, s.once("/ingest?wait=1", "k", smallBody), 200, want, false)
	checkResponse(t, s.once("/ingest?wait=1", "k", smallBody), 200, want, true)
}

// With -max-db, keys take at most an eighth of the file.
func TestKeysLimitedByMaxDB(t *testing.T) {
	s := newTestService(t, "-max-db", "1MiB")
	if got := s.writer.db.keys.index.limit; got != 1<<20/8/keyBytes {
		t.Errorf("got limit of %d keys, want %d", got, 1<<20/8/keyBytes)
	}
	if got := newTestService(t).writer.db.keys.index.limit; got != maxKeys {
		t.Errorf("got limit of %d keys without -max-db, want %d", got, maxKeys)
	}
}

// An existing file without the table of keys gets it.
func TestKeysInOlderFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "logs.db")
	runSQL(t, path, schema, "INSERT INTO logs VALUES (7, 'error', 'old', '2026-11-22T15:24:00Z', NULL)")
	db := mustOpen(t, path)
	must(t, db.close())
	if got := query(t, path, "SELECT count(*) FROM idempotency_keys"); got != "0" {
		t.Errorf("got %s keys, want 0", got)
	}
}

// A stored key with the same fingerprint is another key.
func TestEqualFingerprints(t *testing.T) {
	s := newTestService(t)
	s.once("/ingest?wait=1", "k", smallBody)
	stored := digestOf(append(make([]byte, 32), "k"...))
	other := stored
	other[len(other)-1]++
	for _, key := range []digest{stored, other} {
		c, _ := s.writer.db.keys.claim(requestID{key: key, body: digest{1}})
		c.candidates = s.writer.db.keys.index.find(stored)
		previous, herr := findKey(t.Context(), s.reader.Load().QueryRow, c)
		s.writer.db.keys.done(c, nil)
		if len(c.candidates) != 1 || previous != nil || (herr == errKeyReused) != (key == stored) {
			t.Errorf("got %d candidates, %+v and error %v for key %x, want one candidate and 422 only for %x",
				len(c.candidates), previous, herr, key, stored)
		}
	}
}
