package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// keysFile writes the text of an API keys file and returns its name.
func keysFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestWhatAdmits(t *testing.T) {
	keys, err := loadAPIKeys(" alpha , beta,,#zeta", keysFile(t, "# of the web servers\r\n\r\n  gamma#1\t\r\n#delta\nepsilon"))
	if err != nil {
		t.Fatal(err)
	}
	if keys.String() != "5" {
		t.Errorf("%v keys, want 5", keys)
	}
	for _, c := range []struct {
		authorization, xAPIKey string
		want                   bool
	}{
		{"Bearer alpha", "", true}, {"bearer beta", "", true}, {"BEARER  gamma#1", "", true}, {"", "epsilon", true},
		{"Basic YWxwaGE6", "alpha", true}, {"Bearer alpha", "wrong", true}, {"Bearer wrong", "alpha", true}, {"Bearer #zeta", "", true},
		{"", "", false}, {"Bearer", "", false}, {"Bearer ", "", false}, {"alpha", "", false}, {"Basic alpha", "", false},
		{"Bearer Alpha", "", false}, {"Bearer alph", "", false}, {"Bearer alphaa", "", false}, {"Bearer alpha,beta", "", false},
		{"Bearer delta", "", false}, {"", "#delta", false}, {"", "gamma", false}, {"Bearer wrong", "wrong", false},
		{"", strings.Repeat("alpha", 1000), false},
	} {
		r := httptest.NewRequest("POST", "/ingest", nil)
		for name, value := range map[string]string{"Authorization": c.authorization, "X-API-Key": c.xAPIKey} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		if got := keys.admit(r); got != c.want {
			t.Errorf("Authorization %q, X-API-Key %.20q: %v, want %v", c.authorization, c.xAPIKey, got, c.want)
		}
	}
}

func TestKeysThatCannotBe(t *testing.T) {
	for _, c := range []struct{ env, file string }{
		{",", ""}, {" ", ""}, {"s3cret with a space", ""}, {"s3crét", ""}, {"s3cret\x00", ""},
		{"", filepath.Join(t.TempDir(), "missing")}, {"good", filepath.Join(t.TempDir(), "missing")}, {"", t.TempDir()},
		{"", keysFile(t, "")}, {"good", keysFile(t, "\n# s3cret\n")}, {"", keysFile(t, "good\ns3cret # ours\n")},
	} {
		keys, err := loadAPIKeys(c.env, c.file)
		if err == nil || keys != nil {
			t.Errorf("%q and %q are taken for keys", c.env, c.file)
		} else if strings.Contains(err.Error(), "s3cr") {
			t.Errorf("the error tells a key: %v", err)
		}
	}
	if keys, err := loadAPIKeys("", ""); keys != nil || err != nil {
		t.Errorf("without keys: %v %v", keys, err)
	}
}

func TestKeysAreReadAgain(t *testing.T) {
	file := keysFile(t, "old\n")
	keys, err := loadAPIKeys("constant", file)
	if err != nil {
		t.Fatal(err)
	}
	admitted := func() string {
		var all []string
		for _, key := range []string{"constant", "old", "new"} {
			r := httptest.NewRequest("GET", "/", nil)
			r.Header.Set("X-API-Key", key)
			if keys.admit(r) {
				all = append(all, key)
			}
		}
		return strings.Join(all, " ")
	}
	for _, step := range []struct {
		name   string
		change func() error
		fails  bool
		admits string
	}{
		{"a new key", func() error { return os.WriteFile(file, []byte("new\n"), 0o600) }, false, "constant new"},
		{"no key", func() error { return os.WriteFile(file, []byte("# none\n"), 0o600) }, true, "constant new"},
		{"no file", func() error { return os.Remove(file) }, true, "constant new"},
		{"a file again", func() error { return os.WriteFile(file, []byte("old\nnew"), 0o600) }, false, "constant old new"},
	} {
		if err := step.change(); err != nil {
			t.Fatal(err)
		}
		if err := keys.load(); (err != nil) != step.fails {
			t.Errorf("%s: %v", step.name, err)
		}
		if got := admitted(); got != step.admits {
			t.Errorf("%s: admits %s, want %s", step.name, got, step.admits)
		}
	}
}

func TestAdmitAllocatesNothing(t *testing.T) {
	keys, err := loadAPIKeys("one,two", "")
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("POST", "/ingest", nil)
	r.Header.Set("Authorization", "Bearer "+strings.Repeat("k", 128))
	if n := testing.AllocsPerRun(100, func() { keys.admit(r) }); n != 0 {
		t.Errorf("a Bearer key takes %v allocations", n)
	}
	r.Header = http.Header{"X-Api-Key": {"two"}}
	if n := testing.AllocsPerRun(100, func() { keys.admit(r) }); n != 0 {
		t.Errorf("an X-API-Key takes %v allocations", n)
	}
}
