package main

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// withKey lets requests with an API key through to h, and all requests where no
// keys are set.
func (s *service) withKey(h http.Handler) http.Handler {
	keys := s.cfg.keys
	if keys == nil {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if keys.admit(r) {
			h.ServeHTTP(w, r)
			return
		}
		s.metrics.answered(http.StatusUnauthorized)
		w.Header().Set("WWW-Authenticate", "Bearer")
		writeRefusal(w, refuse(http.StatusUnauthorized, "this needs an API key, as Authorization: Bearer KEY or as X-API-Key: KEY"))
	})
}

// reading lets those through to h who may read logs: requests with an API key
// or, where no keys are set, those that come from this machine.
func (s *service) reading(h http.HandlerFunc) http.Handler {
	guarded := s.withKey(h)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		setDataHeaders(w)
		if s.cfg.keys != nil || isLocal(r) {
			guarded.ServeHTTP(w, r)
			return
		}
		s.metrics.answered(http.StatusForbidden)
		writeRefusal(w, refuse(http.StatusForbidden, "without API keys, logs are read from this machine only; set keys with LOG_INGESTER_API_KEYS or -api-keys-file"))
	})
}

// isLocal reports whether r comes from this machine and is meant for it. The
// address alone does not tell: a page from elsewhere can make the browser here
// ask for it under its own name (DNS rebinding), and a proxy here asks for
// clients elsewhere.
func isLocal(r *http.Request) bool {
	client, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && client.Addr().IsLoopback() && isLoopbackHost(r.Host) &&
		r.Header["X-Forwarded-For"] == nil && r.Header["Forwarded"] == nil
}

// isLoopbackHost reports whether a Host header names this machine's loopback.
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

// sameOrigin refuses what pages of other sites make a browser send. Other
// clients do not notice.
func (s *service) sameOrigin(h http.Handler) http.Handler {
	var protection http.CrossOriginProtection
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.metrics.answered(http.StatusForbidden)
		writeRefusal(w, refuse(http.StatusForbidden, "a page of another site may not send this"))
	}))
	return protection.Handler(h)
}
