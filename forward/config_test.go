//go:build unix

package main

import (
	"os"
	"strings"
	"testing"
)

func TestUsageExitCodes(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		code int
		want string // part of the output
	}{
		{name: "help", args: []string{"-h"}, code: 0, want: "-once"},
		{name: "version", args: []string{"-version"}, code: 0, want: "SQLite 3."},
		{name: "no address", args: nil, code: 2, want: "FORWARD_TO"},
		{name: "unknown flag", args: []string{"-nonsense"}, code: 2, want: "nonsense"},
		{name: "argument", args: []string{"-to", "postgres://h/d", "more"}, code: 2, want: "unexpected argument"},
		{name: "source is not UTF-8", args: []string{"-to", "postgres://h/d", "-source", "a\xffb"}, code: 2, want: "UTF-8"},
		{name: "source is too long", args: []string{"-to", "postgres://h/d", "-source", strings.Repeat("x", 256)}, code: 2, want: "255"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if code, out := runForward(t, c.args...); code != c.code || !strings.Contains(out, c.want) {
				t.Errorf("got exit code %d, want %d and output with %q:\n%s", code, c.code, c.want, out)
			}
		})
	}
}

func TestConfigFromEnvironment(t *testing.T) {
	for name, value := range map[string]string{
		"FORWARD_TO": "postgres://u@h:1234/d", "FORWARD_DB": "other.db", "FORWARD_SOURCE": "web1",
		"FORWARD_ONCE": "true", "FORWARD_METRICS": "127.0.0.1:9",
		"FORWARD_VERSION": "1.2.3", // set by some container images, not for the flag
	} {
		t.Setenv(name, value)
	}
	cfg, err := parseConfig(nil, nil)
	if err != nil || cfg.to.Host != "h" || cfg.to.Port != 1234 || cfg.db != "other.db" || cfg.source != "web1" || !cfg.once || cfg.metrics != "127.0.0.1:9" {
		t.Errorf("got %+v, %v; want the values of the environment", cfg, err)
	}
	cfg, err = parseConfig([]string{"-db", "this.db", "-once=false"}, nil)
	if err != nil || cfg.db != "this.db" || cfg.once || cfg.source != "web1" {
		t.Errorf("got %+v, %v; want the values of the flags before those of the environment", cfg, err)
	}
	t.Setenv("FORWARD_ONCE", "perhaps")
	if _, err = parseConfig(nil, nil); err == nil || !strings.Contains(err.Error(), "FORWARD_ONCE") {
		t.Errorf("FORWARD_ONCE=perhaps: got error %v, want one that names the variable", err)
	}
}

func TestConfigDefaultSource(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		skipOrFail(t, "needs a host name")
	}
	cfg, err := parseConfig([]string{"-to", "postgres://h/d"}, nil)
	if err != nil || cfg.source != host {
		t.Errorf("got source %q, %v; want the host name %q", cfg.source, err, host)
	}
}
