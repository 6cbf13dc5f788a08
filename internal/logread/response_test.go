package logread

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A part that a scan takes long to find is still sent, also over HTTP/2, where
// an expired write deadline resets even an idle stream.
func TestLogsResponseSlowScan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := serveHTTP2(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			rd := &read{reader: new(Reader), client: newClientWriter(w), lease: new(lease)}
			resp := newLogsResponse(rd, true, false)
			for _, message := range []string{"first", "second", "third"} {
				resp.add(&row{message: []byte(message)})
				if err := resp.flush(); err != nil {
					t.Errorf("flush() = %v", err)
				}
				time.Sleep(writeTimeout + time.Second)
			}
			if err := resp.finish(); err != nil {
				t.Errorf("finish() = %v", err)
			}
		}))
		resp, err := client.Get("https://example.com/logs")
		must(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		lines := strings.Count(string(body), "\n")
		if err != nil || resp.ProtoMajor != 2 || lines != 3 {
			t.Errorf("got %d entries over %s and error %v, want 3 over HTTP/2.0", lines, resp.Proto, err)
		}
	})
}
