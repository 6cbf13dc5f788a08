// Package proctest reads what Linux reports about processes, for tests and for programs
// that measure servers.
package proctest

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Tick is the unit of the processor times that Linux reports.
const Tick = 10 * time.Millisecond

// ProcessorTime returns how much processor time a process has used, in user mode and in
// the kernel.
func ProcessorTime(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("read processor time: %w", err)
	}
	// The name in parentheses may contain spaces. utime and stime are the fields 14
	// and 15. https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	var total time.Duration
	for _, field := range fields[11:13] {
		ticks, err := strconv.Atoi(field)
		if err != nil {
			return 0, fmt.Errorf("parse processor time: %w", err)
		}
		total += time.Duration(ticks) * Tick
	}
	return total, nil
}

// PeakMemory returns the largest resident memory that a process has had, in bytes.
func PeakMemory(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("read peak memory: %w", err)
	}
	_, peak, _ := strings.Cut(string(status), "VmHWM:")
	var kibibytes int64 // Linux calls the unit kB
	if _, err := fmt.Sscan(peak, &kibibytes); err != nil {
		return 0, fmt.Errorf("parse peak memory: %w", err)
	}
	return kibibytes << 10, nil
}
