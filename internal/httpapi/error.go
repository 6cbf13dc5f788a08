package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// An Error is a response other than 2xx: the service accepted nothing of the
// request.
type Error struct {
	Status int
	Reason string    // a sentence for the client
	At     *Position // where the body is wrong, or nil
}

// A Position is a place in a request body.
type Position struct {
	Entry  int // index of the entry, from 0
	Offset int // in bytes, in the decompressed body
}

func (e *Error) Error() string { return e.Reason }

// Errorf returns an Error whose reason is formatted like fmt.Sprintf.
func Errorf(status int, format string, args ...any) *Error {
	return &Error{Status: status, Reason: fmt.Sprintf(format, args...)}
}

// SetRetryAfter sets Retry-After to one second if e is a 503, unless the header is
// set.
func SetRetryAfter(w http.ResponseWriter, e *Error) {
	if e.Status == http.StatusServiceUnavailable && w.Header().Get("Retry-After") == "" {
		w.Header().Set("Retry-After", "1")
	}
}

// WriteError sends e as JSON, with Retry-After if it is a 503.
func WriteError(w http.ResponseWriter, e *Error) {
	body := struct {
		Error  string `json:"error"`
		Entry  *int   `json:"entry,omitempty"`
		Offset *int   `json:"offset,omitempty"`
	}{Error: e.Reason}
	if e.At != nil {
		body.Entry, body.Offset = &e.At.Entry, &e.At.Offset
	}
	SetRetryAfter(w, e)
	SetJSON(w)
	w.WriteHeader(e.Status)
	json.NewEncoder(w).Encode(body) // a write error means that the client has disconnected
}
