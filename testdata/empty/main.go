// Empty is an HTTP server that discards every request, as a baseline for
// benchmarks. It responds 202 without a body, and on /json like /ingest.
//
//	go run testdata/empty/main.go 127.0.0.1:3999
//	go run testdata/empty/main.go 127.0.0.1:3999 cert.pem key.pem
package main

import (
	"io"
	"log"
	"net/http"
	"os"
)

func main() {
	if len(os.Args) == 4 {
		log.Fatal(http.ListenAndServeTLS(os.Args[1], os.Args[2], os.Args[3], http.HandlerFunc(serve)))
	}
	log.Fatal(http.ListenAndServe(os.Args[1], http.HandlerFunc(serve)))
}

func serve(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	if r.URL.Path != "/json" {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	io.WriteString(w, `{"accepted":1,"filtered":0}`)
}
