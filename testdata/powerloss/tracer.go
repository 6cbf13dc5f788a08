//go:build linux && amd64

package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// A tracer runs a program, stops it at the system calls that change files or
// send responses, and records them. It is used by one goroutine.
type tracer struct {
	inspector
	calls map[int]*call // in progress, by thread
	seen  map[int]bool  // threads that have stopped before
}

// startTraced starts a program and records it until it exits. Its output goes to
// out. exited receives its exit status, or -1 if a signal ended it.
func startTraced(r *recorder, out *os.File, args ...string) (pid int, exited <-chan int, err error) {
	started := make(chan error)
	done := make(chan int, 1)
	t := &tracer{inspector: newInspector(r), calls: map[int]*call{}, seen: map[int]bool{}}
	go func() {
		runtime.LockOSThread() // only the thread that started a process may trace it
		err := t.start(out, args)
		started <- err
		if err != nil {
			return
		}
		status, err := t.run()
		if err != nil {
			r.fail(fmt.Errorf("trace the service: %w", err))
			unix.Kill(t.pid, unix.SIGKILL) // it may have exited
			status = -1
		}
		r.exited(status, len(t.calls))
		done <- status
	}()
	err = <-started
	return t.pid, done, err
}

// start starts the program with the filter.
func (t *tracer) start(out *os.File, args []string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	argv := append([]string{self, filterArgument}, args...)
	t.pid, err = syscall.ForkExec(self, argv, &syscall.ProcAttr{
		Env:   os.Environ(),
		Files: []uintptr{0, out.Fd(), out.Fd()},
		Sys:   &syscall.SysProcAttr{Ptrace: true},
	})
	if err != nil {
		return fmt.Errorf("start the service under ptrace, which this system or container may prohibit: %w", err)
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(t.pid, &status, unix.WALL, nil); err != nil {
		return fmt.Errorf("wait for the service: %w", err)
	}
	if !status.Stopped() {
		return fmt.Errorf("start the service: wait status %#x", uint32(status))
	}
	if err := unix.PtraceSetOptions(t.pid, optionsBefore); err != nil {
		return fmt.Errorf("set ptrace options: %w", err)
	}
	t.seen[t.pid] = true
	return unix.PtraceCont(t.pid, 0)
}

// The options before the service is executed trace only one thread; later all
// threads are traced.
const (
	optionsBefore = unix.PTRACE_O_EXITKILL | unix.PTRACE_O_TRACESYSGOOD |
		unix.PTRACE_O_TRACEEXEC | unix.PTRACE_O_TRACESECCOMP
	optionsAfter = optionsBefore | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK
)

// run handles the stops of all threads until the program exits.
func (t *tracer) run() (exitStatus int, err error) {
	for {
		var status unix.WaitStatus
		tid, err := unix.Wait4(-1, &status, unix.WALL|unix.WNOTHREAD, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return 0, err
		case tid == t.pid && status.Exited():
			return status.ExitStatus(), nil
		case tid == t.pid && status.Signaled():
			return -1, nil
		case !status.Stopped():
			continue // a thread has exited
		}
		// A thread that was killed meanwhile cannot be continued.
		if err := t.stopped(tid, status); err != nil && !errors.Is(err, unix.ESRCH) {
			return 0, err
		}
	}
}

// stopSyscall is the signal of a stop at the end of a system call.
const stopSyscall = unix.SIGTRAP | 0x80

// stopped handles a stop of a thread and continues it.
func (t *tracer) stopped(tid int, status unix.WaitStatus) error {
	first := !t.seen[tid]
	t.seen[tid] = true
	switch sig := status.StopSignal(); {
	case sig == unix.SIGSTOP && first:
		return unix.PtraceCont(tid, 0) // a new thread
	case sig == stopSyscall:
		return t.leave(tid)
	case sig != unix.SIGTRAP:
		return unix.PtraceCont(tid, int(sig))
	}
	switch status.TrapCause() {
	case unix.PTRACE_EVENT_SECCOMP:
		return t.enter(tid)
	case unix.PTRACE_EVENT_EXEC:
		if err := unix.PtraceSetOptions(tid, optionsAfter); err != nil {
			return err
		}
	}
	return unix.PtraceCont(tid, 0)
}

// enter handles the start of a system call.
func (t *tracer) enter(tid int) error {
	var regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(tid, &regs); err != nil {
		return err
	}
	t.r.mu.Lock()
	c, errno := t.begin(&regs)
	if c != nil && errno == 0 {
		t.calls[tid] = c
		t.r.entered()
	}
	t.r.mu.Unlock()
	switch {
	case errno != 0:
		regs.Orig_rax = ^uint64(0) // the kernel skips the call and returns rax
		regs.Rax = uint64(-int64(errno))
		if err := unix.PtraceSetRegs(tid, &regs); err != nil {
			return err
		}
	case c != nil:
		return unix.PtraceSyscall(tid, 0)
	}
	return unix.PtraceCont(tid, 0)
}

// leave handles the end of a system call.
func (t *tracer) leave(tid int) error {
	var regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(tid, &regs); err != nil {
		return err
	}
	t.r.mu.Lock()
	if c := t.calls[tid]; c != nil {
		delete(t.calls, tid)
		if err := t.end(c, int64(regs.Rax)); err != nil {
			t.r.err = errors.Join(t.r.err, err)
		}
		t.r.left(1)
	}
	t.r.mu.Unlock()
	return unix.PtraceCont(tid, 0)
}
