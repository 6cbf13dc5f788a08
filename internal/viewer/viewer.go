// Package viewer serves the page that shows the log.
//
// The page is static: index.html, style.css and JavaScript modules, without a
// build step. They are served without comments. The page contains no log data and
// needs no API key. Its scripts read the log from /logs and the routes below it like
// any other client, and ask the user for a key if these routes require one.
//
// The package guarantees:
//
//   - Log content never becomes markup. The scripts only create elements and set
//     text and attributes. The Content-Security-Policy enforces this with Trusted
//     Types.
//   - The page sends requests only to its own server. The policy blocks others.
//   - All addresses in the page are relative, so that it works behind a proxy that
//     serves it under a path.
//   - A browser never combines files of different versions. The page is
//     revalidated whenever it is loaded, and the addresses of its other files
//     contain a hash of all files.
//
// The package must not depend on the code that reads, stores or receives entries.
// Its scripts know the other routes only by their addresses. It imports the table
// of level names from internal/entry, so that the page ranks levels like the
// server.
package viewer

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"sync"

	"log-ingester/internal/entry"
	"log-ingester/internal/httpapi"
)

//go:embed assets
var assets embed.FS

const (
	pageName = "index.html"

	// versionPlaceholder is the version in the addresses in index.html.
	versionPlaceholder = "/VERSION/"

	// levelsPlaceholder is the content of the data block in index.html that
	// gives the script the names of each level.
	levelsPlaceholder = "LEVEL_NAMES"

	// preloadsPlaceholder is where index.html gets links to all modules, so that
	// the browser loads them at once and not one after another.
	preloadsPlaceholder = "MODULE_PRELOADS\n"

	// policy allows the page to load its own scripts, style and icon, and to send
	// requests to its own server. Log content could not run, load or send anything
	// even if it became markup.
	policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
		"require-trusted-types-for 'script'; trusted-types 'none'"
)

// contentTypes has the content type for each file extension in assets. Those of
// package mime depend on the configuration of the system.
var contentTypes = map[string]string{
	".css":  "text/css; charset=utf-8",
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// A file is one of the page's files as it is served.
type file struct {
	contentType string
	body        []byte
	gzipped     []byte
}

// A bundle holds all files of the page.
type bundle struct {
	version string // a hash of all files
	files   map[string]file
}

// preparedBundle returns the bundle, which the first call prepares.
var preparedBundle = sync.OnceValue(newBundle)

func newBundle() *bundle {
	names, _ := fs.Glob(assets, "assets/*") // the pattern is valid
	bodies := make(map[string][]byte)
	hash := sha256.New()
	for _, name := range names {
		body, _ := assets.ReadFile(name) // an embedded file is always readable
		bodies[path.Base(name)] = body
		fmt.Fprintf(hash, "%s %d\n%s", name, len(body), body)
	}
	levels := levelNames()
	hash.Write(levels)
	b := &bundle{version: hex.EncodeToString(hash.Sum(nil)[:4]), files: make(map[string]file)}
	for name, body := range bodies {
		if name == pageName {
			body = bytes.Replace(body, []byte(preloadsPlaceholder), preloads(names), 1)
			body = bytes.ReplaceAll(body, []byte(versionPlaceholder), []byte("/"+b.version+"/"))
			body = bytes.Replace(body, []byte(levelsPlaceholder), levels, 1)
		}
		body = stripped(name, body)
		b.files[name] = file{contentTypes[path.Ext(name)], body, compress(body)}
	}
	return b
}

// levelNames returns the names of each level as a JSON object.
func levelNames() []byte {
	names := make(map[string][]string)
	for l := entry.LevelTrace; l <= entry.LevelFatal; l++ {
		names[l.String()] = entry.LevelNames(l)
	}
	text, _ := json.Marshal(names) // a map of strings has a JSON form
	return text
}

// preloads returns the links that preload the modules among the files.
func preloads(names []string) []byte {
	var links []byte
	for _, name := range names {
		if path.Ext(name) == ".js" {
			links = fmt.Appendf(links, "<link rel=\"modulepreload\" href=\"assets%s%s\">\n",
				versionPlaceholder, path.Base(name))
		}
	}
	return links
}

func compress(body []byte) []byte {
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // the level is valid
	_, _ = z.Write(body)                                  // writing to a Buffer never fails
	_ = z.Close()
	return b.Bytes()
}

// Register adds the routes of the page to mux: GET / and GET /assets/.
func Register(mux *http.ServeMux) {
	mux.HandleFunc("GET /{$}", servePage)
	mux.HandleFunc("GET /assets/{version}/{name}", serveAsset)
}

func servePage(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-cache")
	preparedBundle().serve(w, r, pageName)
}

// serveAsset serves the files that the page refers to. A page of another version
// gets 404 instead of files that do not match it.
func serveAsset(w http.ResponseWriter, r *http.Request) {
	b := preparedBundle()
	name := r.PathValue("name")
	if _, ok := b.files[name]; !ok || name == pageName || r.PathValue("version") != b.version {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Cache-Control", "max-age=31536000, immutable")
	b.serve(w, r, name)
}

func (b *bundle) serve(w http.ResponseWriter, r *http.Request, name string) {
	f := b.files[name]
	etag := `W/"` + b.version + `"` // weak, because the encodings share it
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Vary", "Accept-Encoding")
	h.Set("ETag", etag)
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", f.contentType)
	body := f.body
	if httpapi.AcceptsGzip(r.Header) {
		h.Set("Content-Encoding", "gzip")
		body = f.gzipped
	}
	_, _ = w.Write(body) // fails only if the client has disconnected
}
