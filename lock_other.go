//go:build !windows

package main

import (
	"errors"
	"os"
	"syscall"
)

// lockFile creates path and locks it for this process. The lock ends when the
// file is closed or the process exits. If another process has locked the file,
// lockFile returns nil and no error. It does not follow a symbolic link, which
// another user could have made.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, f.Close()
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
