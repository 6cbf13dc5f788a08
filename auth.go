package main

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"log-ingester/internal/httpapi"
)

// An authorizer decides which requests reach a handler. Any goroutine may use
// it.
type authorizer struct {
	keys    *apiKeys // nil if no keys are configured
	metrics *metrics
}

// requireKey passes requests with a valid API key to h, or all requests if no
// keys are configured. Others get 401 before their body is read.
func (a *authorizer) requireKey(h http.Handler) http.Handler {
	if a.keys == nil {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.keys.allow(r) {
			h.ServeHTTP(w, r)
			return
		}
		w.Header().Set("WWW-Authenticate", "Bearer")
		a.reject(w, http.StatusUnauthorized, "an API key is required: Authorization: Bearer KEY or X-API-Key: KEY")
	})
}

// requireReader passes requests that may read logs to h: those with a valid API
// key or, if no keys are configured, those from this machine.
func (a *authorizer) requireReader(h http.Handler) http.Handler {
	if a.keys != nil {
		return a.requireKey(h)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isLocal(r) {
			h.ServeHTTP(w, r)
			return
		}
		a.reject(w, http.StatusForbidden, "without API keys, only clients on this machine can read logs; set keys with LOG_INGESTER_API_KEYS or -api-keys-file")
	})
}

// sameOrigin refuses requests that a page of another origin makes a browser send,
// except GET, HEAD and OPTIONS. It does not affect clients other than browsers.
func (a *authorizer) sameOrigin(h http.Handler) http.Handler {
	var protection http.CrossOriginProtection
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		a.reject(w, http.StatusForbidden, "cross-origin request refused")
	}))
	return protection.Handler(h)
}

func (a *authorizer) reject(w http.ResponseWriter, status int, reason string) {
	a.metrics.countResponse(status)
	httpapi.WriteError(w, httpapi.Errorf(status, "%s", reason))
}

// isLocal reports whether r comes from this machine and names it as its host.
// A loopback address of the client is not sufficient. A page from elsewhere can
// make a local browser send requests to the service under the page's own host
// name (DNS rebinding), and a local proxy forwards requests of remote clients.
func isLocal(r *http.Request) bool {
	client, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && client.Addr().IsLoopback() && isLoopbackHost(r.Host) &&
		r.Header["X-Forwarded-For"] == nil && r.Header["Forwarded"] == nil
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

// apiKeys is the set of valid API keys. It stores only digests: all have the same
// length, so a comparison takes the same time for any submitted key. Any
// goroutine may use it.
type apiKeys struct {
	fromEnv []keyDigest
	file    string // reread by load; empty if no file is configured
	all     atomic.Pointer[[]keyDigest]
}

type keyDigest = [sha256.Size]byte

// loadAPIKeys returns the keys in the comma-separated list env and in file, or
// nil if both are empty.
func loadAPIKeys(env, file string) (*apiKeys, error) {
	if env == "" && file == "" {
		return nil, nil
	}
	k := &apiKeys{file: file}
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

// load reads the file. On error the current keys stay valid.
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
	k.all.Store(&all)
	return nil
}

// parseKeys returns the digest of each non-empty item. Its errors give the
// number of an invalid item, and never its text.
func parseKeys(kind string, items []string) (keys []keyDigest, err error) {
	for i, item := range items {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		for _, c := range []byte(item) {
			if c <= ' ' || c > '~' {
				return nil, fmt.Errorf("%s %d contains a space or a character that is not printable ASCII", kind, i+1)
			}
		}
		keys = append(keys, sha256.Sum256([]byte(item)))
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

// allow reports whether r carries a valid key in one of the two headers.
func (k *apiKeys) allow(r *http.Request) bool {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") && k.has(strings.TrimLeft(token, " ")) {
		return true
	}
	return k.has(r.Header.Get("X-Api-Key")) // canonical form, so that Get does not allocate
}

func (k *apiKeys) has(key string) bool {
	// Up to 256 bytes, the copy stays on the stack.
	submitted := sha256.Sum256(append(make([]byte, 0, 256), key...))
	found := 0
	for _, digest := range *k.all.Load() {
		found |= subtle.ConstantTimeCompare(digest[:], submitted[:])
	}
	return found == 1
}
