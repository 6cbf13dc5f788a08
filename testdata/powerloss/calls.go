//go:build linux && amd64

package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// tracedCalls are the system calls that create, change, sync or rename files, or
// that send data to a client. The recording fails if the service uses one that
// the tracer does not support on a file of the data directory.
var tracedCalls = []uintptr{
	unix.SYS_OPEN, unix.SYS_OPENAT, unix.SYS_OPENAT2, unix.SYS_CREAT,
	unix.SYS_WRITE, unix.SYS_PWRITE64, unix.SYS_WRITEV, unix.SYS_PWRITEV, unix.SYS_PWRITEV2,
	unix.SYS_FTRUNCATE, unix.SYS_TRUNCATE, unix.SYS_FALLOCATE, unix.SYS_MMAP,
	unix.SYS_SENDFILE, unix.SYS_SPLICE, unix.SYS_COPY_FILE_RANGE, unix.SYS_IO_URING_SETUP,
	unix.SYS_FSYNC, unix.SYS_FDATASYNC,
	unix.SYS_UNLINK, unix.SYS_UNLINKAT, unix.SYS_RENAME, unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2,
	unix.SYS_LINK, unix.SYS_LINKAT, unix.SYS_SYMLINK, unix.SYS_SYMLINKAT, unix.SYS_MKDIR, unix.SYS_MKDIRAT,
	unix.SYS_ACCEPT4,
}

// A call is a system call in progress.
type call struct {
	nr    uintptr
	args  [6]uint64
	name  string // of a file in the data directory
	other string // a second one
	file  fileID
	dir   bool // the descriptor is the data directory's
	start int  // number of events before the call
}

func (c *call) fd() int { return int(int32(c.args[0])) }

// An inspector reads the system calls of a stopped process and records them.
type inspector struct {
	r     *recorder
	pid   int
	ports map[int]uint16 // port of the client, by descriptor of the connection
}

func newInspector(r *recorder) inspector { return inspector{r: r, ports: map[int]uint16{}} }

// begin decides at the start of a system call how to continue: it returns a call
// to be notified of its end, or an error with which the call must fail. It
// records responses at once, because the client can receive them before the
// call returns.
func (p *inspector) begin(regs *unix.PtraceRegs) (*call, syscall.Errno) {
	c := &call{
		nr:    uintptr(regs.Orig_rax),
		args:  [6]uint64{regs.Rdi, regs.Rsi, regs.Rdx, regs.R10, regs.R8, regs.R9},
		start: len(p.r.events),
	}
	relevant, errno, err := p.inspect(c)
	if err != nil {
		p.r.err = fmt.Errorf("system call %d: %w", c.nr, err)
	}
	if !relevant {
		return nil, errno
	}
	return c, errno
}

// inspect reads the arguments of c, and reports whether c concerns the data
// directory.
func (p *inspector) inspect(c *call) (relevant bool, errno syscall.Errno, err error) {
	switch c.nr {
	case unix.SYS_ACCEPT4:
		return true, 0, nil
	case unix.SYS_OPEN, unix.SYS_CREAT, unix.SYS_UNLINK:
		relevant, err = p.path(&c.name, c.args[0])
	case unix.SYS_OPENAT, unix.SYS_UNLINKAT:
		relevant, err = p.path(&c.name, c.args[1])
	case unix.SYS_RENAME:
		relevant, err = p.twoPaths(c, c.args[0], c.args[1])
	case unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2:
		relevant, err = p.twoPaths(c, c.args[1], c.args[3])
	case unix.SYS_WRITE, unix.SYS_PWRITE64:
		return p.inspectWrite(c)
	case unix.SYS_FSYNC, unix.SYS_FDATASYNC:
		relevant = p.descriptor(c)
		if relevant && !c.dir && p.r.failSyncs > 0 && p.r.isWAL(c.file) {
			p.r.failSyncs--
			p.r.add(event{Kind: evSync, File: c.file, Start: c.start, Failed: true})
			errno = unix.EIO
		}
	case unix.SYS_FTRUNCATE:
		relevant = p.descriptor(c)
	case unix.SYS_MMAP:
		err = p.inspectMapping(c)
	default:
		err = p.inspectUnsupported(c)
	}
	return relevant, errno, err
}

// inspectWrite records a write to a client, and lets a write to a file fail if
// the disk is full.
func (p *inspector) inspectWrite(c *call) (relevant bool, errno syscall.Errno, err error) {
	if port, ok := p.ports[c.fd()]; ok {
		head, err := p.readMemory(uintptr(c.args[1]), min(int(c.args[2]), len("HTTP/1.1 200 ")))
		p.r.responded(port, string(head))
		return false, 0, err
	}
	if !p.descriptor(c) {
		return false, 0, nil
	}
	if c.nr == unix.SYS_WRITE {
		if c.args[3], err = p.position(c.fd()); err != nil {
			return true, 0, err
		}
	}
	if p.r.full(c.file, int64(c.args[3]+c.args[2])) {
		errno = unix.ENOSPC
	}
	return true, errno, nil
}

// inspectMapping returns an error if a file other than the WAL's index is mapped
// for writing, because such writes are not recorded.
func (p *inspector) inspectMapping(c *call) error {
	if c.args[2]&unix.PROT_WRITE == 0 || c.args[3]&unix.MAP_SHARED == 0 || int32(c.args[4]) < 0 {
		return nil
	}
	mapped := call{args: [6]uint64{c.args[4]}}
	if p.descriptor(&mapped) && !p.r.files[mapped.file].index {
		return fmt.Errorf("a file is mapped for writing")
	}
	return nil
}

