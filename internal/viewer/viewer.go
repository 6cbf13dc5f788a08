package viewer

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"log-ingester/internal/httpapi"
	"net/http"
	"sync"
)

//go:embed viewer.html
var viewerHTML []byte

// A viewerPage is the page as it is served.
type viewerPage struct {
	etag    string
	policy  string // Content-Security-Policy
	gzipped []byte
}

// preparedViewer holds the page, made when it is first asked for.
var preparedViewer = sync.OnceValue(func() *viewerPage {
	sum := sha256.Sum256(viewerHTML)
	// Weak, as the page has it in two encodings.
	p := &viewerPage{etag: `W/"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`}
	// The page may run its own script and use its own style, known by their
	// hashes, and talk to where it comes from. Nothing else: nothing that a log
	// says could run, load or send anything, even if it became markup.
	p.policy = "default-src 'none'; script-src " + sourceHash("script") + "; style-src " + sourceHash("style") +
		"; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'" +
		"; require-trusted-types-for 'script'; trusted-types 'none'"
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // the level is a valid one
	_, _ = z.Write(viewerHTML)                            // a Buffer takes all
	_ = z.Close()
	p.gzipped = b.Bytes()
	return p
})

// sourceHash returns the hash of the page's one element of that name, as a
// policy names it.
func sourceHash(element string) string {
	_, rest, _ := bytes.Cut(viewerHTML, []byte("<"+element+">"))
	content, _, _ := bytes.Cut(rest, []byte("</"+element+">"))
	sum := sha256.Sum256(content)
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// Register adds the page's route to mux.
func Register(mux *http.ServeMux) { mux.HandleFunc("GET /{$}", serveViewer) }

// serveViewer answers GET / with the page that shows the log. The page holds no
// data; it asks /logs for it as any client does.
func serveViewer(w http.ResponseWriter, req *http.Request) {
	p := preparedViewer()
	h := w.Header()
	h.Set("Content-Security-Policy", p.policy)
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-cache")
	h.Set("Vary", "Accept-Encoding")
	h.Set("ETag", p.etag)
	if req.Header.Get("If-None-Match") == p.etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	body := viewerHTML
	if httpapi.AcceptsGzip(req.Header) {
		h.Set("Content-Encoding", "gzip")
		body = p.gzipped
	}
	_, _ = w.Write(body) // a client that has gone needs no answer
}
