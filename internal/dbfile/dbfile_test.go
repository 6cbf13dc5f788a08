package dbfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"log-ingester/internal/testskip"
)

// newFile creates a file and returns it as if it had been opened.
func newFile(t *testing.T) File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "logs.db")
	writeFile(t, path, "rows")
	info, err := os.Stat(path)
	must(t, err)
	return File{Name: path, Info: info}
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(content), 0o600))
}

func TestMain(m *testing.M) { os.Exit(testskip.Main(m)) }

// symlink creates a symbolic link.
func symlink(t *testing.T, target, link string) {
	t.Helper()
	if err := os.Symlink(target, link); err != nil {
		testskip.SkipOrFail(t, fmt.Sprintf("symbolic links: %v", err))
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestCheckUnchanged(t *testing.T) {
	f := newFile(t)
	writeFile(t, f.Name, "more rows")
	now, err := f.Check()
	if err != nil {
		t.Fatalf("Check() = %v, want nil", err)
	}
	if got, want := now.Size(), int64(len("more rows")); got != want {
		t.Errorf("size = %d, want the current size %d", got, want)
	}
}

func TestCheckReplaced(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(t *testing.T, path string)
		reason string
	}{
		{
			name:   "deleted",
			change: func(t *testing.T, path string) { must(t, os.Remove(path)) },
			reason: "deleted or renamed",
		},
		{
			name:   "renamed",
			change: func(t *testing.T, path string) { must(t, os.Rename(path, path+".old")) },
			reason: "deleted or renamed",
		},
		{
			name: "another file moved there",
			change: func(t *testing.T, path string) {
				writeFile(t, path+".new", "rows")
				must(t, os.Rename(path+".new", path))
			},
			reason: "another file",
		},
		{
			name: "created again",
			change: func(t *testing.T, path string) {
				must(t, os.Rename(path, path+".old")) // keeps the inode in use
				writeFile(t, path, "rows")
			},
			reason: "another file",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFile(t)
			test.change(t, f.Name)
			_, err := f.Check()
			if !errors.Is(err, ErrReplaced) {
				t.Fatalf("Check() = %v, want ErrReplaced", err)
			}
			for _, want := range []string{f.Name, test.reason} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("Check() = %q, want an error that contains %q", err, want)
				}
			}
		})
	}
}

// A file that cannot be checked may still be the same one.
func TestCheckFails(t *testing.T) {
	f := newFile(t)
	f.Name += "\x00" // invalid on every system
	_, err := f.Check()
	if err == nil || errors.Is(err, ErrReplaced) || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Check() = %v, want an error other than ErrReplaced", err)
	}
}

func TestCheckSymlink(t *testing.T) {
	f := newFile(t)
	link := f.Name + ".link"
	symlink(t, f.Name, link)
	f.Name = link
	if _, err := f.Check(); err != nil {
		t.Errorf("Check() of a symbolic link = %v, want nil", err)
	}
	other := newFile(t)
	must(t, os.Remove(link))
	symlink(t, other.Name, link)
	if _, err := f.Check(); !errors.Is(err, ErrReplaced) {
		t.Errorf("Check() of a changed symbolic link = %v, want ErrReplaced", err)
	}
}

// A relative path names a file, even if SQLite gives it a special meaning.
func TestURIRelative(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	dir, err := os.Getwd()
	must(t, err)
	for _, path := range []string{"logs.db", ":memory:", "file:logs.db", "dir/../logs.db"} {
		got, want := URI(path), URI(filepath.Join(dir, path))
		if got != want || !strings.HasPrefix(got, "file:/") {
			t.Errorf("URI(%q) = %q, want %q", path, got, want)
		}
	}
}

func TestSidecar(t *testing.T) {
	f := newFile(t)
	dir, err := filepath.EvalSymlinks(filepath.Dir(f.Name)) // the temporary directory can contain links
	must(t, err)
	target := filepath.Join(dir, "logs.db")
	if got, want := Sidecar(f.Name, "-wal"), target+"-wal"; got != want {
		t.Errorf("Sidecar(%q) = %q, want %q", f.Name, got, want)
	}
	t.Run("missing file", func(t *testing.T) {
		path := filepath.Join(dir, "missing.db")
		if got, want := Sidecar(path, "-reserve"), path+"-reserve"; got != want {
			t.Errorf("Sidecar(%q) = %q, want %q", path, got, want)
		}
	})
	t.Run("symbolic link", func(t *testing.T) {
		link := filepath.Join(t.TempDir(), "link.db")
		symlink(t, target, link)
		if got, want := Sidecar(link, "-wal"), target+"-wal"; got != want {
			t.Errorf("Sidecar(%q) = %q, want %q", link, got, want)
		}
	})
	t.Run("link to a link", func(t *testing.T) {
		first := filepath.Join(t.TempDir(), "first.db")
		second := filepath.Join(t.TempDir(), "second.db")
		symlink(t, target, first)
		symlink(t, first, second)
		if got, want := Sidecar(second, "-wal"), target+"-wal"; got != want {
			t.Errorf("Sidecar(%q) = %q, want %q", second, got, want)
		}
	})
}

func TestSyncDir(t *testing.T) {
	dir := t.TempDir()
	if err := SyncDir(dir); err != nil {
		t.Errorf("SyncDir() = %v, want nil", err)
	}
	if err := SyncDir(filepath.Join(dir, "missing")); !errors.Is(err, fs.ErrNotExist) && runtime.GOOS != "windows" {
		t.Errorf("SyncDir() of a missing directory = %v, want %v", err, fs.ErrNotExist)
	}
}
