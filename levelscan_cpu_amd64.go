//go:build !purego

package main

import "github.com/klauspost/cpuid/v2"

// useAVX2 selects the implementation. It requires every instruction set that
// levelscan_amd64.s uses, and for AVX2 the support of the operating system.
var useAVX2 = cpuid.CPU.Supports(cpuid.AVX2, cpuid.BMI1, cpuid.CLMUL, cpuid.POPCNT)

// skipSpaceBlocks skips white space at body[i:] as long as there are 32 bytes. It
// returns the offset of the first other byte, or one with fewer bytes after it.
//
//go:noescape
func skipSpaceBlocks(body []byte, i int) int
