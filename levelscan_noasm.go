//go:build !amd64 || purego

package main

import "log-ingester/internal/entry"

const useAVX2 = false

type avx2Scanner struct{}

func (*avx2Scanner) tryScan(*genericScanner, []byte, entry.Level) bool { return false }

func skipSpaceBlocks(_ []byte, i int) int { return i }
