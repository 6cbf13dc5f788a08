//go:build linux && amd64

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"regexp"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A process is a running service.
type process struct {
	pid     int
	address string
	exited  <-chan int // receives the exit status
	log     *logBuffer
}

// serviceArgs returns the command line of a service.
func serviceArgs(binary, dir string, flags ...string) []string {
	return append([]string{binary, "-addr", "127.0.0.1:0", "-db", dir + "/" + database}, flags...)
}

// startRecorded starts a service that r records, and waits until it accepts
// logs.
func startRecorded(r *recorder, args []string) (*process, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	log := newLog(read)
	pid, exited, err := startTraced(r, write, args...)
	write.Close() // the service has its own descriptor
	if err != nil {
		return nil, err
	}
	p := &process{pid: pid, exited: exited, log: log}
	p.address, err = log.address()
	if err != nil {
		p.kill()
		return nil, fmt.Errorf("start the service: %w", err)
	}
	return p, nil
}

// terminate sends SIGTERM and waits for the exit with status 0.
func (p *process) terminate() error {
	if err := unix.Kill(p.pid, unix.SIGTERM); err != nil {
		return err
	}
	return p.wait()
}

func (p *process) wait() error {
	select {
	case status := <-p.exited:
		if status != 0 {
			return fmt.Errorf("the service exited with status %d: %s", status, p.log.text())
		}
		return nil
	case <-time.After(timeout):
		p.kill()
		return errors.New("timeout waiting for the exit of the service")
	}
}

// kill kills the service and waits for its exit.
func (p *process) kill() {
	unix.Kill(p.pid, unix.SIGKILL) // it may have exited
	<-p.exited
}

// A logBuffer collects the log of a service.
type logBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
	found  chan string // receives the address
	ended  chan struct{}
}

var listening = regexp.MustCompile(`msg="accepting logs" addr=(\S+)`)

// newLog reads a log until its end.
func newLog(read *os.File) *logBuffer {
	l := &logBuffer{found: make(chan string, 1), ended: make(chan struct{})}
	go func() {
		defer close(l.ended)
		defer read.Close() // it was only read
		for lines := bufio.NewScanner(read); lines.Scan(); {
			l.mu.Lock()
			l.buffer.WriteString(lines.Text() + "\n")
			l.mu.Unlock()
			if m := listening.FindStringSubmatch(lines.Text()); m != nil {
				l.found <- m[1]
			}
		}
	}()
	return l
}

// address waits until the service accepts logs and returns its address.
func (l *logBuffer) address() (string, error) {
	select {
	case address := <-l.found:
		return address, nil
	case <-l.ended:
		return "", fmt.Errorf("it exited: %s", l.text())
	case <-time.After(timeout):
		return "", fmt.Errorf("timeout waiting until it accepts logs: %s", l.text())
	}
}

func (l *logBuffer) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buffer.String()
}

// contains waits until the log contains text.
func (l *logBuffer) contains(text string) error {
	for deadline := time.Now().Add(timeout); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if bytes.Contains([]byte(l.text()), []byte(text)) {
			return nil
		}
	}
	return fmt.Errorf("timeout waiting for %q in the log: %s", text, l.text())
}