// inspectUnsupported returns an error if c may change the data directory. The
// paths of such calls are not read, so each of these calls is an error, unless
// its first argument is another file's descriptor.
func (p *inspector) inspectUnsupported(c *call) error {
	switch c.nr {
	case unix.SYS_WRITEV, unix.SYS_PWRITEV, unix.SYS_PWRITEV2, unix.SYS_FALLOCATE, unix.SYS_SENDFILE:
		if _, client := p.ports[c.fd()]; !client && !p.descriptor(c) {
			return nil
		}
	}
	return fmt.Errorf("not supported")
}

// path reads a path and stores the name of a file in the data directory in name.
func (p *inspector) path(name *string, address uint64) (relevant bool, err error) {
	path, err := p.readString(uintptr(address))
	if err != nil {
		return false, err
	}
	*name, relevant = p.r.name(path)
	return relevant, nil
}

// twoPaths is path for the two paths of a rename.
func (p *inspector) twoPaths(c *call, from, to uint64) (relevant bool, err error) {
	source, err := p.path(&c.name, from)
	if err != nil {
		return false, err
	}
	target, err := p.path(&c.other, to)
	if err == nil && source != target {
		err = fmt.Errorf("a file is moved into or out of the data directory")
	}
	return source, err
}

// descriptor finds the file of c's descriptor, and reports whether it is in the
// data directory or is the directory.
func (p *inspector) descriptor(c *call) bool {
	link := fmt.Sprintf("/proc/%d/fd/%d", p.pid, c.fd())
	var stat unix.Stat_t
	if unix.Stat(link, &stat) != nil {
		return false // not open
	}
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		path, err := os.Readlink(link)
		c.dir = true
		return err == nil && path == p.r.dir
	case unix.S_IFREG:
		var ok bool
		c.file, ok = p.r.inodes[stat.Ino]
		return ok
	}
	return false
}

// position returns the offset of a descriptor.
func (p *inspector) position(fd int) (uint64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%d", p.pid, fd))
	if err != nil {
		return 0, err
	}
	var position uint64
	_, err = fmt.Sscanf(string(text), "pos: %d", &position)
	return position, err
}

// end records a system call that returned result, which is negative after an
// error.
func (p *inspector) end(c *call, result int64) error {
	sync := c.nr == unix.SYS_FSYNC || c.nr == unix.SYS_FDATASYNC
	if result < 0 && !sync {
		return nil
	}
	switch c.nr {
	case unix.SYS_ACCEPT4:
		return p.accepted(int(result), c)
	case unix.SYS_OPEN, unix.SYS_OPENAT, unix.SYS_CREAT:
		return p.opened(int(result), c)
	case unix.SYS_WRITE, unix.SYS_PWRITE64:
		data, err := p.readMemory(uintptr(c.args[1]), int(result))
		p.r.wrote(c.file, int64(c.args[3]), data)
		return err
	case unix.SYS_FTRUNCATE:
		p.r.truncated(c.file, int64(c.args[1]))
	case unix.SYS_FSYNC, unix.SYS_FDATASYNC:
		kind := evSync
		if c.dir {
			kind = evSyncDir
		}
		p.r.add(event{Kind: kind, File: c.file, Start: c.start, Failed: result < 0})
	case unix.SYS_UNLINK, unix.SYS_UNLINKAT:
		p.r.unlinked(c.name)
	case unix.SYS_RENAME, unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2:
		p.r.renamed(c.name, c.other)
	}
	return nil
}

// accepted records the client of a new connection.
func (p *inspector) accepted(fd int, c *call) error {
	const familyAndPort = 4 // bytes
	address, err := p.readMemory(uintptr(c.args[1]), familyAndPort)
	if err != nil {
		return err
	}
	p.ports[fd] = binary.BigEndian.Uint16(address[2:])
	return nil
}

// opened records a file that was opened and possibly created or truncated.
func (p *inspector) opened(fd int, c *call) error {
	delete(p.ports, fd)
	var stat unix.Stat_t
	if err := unix.Stat(fmt.Sprintf("/proc/%d/fd/%d", p.pid, fd), &stat); err != nil {
		return fmt.Errorf("stat %s: %w", c.name, err)
	}
	p.r.opened(c.name, stat.Ino)
	flags := c.args[1]
	if c.nr == unix.SYS_OPENAT {
		flags = c.args[2]
	}
	id := p.r.names[c.name]
	if (flags&unix.O_TRUNC != 0 || c.nr == unix.SYS_CREAT) && p.r.files[id].size > 0 {
		p.r.truncated(id, 0)
	}
	return nil
}

// readMemory reads n bytes of the program's memory.
func (p *inspector) readMemory(address uintptr, n int) ([]byte, error) {
	data := make([]byte, n)
	if n == 0 {
		return data, nil
	}
	got, err := unix.ProcessVMReadv(p.pid,
		[]unix.Iovec{{Base: &data[0], Len: uint64(n)}},
		[]unix.RemoteIovec{{Base: address, Len: n}}, 0)
	if err != nil {
		return nil, fmt.Errorf("read memory: %w", err)
	}
	return data[:got], nil
}

// readString reads a string that ends with a zero byte.
func (p *inspector) readString(address uintptr) (string, error) {
	for size := 64; ; size *= 2 {
		data, err := p.readMemory(address, size)
		if err != nil {
			return "", err
		}
		if end := bytes.IndexByte(data, 0); end >= 0 {
			return string(data[:end]), nil
		}
		if len(data) < size {
			return "", errors.New("read memory: a string does not end")
		}
	}
}
