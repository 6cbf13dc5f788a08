package viewer

import (
	"compress/gzip"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// request returns the response of the page's routes to a GET request, with
// header fields in pairs.
func request(path string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	mux := http.NewServeMux()
	Register(mux)
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	return w
}

// assetNames returns the names of all embedded files.
func assetNames(t *testing.T) []string {
	t.Helper()
	entries, err := fs.ReadDir(assets, "assets")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

// readAsset returns the content of an embedded file.
func readAsset(t *testing.T, name string) string {
	t.Helper()
	body, err := assets.ReadFile("assets/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// assetPath returns the path that a file is served under.
func assetPath(name string) string { return "/assets/" + preparedBundle().version + "/" + name }

func TestPageSecurityHeaders(t *testing.T) {
	for _, path := range []string{"/", assetPath("app.js"), assetPath("style.css"), assetPath("icon.svg")} {
		h := request(path).Header()
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; " +
				"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
				"require-trusted-types-for 'script'; trusted-types 'none'",
			"Cross-Origin-Opener-Policy":   "same-origin",
			"Cross-Origin-Resource-Policy": "same-origin",
			"Permissions-Policy":           "camera=(), geolocation=(), microphone=()",
			"Referrer-Policy":              "no-referrer",
			"X-Content-Type-Options":       "nosniff",
		} {
			if got := h.Get(name); got != want {
				t.Errorf("%s: %s = %q, want %q", path, name, got, want)
			}
		}
	}
}

func TestPageFiles(t *testing.T) {
	for _, name := range assetNames(t) {
		if contentTypes[path.Ext(name)] == "" {
			t.Errorf("%s has no content type", name)
		}
		if name == pageName {
			continue
		}
		w := request(assetPath(name))
		if want := stripped(name, []byte(readAsset(t, name))); w.Code != http.StatusOK || w.Body.String() != string(want) {
			t.Errorf("%s: got status %d and %d bytes, want 200 and the embedded file", name, w.Code, w.Body.Len())
		}
		if got, want := w.Header().Get("Content-Type"), contentTypes[path.Ext(name)]; got != want {
			t.Errorf("%s: Content-Type = %q, want %q", name, got, want)
		}
	}
	for _, path := range []string{
		"/index.html", "/app.js", "/assets/", assetPath(""),
		assetPath("index.html"), assetPath("missing.js"), assetPath("../viewer.go"),
	} {
		if got := request(path).Code; got == http.StatusOK {
			t.Errorf("%s: got status %d, want an error", path, got)
		}
	}
}

// The page must stay small, also for clients that do not accept compression.
func TestPageSize(t *testing.T) {
	const limit = 100_000
	total, compressed := 0, 0
	for _, f := range preparedBundle().files {
		total += len(f.body)
		compressed += len(f.gzipped)
	}
	if total > limit {
		t.Errorf("the files have %d bytes, want at most %d; compressed, they have %d", total, limit, compressed)
	}
}

// A browser must not combine files of two versions: it revalidates the page, and
// other versions of the other files do not exist.
func TestPageVersion(t *testing.T) {
	page := request("/")
	version := preparedBundle().version
	if got := page.Header().Get("Cache-Control"); got != "no-cache" {
		t.Errorf("page: Cache-Control = %q, want no-cache", got)
	}
	if got := request(assetPath("app.js")).Header().Get("Cache-Control"); got != "max-age=31536000, immutable" {
		t.Errorf("app.js: Cache-Control = %q, want a year", got)
	}
	other := request("/assets/VERSION/app.js")
	if other.Code != http.StatusNotFound || other.Header().Get("Cache-Control") != "" {
		t.Errorf("app.js of another version: got status %d, want 404", other.Code)
	}
	if strings.Contains(page.Body.String(), "VERSION") {
		t.Error("the served page contains the placeholder of the version")
	}
	address := regexp.MustCompile(`(?:src|href)="([^"]*)"`)
	for _, match := range address.FindAllStringSubmatch(page.Body.String(), -1) {
		if want := "assets/" + version + "/"; !strings.HasPrefix(match[1], want) {
			t.Errorf("the page refers to %q, want a relative address in %s", match[1], want)
		}
	}
}

func TestPageRevalidation(t *testing.T) {
	etag := request("/").Header().Get("ETag")
	if w := request("/", "If-None-Match", etag); w.Code != http.StatusNotModified || w.Body.Len() != 0 {
		t.Errorf("the same ETag: got status %d and %d bytes, want 304 and none", w.Code, w.Body.Len())
	}
	if w := request("/", "If-None-Match", `W/"other"`); w.Code != http.StatusOK || w.Body.Len() == 0 {
		t.Errorf("another ETag: got status %d and %d bytes, want 200 and the page", w.Code, w.Body.Len())
	}
}

func TestPageCompression(t *testing.T) {
	plain := request("/").Body.String()
	for accepted, want := range map[string]string{
		"":                     "",
		"identity":             "",
		"br, deflate":          "",
		"gzip;q=0":             "",
		"gzip; q=0.0, br":      "",
		"gzip":                 "gzip",
		"deflate, GZIP;q=0.5":  "gzip",
		"br;q=1.0, gzip;q=1.0": "gzip",
	} {
		w := request("/", "Accept-Encoding", accepted)
		if got := w.Header().Get("Content-Encoding"); got != want {
			t.Errorf("Accept-Encoding %q: Content-Encoding = %q, want %q", accepted, got, want)
			continue
		}
		if got := w.Header().Get("Vary"); got != "Accept-Encoding" {
			t.Errorf("Vary = %q, want Accept-Encoding", got)
		}
		body := io.Reader(w.Body)
		if want == "gzip" {
			z, err := gzip.NewReader(body)
			if err != nil {
				t.Fatal(err)
			}
			body = z
		}
		if got, err := io.ReadAll(body); err != nil || string(got) != plain {
			t.Errorf("Accept-Encoding %q: got another page: %v", accepted, err)
		}
	}
}

// Every module must be preloaded, or the browser finds it only after it has
// loaded another one.
func TestPagePreloads(t *testing.T) {
	page := request("/").Body.String()
	preload := regexp.MustCompile(`<link rel="modulepreload" href="assets/[0-9a-f]+/([^"]*)">`)
	var got, want []string
	for _, match := range preload.FindAllStringSubmatch(page, -1) {
		got = append(got, match[1])
	}
	for _, name := range assetNames(t) {
		if path.Ext(name) == ".js" {
			want = append(want, name)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("preloaded modules:\n%v\nwant:\n%v", got, want)
	}
}

// The modules must not import each other in a cycle.
func TestPageModuleCycles(t *testing.T) {
	importPattern := regexp.MustCompile(`(?m)^(?:import|\}).* from "\./(.*)";$|^import "\./(.*)";$`)
	imports := make(map[string][]string)
	for _, name := range assetNames(t) {
		for _, match := range importPattern.FindAllStringSubmatch(readAsset(t, name), -1) {
			imports[name] = append(imports[name], match[1]+match[2])
		}
	}
	done := make(map[string]bool)
	var visit func(name string, importers []string)
	visit = func(name string, importers []string) {
		if slices.Contains(importers, name) {
			t.Fatalf("import cycle: %s", strings.Join(append(importers, name), " imports "))
		}
		if !done[name] {
			for _, imported := range imports[name] {
				visit(imported, append(importers, name))
			}
		}
		done[name] = true
	}
	visit("app.js", nil)
	for _, name := range assetNames(t) {
		if path.Ext(name) == ".js" && !done[name] {
			t.Errorf("%s is not imported", name)
		}
	}
}

// The files contain nothing that could turn text into markup or code, keep data
// beyond the tab, or load from elsewhere.
func TestPageForbiddenFeatures(t *testing.T) {
	for _, name := range assetNames(t) {
		text := strings.ReplaceAll(readAsset(t, name), `"http://www.w3.org/2000/svg"`, "")
		for _, forbidden := range []string{
			"innerHTML", "outerHTML", "insertAdjacentHTML", "setHTML", "parseFromString", "createContextualFragment",
			"document.write", "eval(", "Function(", "import(", "srcdoc", "javascript:",
			"<style", " style=", " onclick=", "localStorage", "indexedDB", "cookie", "http://", "https://",
		} {
			if strings.Contains(text, forbidden) {
				t.Errorf("%s contains %q", name, forbidden)
			}
		}
	}
	page := readAsset(t, pageName)
	for _, element := range []string{
		`<script type="module" src="assets/VERSION/app.js"></script>`,
		`<script type="application/json" id="level-names">LEVEL_NAMES</script>`, // data, not code
	} {
		if got := strings.Count(page, element); got != 1 {
			t.Errorf("the page has %d of %s, want 1", got, element)
		}
		page = strings.ReplaceAll(page, element, "")
	}
	if strings.Contains(page, "<script") {
		t.Error("the page has another script element")
	}
}
