// Package dbfile names a SQLite database's files and detects when they were
// moved, deleted or replaced. The writer and the readers both use it, because they
// are in one process and must have the same file open.
//
// Apart from OpenReadOnly, it never opens a database file: closing a file would drop
// the POSIX locks that SQLite holds on it.
package dbfile

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
)

// ErrReplaced means that a path no longer names the file that is open.
var ErrReplaced = errors.New("is no longer the open file")

// A File is one of the open files of a database.
type File struct {
	Name string
	Info os.FileInfo // of the open file; nil before it is opened
}

// Check returns ErrReplaced if f.Name no longer names the file that is open,
// and otherwise the file's current size and times.
func (f File) Check() (now os.FileInfo, err error) {
	now, err = os.Stat(f.Name)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("%s %w: it was deleted or renamed", f.Name, ErrReplaced)
	case err != nil:
		return nil, err
	case !os.SameFile(now, f.Info):
		return nil, fmt.Errorf("%s %w: another file has taken its place", f.Name, ErrReplaced)
	}
	return now, nil
}

// URI returns the SQLite URI of a file. The path may contain any characters.
// https://www.sqlite.org/uri.html
func URI(path string) string {
	// An absolute path keeps SQLite from interpreting ":memory:" or a leading
	// "//host".
	if absolute, err := filepath.Abs(path); err == nil {
		path = absolute
	}
	path = filepath.ToSlash(path)
	if filepath.VolumeName(path) != "" {
		path = "/" + path
	}
	return "file:" + (&url.URL{Path: path}).EscapedPath()
}

// Sidecar returns the path of the file that SQLite or this service keeps next
// to the database: the database's name plus suffix. SQLite resolves symbolic
// links and keeps its files next to the target.
func Sidecar(path, suffix string) string {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	return path + suffix
}
