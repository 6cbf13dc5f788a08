package main

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"log-ingester/internal/httpapi"
)

// An authorizer decides which requests reach a handler. Any goroutine may use
// it.
type authorizer struct {
	keys       *apiKeys // nil if no keys are configured
	metrics    *metrics
	writeError func(http.ResponseWriter, *http.Request, *httpapi.Error)
}

// sender passes requests that may send logs to h: those with a valid API key
// or, if no keys are configured, all except those of web pages under a host
// name. Others are refused before their body is read.
func (a *authorizer) sender(h http.Handler) http.Handler {
	if a.keys == nil {
		return a.noRebinding(h)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key, ok := a.keys.lookup(r)
		if !ok {
			a.rejectKey(w, r)
			return
		}
		h.ServeHTTP(w, withScope(r, key.digest))
	})
}

// reader passes requests that may read logs to h: those with an API key that
// may read or, if no keys are configured, those from this machine. It refuses
// requests that a page of another site makes a browser send. If the key is
// removed while h runs, the request's context ends.
func (a *authorizer) reader(h http.Handler) http.Handler {
	if a.keys != nil {
		return a.sameSite(a.keyReader(h))
	}
	return a.sameSite(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isLocal(r) {
			h.ServeHTTP(w, r)
			return
		}
		a.reject(w, r, http.StatusForbidden, "without API keys, only clients on this machine can read logs "+
			"(in a container, the host is another machine); "+setKeys)
	}))
}

// scraper passes requests that may read metrics to h: those with an API key
// that may read or, if no keys are configured, all except those of web pages
// under a host name or of another site.
func (a *authorizer) scraper(h http.Handler) http.Handler {
	if a.keys != nil {
		return a.sameSite(a.keyReader(h))
	}
	return a.sameSite(a.noRebinding(h))
}

func (a *authorizer) keyReader(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key, ok := a.keys.lookup(r)
		if !ok {
			a.rejectKey(w, r)
			return
		}
		if !key.canRead {
			a.reject(w, r, http.StatusForbidden, "this API key can only send logs")
			return
		}
		ctx, stop := a.keys.whileReadable(r.Context(), key.digest)
		defer stop()
		h.ServeHTTP(w, r.WithContext(ctx))
	})
}

// sameOrigin refuses requests that a page of another origin makes a browser send,
// except GET, HEAD and OPTIONS. It does not affect clients other than browsers.
func (a *authorizer) sameOrigin(h http.Handler) http.Handler {
	var protection http.CrossOriginProtection
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.reject(w, r, http.StatusForbidden, "cross-origin request refused")
	}))
	return protection.Handler(h)
}

// sameSite refuses requests of any method that a page of another origin makes a
// browser send. Such a page cannot read the response, but it can measure how
// long a search takes.
func (a *authorizer) sameSite(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isCrossOrigin(r) {
			a.reject(w, r, http.StatusForbidden, "cross-origin request refused")
			return
		}
		h.ServeHTTP(w, r)
	})
}

// noRebinding refuses requests that a browser sends to a host name other than
// localhost. Without keys, a page could otherwise make its own name resolve to
// this service and then count as the same origin (DNS rebinding). An IP address
// cannot be rebound.
func (a *authorizer) noRebinding(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isBrowser(r) && !isLoopbackHost(r.Host) && !isAddressHost(r.Host) {
			a.reject(w, r, http.StatusForbidden,
				"without API keys, browsers must use localhost or an IP address; "+setKeys)
			return
		}
		h.ServeHTTP(w, r)
	})
}

const setKeys = "set keys with LOG_INGESTER_API_KEYS or -api-keys-file"

func (a *authorizer) rejectKey(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("WWW-Authenticate", "Bearer")
	a.reject(w, r, http.StatusUnauthorized, "an API key is required: Authorization: Bearer KEY or X-API-Key: KEY")
}

func (a *authorizer) reject(w http.ResponseWriter, r *http.Request, status int, reason string) {
	a.metrics.countResponse(status)
	a.writeError(w, r, httpapi.Errorf(status, "%s", reason))
}

// isCrossOrigin reports whether a page of another origin caused a browser to
// send r. Browsers that do not send Fetch Metadata are recognized by Origin or
// Referer. https://www.w3.org/TR/fetch-metadata/
func isCrossOrigin(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin", "none":
		return false
	case "":
	default:
		return true
	}
	for _, name := range [...]string{"Origin", "Referer"} {
		if value := r.Header.Get(name); value != "" {
			u, err := url.Parse(value)
			return err != nil || u.Host != r.Host
		}
	}
	return false
}

// isBrowser reports whether r has a header field that every browser sends and
// that scripts cannot remove.
func isBrowser(r *http.Request) bool {
	for _, name := range [...]string{"Sec-Fetch-Site", "Origin", "Referer", "Accept-Language"} {
		if r.Header[name] != nil {
			return true
		}
	}
	return strings.HasPrefix(r.UserAgent(), "Mozilla/")
}

// isLocal reports whether r comes from this machine and names it as its host.
// A loopback address of the client is not sufficient. A page from elsewhere can
// make a local browser send requests to the service under the page's own host
// name (DNS rebinding), and a local proxy forwards requests of remote clients.
func isLocal(r *http.Request) bool {
	client, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && client.Addr().IsLoopback() && isLoopbackHost(r.Host) && !isForwarded(r)
}

