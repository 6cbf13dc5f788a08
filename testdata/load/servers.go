package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"log-ingester/internal/proctest"
)

// A server is a program that receives logs over HTTP.
type server struct {
	name    string
	path    string // of the URL that accepts logs
	tls     bool
	env     []string
	headers []string // of each request
	command func(cfg *config, dir, addr string, tls bool) ([]string, error)
	flags   []string // more arguments
	peer    bool     // not a part of this project, and may be missing
}

var (
	fasthttpEmpty = emptyServer("fasthttp, empty handler", "fasthttp")
	netHTTPEmpty  = emptyServer("net/http, empty handler", "net/http")
	netHTTPJSON   = emptyServer("net/http, only the response", "net/http-json")
	fastPathEmpty = emptyServer("fast path, empty handler", "fastpath")
	service       = server{name: "the service", path: "/ingest", command: serviceCommand}
	victoriaLogs  = server{
		name: "VictoriaLogs", command: victoriaLogsCommand, peer: true,
		path: "/insert/jsonline?_stream_fields=service&_msg_field=message&_time_field=timestamp",
	}
	fluentBit = server{name: "Fluent Bit, grep and file", path: "/logs", command: fluentBitCommand, peer: true}
)

func emptyServer(name, kind string) server {
	return server{name: name, path: "/ingest", command: func(cfg *config, _, addr string, tls bool) ([]string, error) {
		self, err := os.Executable()
		args := []string{self, "serve", kind, addr}
		if tls {
			args = append(args, cfg.path("cert.pem"), cfg.path("key.pem"))
		}
		return args, err
	}}
}

func (s server) withTLS() server {
	s.tls = true
	return s
}

func (s server) with(name string, flags ...string) server {
	s.name, s.flags = name, flags
	return s
}

func (s server) withKey() server {
	s.name += ", with an API key"
	s.env = []string{"LOG_INGESTER_API_KEYS=0123456789abcdef0123456789abcdef"}
	s.headers = []string{"Authorization: Bearer 0123456789abcdef0123456789abcdef"}
	return s
}

func serviceCommand(cfg *config, dir, addr string, tls bool) ([]string, error) {
	args := []string{cfg.service, "-addr", addr, "-db", filepath.Join(dir, "logs.db")}
	if tls {
		args = append(args, "-tls-cert", cfg.path("cert.pem"), "-tls-key", cfg.path("key.pem"))
	}
	return args, nil
}

func victoriaLogsCommand(cfg *config, dir, addr string, _ bool) ([]string, error) {
	return []string{cfg.victoriaLogs, "-httpListenAddr=" + addr, "-storageDataPath=" + dir}, nil
}

// fluentBitCommand returns the command of Fluent Bit, which writes to a file the entries
// that the service would keep.
func fluentBitCommand(cfg *config, dir, addr string, _ bool) ([]string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "fluent-bit.conf")
	text := fmt.Sprintf("[SERVICE]\n flush 0.2\n[INPUT]\n name http\n listen %s\n port %s\n buffer_max_size 16M\n"+
		"[FILTER]\n name grep\n match *\n regex level ^error$\n[OUTPUT]\n name file\n match *\n path %s\n file out\n",
		host, port, dir)
	return []string{cfg.fluentBit, "-q", "-c", path}, os.WriteFile(path, []byte(text), 0o600)
}

// A process is a running server.
type process struct {
	server server
	cmd    *exec.Cmd
	url    string
	dir    string
	log    *os.File
	exited chan struct{}
}

const startTimeout = 10 * time.Second

// start starts a server with an empty directory, and waits until it accepts
// connections.
func (cfg *config) start(s server) (*process, error) {
	dir, err := os.MkdirTemp(cfg.dir, "server")
	if err != nil {
		return nil, err
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	args, err := s.command(cfg, dir, addr, s.tls)
	if err != nil {
		return nil, fmt.Errorf("configure %s: %w", s.name, err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	p := &process{server: s, url: "http://" + addr + s.path, dir: dir, log: log, exited: make(chan struct{})}
	if s.tls {
		p.url = "https://" + addr + s.path
	}
	p.cmd = exec.CommandContext(cfg.ctx, args[0], slices.Concat(args[1:], s.flags)...)
	p.cmd.Env = append(os.Environ(), s.env...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", s.name, err)
	}
	go func() {
		p.cmd.Wait() // the status does not matter: stop may kill the process
		close(p.exited)
	}()
	if err := p.await(addr); err != nil {
		text, _ := os.ReadFile(log.Name()) // only for the error text
		p.stop()
		return nil, fmt.Errorf("start %s: %w\n%s", s.name, err, text)
	}
	return p, nil
}

// freeAddr returns a loopback address that no server uses.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// await waits until the process accepts connections.
func (p *process) await(addr string) error {
	for start := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-p.exited:
			return fmt.Errorf("it exited: %v", p.cmd.ProcessState)
		default:
		}
		if time.Since(start) > startTimeout {
			return err
		}
	}
}

// stop ends the process and deletes its files.
func (p *process) stop() {
	if p.server.peer {
		p.cmd.Process.Kill() // fails only if it has exited
	} else {
		p.cmd.Process.Signal(syscall.SIGTERM)
	}
	select {
	case <-p.exited:
	case <-time.After(startTimeout):
		p.cmd.Process.Kill()
		<-p.exited
	}
	p.log.Close()
	os.RemoveAll(p.dir) // the temporary directory is deleted at the end, too
}

// processorTime returns how much processor time the process has used.
func (p *process) processorTime() (time.Duration, error) {
	return proctest.ProcessorTime(p.cmd.Process.Pid)
}

// idleTime returns the processor time once the process is idle, so that it includes
// the work after the last response. It waits at most 5 s.
func (p *process) idleTime() (time.Duration, error) {
	last, err := p.processorTime()
	for range 25 {
		if err != nil {
			return 0, err
		}
		time.Sleep(200 * time.Millisecond)
		before := last
		if last, err = p.processorTime(); last-before <= 2*proctest.Tick {
			break
		}
	}
	return last, err
}

// peakMemory returns the largest resident memory of the process so far, in bytes.
func (p *process) peakMemory() (int64, error) { return proctest.PeakMemory(p.cmd.Process.Pid) }

// writeCertificate writes a self-signed certificate for loopback.
func (cfg *config) writeCertificate() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "load"},
		NotAfter:     time.Now().Add(24 * time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	cert, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := writePEM(cfg.path("cert.pem"), "CERTIFICATE", cert); err != nil {
		return err
	}
	return writePEM(cfg.path("key.pem"), "PRIVATE KEY", private)
}

func writePEM(path, kind string, data []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}), 0o600)
}
