package main

import (
	"context"
	"crypto/sha256"
	"net/http"
	"strings"
	"sync"
	"time"

	"log-ingester/internal/httpapi"
)

// maxIdempotencyKey is the length of the longest valid key, without quotes and
// escapes.
const maxIdempotencyKey = 255

// idempotencyKey returns the value of the header Idempotency-Key, or "" if r has
// none. The value may be in quotes: the draft requires a string of RFC 8941, and
// many clients send the bare key.
// https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-idempotency-key-header
func idempotencyKey(r *http.Request) (string, *httpapi.Error) {
	values := r.Header["Idempotency-Key"]
	if values == nil {
		return "", nil
	}
	if len(values) == 1 {
		if key, ok := unquoteKey(values[0]); ok && isVisible(key) && key != "" && len(key) <= maxIdempotencyKey {
			return key, nil
		}
	}
	return "", httpapi.Errorf(http.StatusBadRequest,
		"send one Idempotency-Key of 1 to %d visible ASCII characters, with or without quotes", maxIdempotencyKey)
}

// unquoteKey removes the quotes of a string of RFC 8941. A value without quotes
// is returned as it is.
func unquoteKey(value string) (key string, ok bool) {
	if !strings.HasPrefix(value, `"`) {
		return value, true
	}
	var unquoted strings.Builder
	for i := 1; i < len(value); i++ {
		switch c := value[i]; c {
		case '"':
			return unquoted.String(), i == len(value)-1
		case '\\':
			if i++; i == len(value) || value[i] != '"' && value[i] != '\\' {
				return "", false
			}
			unquoted.WriteByte(value[i])
		default:
			unquoted.WriteByte(c)
		}
	}
	return "", false
}

// isVisible reports whether s consists of visible ASCII characters.
func isVisible(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}

// A requestID identifies a request that has an idempotency key.
type requestID struct {
	key  digest // of the scope and the idempotency key
	body digest // of the path and the decoded body
}

func newRequestID(r *http.Request, key string, body []byte) requestID {
	scope, _ := r.Context().Value(scopeKey{}).([sha256.Size]byte) // zeros if no API keys are configured
	sum := sha256.Sum256(body)
	// These copies stay on the stack.
	scoped := append(make([]byte, 0, sha256.Size+maxIdempotencyKey), scope[:]...)
	request := append(make([]byte, 0, 2*sha256.Size), sum[:]...)
	return requestID{
		key:  digestOf(append(scoped, key...)),
		body: digestOf(append(request, strings.TrimSuffix(r.URL.Path, "/")...)),
	}
}

// scopeKey is the context key of the API key's digest in a request with an
// idempotency key. Clients with different API keys may choose the same
// idempotency key.
type scopeKey struct{}

// withScope returns r, with the digest of its API key if it has an idempotency
// key.
func withScope(r *http.Request, apiKey [sha256.Size]byte) *http.Request {
	if r.Header["Idempotency-Key"] == nil {
		return r
	}
	return r.WithContext(context.WithValue(r.Context(), scopeKey{}, apiKey))
}

// A response is what a client gets if its request was accepted.
type response struct {
	status, accepted, filtered int
	replayed                   bool // it is the response to an earlier request
}

// A claim is a request with an idempotency key while it is in progress: until it
// has failed or its entries are committed. Other requests with the same key wait
// for its response.
type claim struct {
	id         requestID
	candidates []int64        // ids of committed keys that may be equal
	response   response       // set before the request is queued or done
	err        *httpapi.Error // why the request failed, or nil
	done       chan struct{}  // closed when the request has its response

	queued bool   // the writer will release the claim
	row    int64  // the key's id in the table; the writer sets it
	next   *claim // in the same batch
}

// size returns the memory of all claims in a list, in bytes.
func (c *claim) size() (bytes int64) {
	for ; c != nil; c = c.next {
		bytes += claimSize
	}
	return bytes
}

// claimSize is the memory of a claim, its channel and its place in a table, in
// bytes.
const claimSize = 512

// A claimTable holds the requests with a key that are in progress, and the index
// of the committed keys. Any goroutine may use it; only the writer changes the
// index.
type claimTable struct {
	mu     sync.Mutex
	active map[digest]*claim
	index  keyIndex

	nextExpiry time.Time // when the writer looks for expired keys
}

func newClaimTable(limit int64) *claimTable {
	return &claimTable{active: make(map[digest]*claim), index: newKeyIndex(limit)}
}

// claim returns a new claim. If a request with the same key is in progress, it
// returns that request's claim instead, and first is false.
func (t *claimTable) claim(id requestID) (c *claim, first bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.active[id.key]; c != nil {
		return c, false
	}
	c = &claim{id: id, candidates: t.index.find(id.key), done: make(chan struct{})}
	t.active[id.key] = c
	return c, true
}

// done passes c.response, or err if it is not nil, to the waiting repetitions.
// Unless the request is queued, it releases the claim.
func (t *claimTable) done(c *claim, err *httpapi.Error) {
	c.err = err
	close(c.done)
	if !c.queued {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.active, c.id.key)
	}
}

// count returns the number of committed keys.
func (t *claimTable) count() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.index.len()
}

// settle releases the claims of a batch, whose keys were committed or not.
func (t *claimTable) settle(claims *claim, committed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for c := claims; c != nil; c = c.next {
		if committed {
			t.index.add(c.row, c.id.key)
		}
		delete(t.active, c.id.key)
	}
}

// repeat waits for the first request with the key of c, and returns its response
// to a repetition of it. A request with another body gets 422.
func (c *claim) repeat(id requestID) (response, *httpapi.Error) {
	if c.id.body != id.body {
		return response{}, errKeyReused
	}
	<-c.done
	resp := c.response
	resp.replayed = true
	return resp, c.err
}

var errKeyReused = httpapi.Errorf(http.StatusUnprocessableEntity,
	"another request was sent with this Idempotency-Key; use a new key for each request")
