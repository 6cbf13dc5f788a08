//go:build linux

package examples

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// A shipper is a program that reads the logs of other programs. It runs in a
// directory with copies of the files of the example.
type shipper struct {
	name      string
	dir       string // of the example; name if empty
	installed func() bool
	inCI      bool   // CI installs it, so it must be there
	config    string // of a file test.conf, in which DIR is the directory
	command   []string
	feed      func(t *testing.T, dir, level, message string)
	// replace has pairs of strings: in the files, the second one replaces the first
	// one. DIR is the directory.
	replace []string
	// errorLevel is the stored level of a message with the level err; err if empty.
	errorLevel string
	// persistent reports whether lines that wait survive a restart of the shipper.
	persistent bool
}

var shippers = []shipper{
	{
		name:      "syslog-ng",
		installed: func() bool { return installed("syslog-ng") },
		inCI:      true,
		config: `@version: 3.38
source s_src { unix-dgram("DIR/log"); };
@include "DIR/ingest.conf"
`,
		command: []string{"syslog-ng", "-F", "-f", "test.conf", "-R", "persist", "-p", "pid", "-c", "control", "--no-caps"},
		feed:    feedSyslog,
	},
	{
		name:      "rsyslog",
		installed: omhttpInstalled,
		config: `global(workDirectory="DIR")
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="DIR/log")
include(file="DIR/ingest.conf")
`,
		command: []string{"rsyslogd", "-n", "-f", "test.conf", "-i", "pid"},
		feed:    feedSyslog,
	},
	{
		name:       "fluent-bit",
		installed:  func() bool { return installed("fluent-bit") },
		command:    []string{"fluent-bit", "-c", "fluent-bit.yaml"},
		feed:       feedFile,
		persistent: true,
	},
	{
		name:       "vector",
		installed:  func() bool { return installed("vector") },
		config:     "data_dir: DIR\n",
		command:    []string{"vector", "--config-yaml", "vector.yaml", "--config-yaml", "test.conf"},
		feed:       feedFile,
		persistent: true,
	},
	{
		name:       "fluentd",
		installed:  func() bool { return installed("fluentd") },
		command:    []string{"fluentd", "-c", "fluent.conf"},
		feed:       feedFile,
		persistent: true,
	},
	{
		name:      "logstash",
		installed: func() bool { return installed("logstash") },
		command:   []string{"logstash", "-f", "logstash.conf", "--path.data", "data"},
		feed:      feedFile,
	},
	collector("collector", feedFile),
	collector("docker", feedDocker),
	collector("kubernetes", feedKubernetes),
	collector("journald", feedJournal),
}

const collectorProgram = "../testdata/otlp/clients/collector/out/otelcol"

// collector returns the OpenTelemetry Collector with the configuration of an example.
func collector(config string, feed func(t *testing.T, dir, level, message string)) shipper {
	program, err := filepath.Abs(collectorProgram)
	if err != nil {
		panic(err)
	}
	return shipper{
		name:      "otel-collector/" + config,
		dir:       "otel-collector",
		installed: func() bool { return exists(program) },
		inCI:      true,
		command:   []string{program, "--config", config + ".yaml"},
		feed:      feed,
		replace: []string{
			"4318", "0", "/var/log", "DIR", "/var/lib/docker", "DIR", "journald:\n", "journald:\n    directory: DIR/journal\n",
		},
		errorLevel: "error",
		persistent: true,
	}
}

// omhttpInstalled reports whether rsyslog has its module omhttp, which Debian
// does not build.
func omhttpInstalled() bool {
	for _, dir := range []string{os.Getenv("RSYSLOG_MODDIR"), "/usr/lib/*/rsyslog", "/usr/lib/rsyslog", "/usr/lib64/rsyslog"} {
		if files, _ := filepath.Glob(dir + "/omhttp.so"); len(files) > 0 { // the only error is a bad pattern
			return installed("rsyslogd")
		}
	}
	return false
}

// feedSyslog sends a message to the socket that the shipper listens on. Levels
// are those of syslog.
func feedSyslog(t *testing.T, dir, level, message string) {
	t.Helper()
	severity := slices.Index([]string{"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"}, level)
	const user = 1 << 3 // the facility
	var conn net.Conn
	eventually(t, "the shipper listens", func() bool {
		var err error
		conn, err = net.Dial("unixgram", filepath.Join(dir, "log"))
		return err == nil
	})
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "<%d>%s shop[42]: %s", user+severity, time.Now().Format(time.Stamp), message); err != nil {
		t.Fatal(err)
	}
}

