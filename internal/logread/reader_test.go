package logread

import (
	"errors"
	"io/fs"
	"path/filepath"
	"testing"
)

func TestReaderCannotWrite(t *testing.T) {
	l := openTestLog(t)
	l.fill(1)
	for _, statement := range []string{"DELETE FROM logs", "PRAGMA query_only=0; DELETE FROM logs"} {
		t.Run(statement, func(t *testing.T) {
			if _, err := l.reader.db.Exec(statement); err == nil {
				t.Error("Exec succeeded, want an error")
			}
		})
	}
}

func TestOpenMissingFile(t *testing.T) {
	_, err := Open(filepath.Join(t.TempDir(), "missing.db"), Config{})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open of a missing file = %v, want fs.ErrNotExist", err)
	}
}

func TestIsReading(t *testing.T) {
	l := openTestLog(t)
	if l.reader.IsReading() {
		t.Error("IsReading() without a step = true, want false")
	}
	slot, err := l.reader.readSteps.acquire(t.Context(), addrA)
	must(t, err)
	if !l.reader.IsReading() {
		t.Error("IsReading() during a step = false, want true")
	}
	l.reader.readSteps.release(slot, addrA)
	if l.reader.IsReading() {
		t.Error("IsReading() after the step = true, want false")
	}
}
