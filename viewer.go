package main

import (
	_ "embed"
	"net/http"
)

//go:embed viewer.html
var viewerHTML []byte

func serveViewer(w http.ResponseWriter, req *http.Request) {
	_, _ = w.Write(viewerHTML)
}
