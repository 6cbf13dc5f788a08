package httpapi

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestWriteError(t *testing.T) {
	for _, test := range []struct {
		name       string
		err        *Error
		retryAfter string // set before the call
		wantBody   string
		wantRetry  string
	}{
		{
			name:     "reason",
			err:      Errorf(http.StatusBadRequest, "wait must be 0 or 1, not %q", "x"),
			wantBody: `{"error":"wait must be 0 or 1, not \"x\""}` + "\n",
		},
		{
			name: "position",
			err: &Error{
				Status: http.StatusBadRequest,
				Reason: "not JSON",
				At:     &Position{Entry: 3, Offset: 412},
			},
			wantBody: `{"error":"not JSON","entry":3,"offset":412}` + "\n",
		},
		{
			name:     "position zero",
			err:      &Error{Status: http.StatusBadRequest, Reason: "not JSON", At: &Position{}},
			wantBody: `{"error":"not JSON","entry":0,"offset":0}` + "\n",
		},
		{
			name:      "unavailable",
			err:       Errorf(http.StatusServiceUnavailable, "queue full"),
			wantBody:  `{"error":"queue full"}` + "\n",
			wantRetry: "1",
		},
		{
			name:       "unavailable with Retry-After",
			err:        Errorf(http.StatusServiceUnavailable, "queue full"),
			retryAfter: "10",
			wantBody:   `{"error":"queue full"}` + "\n",
			wantRetry:  "10",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			if test.retryAfter != "" {
				w.Header().Set("Retry-After", test.retryAfter)
			}
			WriteError(w, test.err)
			if w.Code != test.err.Status {
				t.Errorf("status = %d, want %d", w.Code, test.err.Status)
			}
			if got := w.Body.String(); got != test.wantBody {
				t.Errorf("body = %q, want %q", got, test.wantBody)
			}
			if got := w.Header().Get("Content-Type"); got != "application/json" {
				t.Errorf("Content-Type = %q, want application/json", got)
			}
			if got := w.Header().Get("Retry-After"); got != test.wantRetry {
				t.Errorf("Retry-After = %q, want %q", got, test.wantRetry)
			}
		})
	}
}

func TestErrorIsReason(t *testing.T) {
	var err error = Errorf(http.StatusBadRequest, "entry %d is not an object", 3)
	if got, want := err.Error(), "entry 3 is not an object"; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
}