// isForwarded reports whether r has a header field that proxies add.
func isForwarded(r *http.Request) bool {
	for _, name := range [...]string{"X-Forwarded-For", "Forwarded", "X-Real-Ip", "Via"} {
		if r.Header[name] != nil {
			return true
		}
	}
	return false
}

// isLoopbackHost reports whether a Host header names the loopback interface.
// https://www.rfc-editor.org/rfc/rfc6761#section-6.3
func isLoopbackHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && addr.IsLoopback()
}

// isAddressHost reports whether a Host header names an IP address.
func isAddressHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil
}

// apiKeys is the set of valid API keys. It stores only digests: all have the same
// length, so a comparison takes the same time for any submitted key. Any
// goroutine may use it.
type apiKeys struct {
	fromEnv []apiKey
	file    string // reread by load; empty if no file is configured
	all     atomic.Pointer[[]apiKey]

	mu      sync.Mutex
	readers map[*activeRead]struct{} // requests in progress that read with a key
}

// An apiKey may send logs, and read them unless it is send-only.
type apiKey struct {
	digest  keyDigest
	canRead bool
}

type keyDigest = [sha256.Size]byte

// An activeRead is a request in progress that must end when its key is removed.
type activeRead struct {
	key    keyDigest
	cancel context.CancelFunc
}

// loadAPIKeys returns the keys in the comma-separated list env and in file, or
// nil if both are empty.
func loadAPIKeys(env, file string) (*apiKeys, error) {
	if env == "" && file == "" {
		return nil, nil
	}
	k := &apiKeys{file: file, readers: make(map[*activeRead]struct{})}
	var err error
	if env != "" {
		if k.fromEnv, err = parseKeys("key", strings.Split(env, ",")); err != nil {
			return nil, fmt.Errorf("LOG_INGESTER_API_KEYS: %w", err)
		}
	}
	if err := k.load(); err != nil {
		return nil, err
	}
	return k, nil
}

// load reads the file, and cancels reads whose key is no longer valid. On error
// the current keys stay valid.
func (k *apiKeys) load() error {
	all := k.fromEnv
	if k.file != "" {
		text, err := os.ReadFile(k.file)
		if err != nil {
			return fmt.Errorf("read API keys: %w", err)
		}
		lines := strings.Split(string(text), "\n")
		for i, line := range lines {
			if strings.HasPrefix(strings.TrimSpace(line), "#") {
				lines[i] = "" // a comment
			}
		}
		fromFile, err := parseKeys("line", lines)
		if err != nil {
			return fmt.Errorf("read API keys: %s: %w", k.file, err)
		}
		all = slices.Concat(all, fromFile)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.all.Store(&all)
	for r := range k.readers {
		if !k.readable(r.key) {
			r.cancel()
		}
	}
	return nil
}

// parseKeys returns the key of each non-empty item: "KEY", or "KEY send" for a
// key that may only send logs. Its errors give the number of an invalid item,
// and never its text.
func parseKeys(kind string, items []string) (keys []apiKey, err error) {
	for i, item := range items {
		fields := strings.Fields(item)
		if len(fields) == 0 {
			continue
		}
		sendOnly := len(fields) == 2 && fields[1] == "send"
		if len(fields) > 1 && !sendOnly {
			return nil, fmt.Errorf(`%s %d contains a space; only "send" may follow a key`, kind, i+1)
		}
		for _, c := range []byte(fields[0]) {
			if c <= ' ' || c > '~' {
				return nil, fmt.Errorf("%s %d contains a character that is not printable ASCII", kind, i+1)
			}
		}
		keys = append(keys, apiKey{sha256.Sum256([]byte(fields[0])), !sendOnly})
	}
	if len(keys) == 0 {
		return nil, errors.New("contains no keys")
	}
	return keys, nil
}

// String describes the keys for the log without revealing them.
func (k *apiKeys) String() string {
	if k == nil {
		return "none: anyone can send, only this machine can read"
	}
	return strconv.Itoa(len(*k.all.Load()))
}

// lookup returns the valid key that r carries in one of two header fields.
func (k *apiKeys) lookup(r *http.Request) (key apiKey, ok bool) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") {
		if key, ok = k.find(strings.TrimLeft(token, " ")); ok {
			return key, true
		}
	}
	return k.find(r.Header.Get("X-Api-Key")) // canonical form, so that Get does not allocate
}

func (k *apiKeys) find(text string) (key apiKey, ok bool) {
	// Up to 256 bytes, the copy stays on the stack.
	submitted := sha256.Sum256(append(make([]byte, 0, 256), text...))
	found, canRead := 0, 0
	for _, valid := range *k.all.Load() {
		equal := subtle.ConstantTimeCompare(valid.digest[:], submitted[:])
		found |= equal
		if valid.canRead {
			canRead |= equal
		}
	}
	return apiKey{submitted, canRead == 1}, found == 1
}

// readable reports whether the key with this digest is valid and may read.
func (k *apiKeys) readable(digest keyDigest) bool {
	return slices.Contains(*k.all.Load(), apiKey{digest, true})
}

// whileReadable returns a context that ends when the key can no longer read.
// The caller must call stop when it is done.
func (k *apiKeys) whileReadable(parent context.Context, digest keyDigest) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(parent)
	r := &activeRead{digest, cancel}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.readers[r] = struct{}{}
	if !k.readable(digest) { // load removed it after lookup
		cancel()
	}
	return ctx, func() {
		cancel()
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.readers, r)
	}
}
