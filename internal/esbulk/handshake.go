package esbulk

import (
	"net/http"
	"strconv"
	"strings"

	"log-ingester/internal/entry"
)

// Version is the version of Elasticsearch that clients see. Clients of this, the
// previous and the next major version accept it.
const Version = "8.19.0"

// Handshake returns the response to a request that clients send before their first
// bulk request. path is the path below /elasticsearch. ok is false if there is no
// such resource.
//
// It reports that every template, policy and pipeline exists, so that clients do not
// create them. Creating one succeeds without an effect.
func Handshake(method, path string) (body string, ok bool) {
	path = strings.Trim(path, "/")
	switch path {
	case "":
		return `{"name":"log-ingester","cluster_name":"log-ingester","cluster_uuid":"log-ingester","version":{"number":"` +
			Version + `","build_flavor":"default","build_type":"tar","build_hash":"unknown",` +
			`"build_date":"2025-01-01T00:00:00Z","build_snapshot":false,"lucene_version":"9.12.0",` +
			`"minimum_wire_compatibility_version":"7.17.0","minimum_index_compatibility_version":"7.0.0"},` +
			`"tagline":"You Know, for Search"}`, true
	case "_license":
		return `{"license":{"status":"active","uid":"log-ingester","type":"basic","issue_date_in_millis":0,` +
			`"issued_to":"log-ingester","issuer":"log-ingester","start_date_in_millis":-1}}`, true
	case "_xpack":
		return `{"build":{},"license":{"uid":"log-ingester","type":"basic","mode":"basic","status":"active"},` +
			`"features":{"ilm":{"available":true,"enabled":true},"security":{"available":true,"enabled":false}}}`, true
	case "_cluster/health":
		return `{"cluster_name":"log-ingester","status":"green","timed_out":false,"number_of_nodes":1}`, true
	}
	first, _, _ := strings.Cut(path, "/")
	switch first {
	case "_ilm", "_template", "_index_template", "_component_template", "_data_stream", "_ingest", "_nodes", "_alias",
		"_security":
		if method == http.MethodPut || method == http.MethodPost {
			return `{"acknowledged":true}`, true
		}
		return "{}", true
	}
	return "", false
}

// AppendError appends the body of an error response.
func AppendError(dst []byte, status int, reason string) []byte {
	kind := "illegal_argument_exception"
	if status >= http.StatusInternalServerError {
		kind = "es_rejected_execution_exception"
	}
	dst = append(append(append(dst, `{"error":{"type":"`...), kind...), `","reason":`...)
	dst = append(entry.AppendQuoted(dst, reason), `},"status":`...)
	return append(strconv.AppendInt(dst, int64(status), 10), "}\n"...)
}
