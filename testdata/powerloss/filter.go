//go:build linux && amd64

package main

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// filterArgument as the first argument makes this program install the filter and
// execute the other arguments.
const filterArgument = "execute-filtered"

func init() {
	if len(os.Args) > 1 && os.Args[1] == filterArgument {
		runtime.LockOSThread() // the filter applies to this thread, the only one that is traced
		err := executeFiltered(os.Args[2:])
		fmt.Fprintln(os.Stderr, "powerloss:", err)
		os.Exit(1)
	}
}

// executeFiltered replaces the process with the program args, whose traced
// system calls stop it.
func executeFiltered(args []string) error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("prohibit new privileges: %w", err)
	}
	filter := filterOf(tracedCalls)
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0)
	if err != nil {
		return fmt.Errorf("install seccomp filter: %w", err)
	}
	return fmt.Errorf("execute %s: %w", args[0], syscall.Exec(args[0], args, os.Environ()))
}

// filterOf returns a seccomp filter that stops the process at the given system
// calls, and only there: stopping at all would be much slower.
func filterOf(calls []uintptr) []unix.SockFilter {
	const numberOffset = 0 // of the system call's number in struct seccomp_data
	filter := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: numberOffset}}
	for i, nr := range calls {
		filter = append(filter, unix.SockFilter{
			Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K,
			Jt:   uint8(len(calls) - i), // to the last instruction
			K:    uint32(nr),
		})
	}
	return append(filter,
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_TRACE},
	)
}
