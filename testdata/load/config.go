package main

import (
	"context"
	"path/filepath"
	"time"
)

// A config has the values of the flags.
type config struct {
	service      string
	victoriaLogs string
	fluentBit    string
	rounds       int
	duration     time.Duration
	rows         int64  // of the row sustained
	dir          string // temporary files

	ctx context.Context // done when the program is interrupted, which kills all servers and clients
}

// path returns the path of a temporary file.
func (cfg *config) path(name string) string { return filepath.Join(cfg.dir, name) }
