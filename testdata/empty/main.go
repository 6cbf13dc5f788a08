// Empty is an HTTP server that discards every request, as a baseline for
// benchmarks. It responds 202 without a body, and on /json like /ingest.
//
//	go run testdata/empty/main.go 127.0.0.1:3999
package main

import (
	"io"
	"log"
	"net/http"
	"os"
)

func main() {
	log.Fatal(http.ListenAndServe(os.Args[1], http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if r.URL.Path != "/json" {
			w.WriteHeader(http.StatusAccepted)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusAccepted)
		io.WriteString(w, `{"accepted":1,"filtered":0}`)
	})))
}
