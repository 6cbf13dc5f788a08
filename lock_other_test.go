//go:build !windows

package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// A link at the path of the lock is not followed, so that another user who can write
// to the directory cannot make the service create the link's target.
func TestLockRefusesLink(t *testing.T) {
	dir := t.TempDir()
	path, target := filepath.Join(dir, "logs.db"), filepath.Join(dir, "target")
	must(t, os.Symlink(target, path+"-lock"))
	if lock, err := lockInstance(path); err == nil {
		lock.Close()
		t.Error("got no error, want one")
	}
	if _, err := os.Lstat(target); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("stat of the link's target: got error %v, want %v", err, os.ErrNotExist)
	}
}
