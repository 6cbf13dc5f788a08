package main

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestContentEncodings(t *testing.T) {
	body := `[` + strings.Repeat(`{"level":"error","msg":"a"},`, 999) + `{"level":"error","msg":"b"}]`
	for _, c := range []struct{ name, encoding, body string }{
		{name: "identity", encoding: "identity", body: body},
		{name: "gzip", encoding: "gzip", body: gzipped(body)},
		{name: "upper case", encoding: "GZIP", body: gzipped(body)},
		{name: "x-gzip", encoding: "x-gzip", body: gzipped(body)},
		{name: "gzip with two members", encoding: "gzip", body: gzipped(body[:500]) + gzipped(body[500:])},
		{name: "deflate", encoding: "deflate", body: zlibbed(body)},
		{name: "deflate without header", encoding: "deflate", body: rawDeflated(body)},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newTestService(t)
			const want = `{"accepted":1000,"filtered":0}` + "\n"
			if w := s.post(c.body, "Content-Encoding", c.encoding); w.Code != 200 || w.Body.String() != want {
				t.Errorf("got %d %s, want 200 %s", w.Code, w.Body, want)
			}
			if n := len(readRows(t, s.path)); n != 1000 {
				t.Errorf("got %d rows, want 1000", n)
			}
		})
	}
}

// A compressed body must be complete, and nothing may follow it.
func TestCorruptEncodings(t *testing.T) {
	s := newTestService(t)
	for _, c := range []struct{ name, encoding, body string }{
		{name: "gzip", encoding: "gzip", body: gzipped(smallBody)},
		{name: "deflate", encoding: "deflate", body: zlibbed(smallBody)},
		{name: "deflate without header", encoding: "deflate", body: rawDeflated(smallBody)},
	} {
		check := func(what, body string, want int) {
			t.Helper()
			if w := s.post(body, "Content-Encoding", c.encoding); w.Code != want {
				t.Errorf("%s: got %d %s, want %d", what, w.Code, w.Body, want)
			}
		}
		t.Run(c.name, func(t *testing.T) {
			for n := range len(c.body) {
				check(fmt.Sprintf("%d of %d bytes", n, len(c.body)), c.body[:n], 400)
			}
			for _, trailing := range []string{"\x00", "garbage", c.body[:len(c.body)-1]} {
				check(fmt.Sprintf("trailing %q", trailing), c.body+trailing, 400)
			}
			check("valid", c.body, 200)
		})
	}
}

func TestDeflateChecksum(t *testing.T) {
	s := newTestService(t)
	body := []byte(zlibbed(smallBody))
	body[len(body)-1] ^= 1
	if w := s.post(string(body), "Content-Encoding", "deflate"); w.Code != 400 {
		t.Errorf("got %d %s, want 400", w.Code, w.Body)
	}
}

// Two header fields name two encodings, as a list in one field does.
func TestTwoEncodingFields(t *testing.T) {
	s := newTestService(t)
	r := httptest.NewRequest("POST", "/ingest", strings.NewReader(gzipped(smallBody)))
	r.Header["Content-Encoding"] = []string{"gzip", "gzip"}
	w := httptest.NewRecorder()
	if s.handler.ServeHTTP(w, r); w.Code != 415 {
		t.Errorf("got %d %s, want 415", w.Code, w.Body)
	}
}