// feedFile adds a line of JSON to app.log.
func feedFile(t *testing.T, dir, level, message string) {
	t.Helper()
	line, err := json.Marshal(map[string]any{"level": level, "message": message, "time": time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	appendLine(t, filepath.Join(dir, "app.log"), line)
}

// feedDocker adds a line of JSON to the log of a container.
func feedDocker(t *testing.T, dir, level, message string) {
	t.Helper()
	line, err := json.Marshal(map[string]any{"level": level, "message": message})
	if err != nil {
		t.Fatal(err)
	}
	appendDockerLine(t, dir, string(line)+"\n")
}

// appendDockerLine adds a line that a container has written, as Docker's driver
// json-file does.
func appendDockerLine(t *testing.T, dir, line string) {
	t.Helper()
	outer, err := json.Marshal(map[string]any{"log": line, "stream": "stdout", "time": time.Now().UTC()})
	if err != nil {
		t.Fatal(err)
	}
	id := strings.Repeat("0123456789abcdef", 4)
	appendLine(t, filepath.Join(dir, "containers", id, id+"-json.log"), outer)
}

// feedKubernetes adds a line of JSON to the log of a pod, as containerd does.
func feedKubernetes(t *testing.T, dir, level, message string) {
	t.Helper()
	line, err := json.Marshal(map[string]any{"level": level, "message": message})
	if err != nil {
		t.Fatal(err)
	}
	outer := append([]byte(time.Now().UTC().Format(time.RFC3339Nano)+" stdout F "), line...)
	pod := "pods/default_shop-0_01234567-89ab-cdef-0123-456789abcdef/shop/0.log"
	appendLine(t, filepath.Join(dir, pod), outer)
}

// feedJournal adds an entry to a file of a journal.
func feedJournal(t *testing.T, dir, level, message string) {
	t.Helper()
	remote := "/lib/systemd/systemd-journal-remote"
	require(t, exists(remote), "systemd-journal-remote")
	journal := filepath.Join(dir, "journal")
	if err := os.MkdirAll(journal, 0o700); err != nil {
		t.Fatal(err)
	}
	priority := map[string]int{"err": 3, "info": 6}[level]
	now := time.Now().UnixMicro()
	length := binary.LittleEndian.AppendUint64(nil, uint64(len(message)))
	entry := fmt.Sprintf(
		"__REALTIME_TIMESTAMP=%d\n__MONOTONIC_TIMESTAMP=%d\n_BOOT_ID=%032x\nPRIORITY=%d\nMESSAGE\n%s%s\n\n",
		now, now, 1, priority, length, message)
	cmd := exec.Command(remote, "--output="+filepath.Join(journal, "test.journal"), "-")
	cmd.Stdin = strings.NewReader(entry)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("adding to the journal: %v\n%s", err, out)
	}
}

// appendLine adds a line to a file, which it creates if necessary.
func appendLine(t *testing.T, path string, line []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(append(line, '\n')); err != nil {
		t.Fatal(err)
	}
}

// A shipper sends its lines again while the service is busy, down or
// restarting, and the service stores each line once.
func TestShipperRetries(t *testing.T) {
	t.Parallel()
	for _, s := range shippers {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			if !s.installed() && !s.inCI {
				t.Log("not installed and in no package registry; TestConfig checks its file")
				return
			}
			require(t, s.installed(), s.name)
			e := newEndpoint(t)
			dir := s.prepare(e)
			stop := e.failRequests(busy, closed)
			p := s.start(t, dir)

			s.feed(t, dir, "err", `"down" at the start`)
			stop()
			e.startService()
			e.waitForRows(1)

			s.feed(t, dir, "info", `up: Zoé \ ✓`)
			e.waitForRows(2)

			e.stopService()
			stop = e.failRequests(closed, busy)
			s.feed(t, dir, "err", "down between")
			stop()
			if s.persistent {
				p.terminate()
				p = s.start(t, dir)
			}
			e.startService()
			e.waitForRows(3)

			p.terminate()
			errorLevel := cmp.Or(s.errorLevel, "err")
			checkRows(t, e.rows(), []row{
				{errorLevel, `"down" at the start`}, {"info", `up: Zoé \ ✓`}, {errorLevel, "down between"},
			})
		})
	}
}

// prepare copies the files of the example and writes those that the test adds.
func (s shipper) prepare(e *endpoint) (dir string) {
	e.t.Helper()
	dir = e.copyExample(cmp.Or(s.dir, s.name), apiKey)
	e.replaceInFiles(dir, s.replace)
	config := strings.ReplaceAll(s.config, "DIR", dir)
	if err := os.WriteFile(filepath.Join(dir, "test.conf"), []byte(config), 0o600); err != nil {
		e.t.Fatal(err)
	}
	return dir
}

// replaceInFiles replaces strings in the files of a directory, and then DIR by the
// directory.
func (e *endpoint) replaceInFiles(dir string, pairs []string) {
	e.t.Helper()
	replace := strings.NewReplacer(pairs...)
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		e.t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			e.t.Fatal(err)
		}
		replaced := strings.ReplaceAll(replace.Replace(string(text)), "DIR", dir)
		if err := os.WriteFile(file, []byte(replaced), 0o600); err != nil {
			e.t.Fatal(err)
		}
	}
}

func (s shipper) start(t *testing.T, dir string) *process {
	t.Helper()
	cmd := exec.Command(s.command[0], s.command[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PWD="+dir)
	return startProcess(t, cmd)
}
