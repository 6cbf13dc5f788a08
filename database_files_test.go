package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// Other users cannot read the database, because logs may contain secrets. Its
// group can.
func TestFileModes(t *testing.T) {
	if runtime.GOOS == "windows" {
		skipOrFail(t, "needs a system with file modes")
	}
	s := newTestService(t)
	s.post(smallBody)
	for _, name := range []string{s.path, s.path + "-wal", s.path + "-shm"} {
		info, err := os.Stat(name)
		must(t, err)
		if mode := info.Mode().Perm(); mode&^0o640 != 0 || mode&0o600 != 0o600 {
			t.Errorf("%s: got mode %v, want at most 0640 and at least 0600", filepath.Base(name), mode)
		}
	}
}

// A hook is an io.Writer that is called for each line of a log.
type hook func()

func (h hook) Write(line []byte) (int, error) {
	h()
	return len(line), nil
}

// If the file is moved during a commit, the rows are written to the file that is
// at the path afterwards, unless they are already in that file.
func TestMovedWhileCommitting(t *testing.T) {
	for name, move := range map[string]func(w *testWriter) error{
		"deleted": func(w *testWriter) error { return os.Remove(w.path) },
		"renamed": func(w *testWriter) error { return os.Rename(w.path, w.path+".1") },
		"renamed and back": func(w *testWriter) error {
			w.db.log = slog.New(slog.NewTextHandler(hook(func() {
				if err := os.Rename(w.path+".1", w.path); err != nil {
					t.Error(err)
				}
			}), nil))
			return os.Rename(w.path, w.path+".1")
		},
		"replaced by a copy": func(w *testWriter) error {
			runSQL(t, w.path, "VACUUM INTO '"+w.path+".copy'")
			return os.Rename(w.path+".copy", w.path)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTestWriter(t, 1<<20)
			w.db.commit = &hookedStmt{w.db.commit, func() {
				if err := move(w); err != nil {
					t.Error(err)
				}
			}}
			w.put("a", "b")
			w.start()
			if got := w.stop(); got != "a,b" {
				t.Errorf("got stored messages %s, want a,b", got)
			}
			if log := w.log.String(); strings.Contains(log, logWriteFailed) {
				t.Errorf("got log %q, want no failed write", log)
			}
		})
	}
}
