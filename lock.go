package main

import (
	"fmt"
	"os"

	"log-ingester/internal/dbfile"
)

// lockInstance locks the database at path against other instances of this
// program. Two instances would each delete rows for -max-db and -retain.
// Closing the returned file ends the lock. It does not affect readers.
func lockInstance(path string) (*os.File, error) {
	lock, err := lockFile(dbfile.Sidecar(path, "-lock"))
	if lock == nil && err == nil {
		return nil, fmt.Errorf("%s is already used by another log-ingester; stop it or choose another file with -db", path)
	}
	if err != nil {
		return nil, fmt.Errorf("lock database: %w; its directory must be writable", err)
	}
	return lock, nil
}
