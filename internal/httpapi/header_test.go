package httpapi

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestSetDataHeaders(t *testing.T) {
	w := httptest.NewRecorder()
	SetDataHeaders(w)
	for name, want := range map[string]string{
		"Cache-Control":          "no-store",
		"X-Content-Type-Options": "nosniff",
		"Referrer-Policy":        "no-referrer",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
}

func TestSetJSONAllocations(t *testing.T) {
	w := httptest.NewRecorder()
	if got := testing.AllocsPerRun(100, func() { SetJSON(w) }); got != 0 {
		t.Errorf("SetJSON allocates %v times, want 0", got)
	}
	if got := w.Header().Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type = %q, want application/json", got)
	}
}

func TestAcceptsGzip(t *testing.T) {
	for _, test := range []struct {
		name   string
		values []string // of Accept-Encoding
		want   bool
	}{
		{name: "no header", values: nil, want: false},
		{name: "empty", values: []string{""}, want: false},
		{name: "only value", values: []string{"gzip"}, want: true},
		{name: "in a list", values: []string{"br, gzip ,deflate"}, want: true},
		{name: "second header", values: []string{"br", "gzip"}, want: true},
		{name: "upper case", values: []string{"GZIP"}, want: true},
		{name: "quality", values: []string{"gzip;q=0.5"}, want: true},
		{name: "low quality", values: []string{"gzip; q=0.001"}, want: true},
		{name: "quality 0", values: []string{"gzip;q=0"}, want: false},
		{name: "quality 0.000", values: []string{"gzip; q=0.000"}, want: false},
		{name: "quality 0 of another", values: []string{"br;q=0, gzip"}, want: true},
		{name: "prefix", values: []string{"gzipped"}, want: false},
		{name: "not listed", values: []string{"br, identity"}, want: false},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := http.Header{"Accept-Encoding": test.values}
			if got := AcceptsGzip(h); got != test.want {
				t.Errorf("AcceptsGzip(%q) = %v, want %v", test.values, got, test.want)
			}
		})
	}
}

func TestAcceptsNDJSON(t *testing.T) {
	for _, test := range []struct {
		name   string
		accept string
		want   bool
	}{
		{name: "only value", accept: "application/x-ndjson", want: true},
		{name: "in a list", accept: "text/html, application/x-ndjson;q=0.9", want: true},
		{name: "quality 0", accept: "application/x-ndjson;q=0", want: false},
		{name: "wildcard", accept: "*/*", want: false},
		{name: "JSON", accept: "application/json", want: false},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := http.Header{"Accept": {test.accept}}
			if got := AcceptsNDJSON(h); got != test.want {
				t.Errorf("AcceptsNDJSON(%q) = %v, want %v", test.accept, got, test.want)
			}
		})
	}
	if AcceptsNDJSON(http.Header{}) {
		t.Error("AcceptsNDJSON without a header = true, want false")
	}
}
