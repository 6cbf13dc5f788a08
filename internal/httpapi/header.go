// Package httpapi contains the code that all routes of the HTTP API share: error
// responses, the headers of responses with data, and content negotiation.
//
// It knows nothing about entries, the queue or the database, and imports only
// the standard library.
package httpapi

import (
	"net/http"
	"strings"
)

// contentTypeJSON is shared by all responses, so that setting it does not
// allocate. net/http does not modify header values.
var contentTypeJSON = []string{"application/json"}

// SetJSON sets the Content-Type of a JSON response, without allocating.
func SetJSON(w http.ResponseWriter) {
	w.Header()["Content-Type"] = contentTypeJSON
}

// SetDataHeaders sets the headers of a response that contains logs or metrics:
// it must not be cached, interpreted as another type, or leak its URL.
func SetDataHeaders(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
}

// AcceptsNDJSON reports whether the Accept header allows application/x-ndjson. It
// ignores wildcards.
func AcceptsNDJSON(h http.Header) bool { return accepts(h, "Accept", "application/x-ndjson") }

// AcceptsGzip reports whether the Accept-Encoding header allows gzip. It ignores
// wildcards.
func AcceptsGzip(h http.Header) bool { return accepts(h, "Accept-Encoding", "gzip") }

// accepts reports whether the named header lists value with a quality other
// than 0. https://www.rfc-editor.org/rfc/rfc9110#section-12.4.2
func accepts(h http.Header, name, value string) bool {
	for _, list := range h.Values(name) {
		for item := range strings.SplitSeq(list, ",") {
			item, parameter, _ := strings.Cut(item, ";")
			if strings.EqualFold(strings.TrimSpace(item), value) {
				q, hasQuality := strings.CutPrefix(strings.TrimSpace(parameter), "q=")
				return !hasQuality || strings.Trim(q, "0.") != ""
			}
		}
	}
	return false
}
