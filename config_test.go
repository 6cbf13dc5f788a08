package main

import (
	"bytes"
	"errors"
	"flag"
	"log-ingester/internal/entry"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestDefaults(t *testing.T) {
	c, err := parseTest(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := config{
		addr: ":3002", db: "logs.db", level: levelFlag{entry.LevelError}, synchronous: "full",
		maxBody: 16 << 20, queue: 8 << 20, memory: 64 << 20, drainTimeout: 30 * time.Second, fastPath: true,
	}
	if !reflect.DeepEqual(*c, want) {
		t.Errorf("got %+v\nwant %+v", *c, want)
	}
}

// Every flag can be set by its environment variable, and wins over it.
func TestEnvironment(t *testing.T) {
	values := map[string][2]string{
		"addr": {":1", ":2"}, "db": {"a", "b"}, "level": {"warn", "info"}, "synchronous": {"off", "normal"},
		"max-body": {"1", "2"}, "queue": {"3KiB", "4kb"}, "memory": {"5GiB", "6MB"}, "retain": {"1h", "2h"},
		"max-db": {"7MiB", "8MiB"}, "drain-timeout": {"1s", "2s"}, "tls-cert": {"c", "d"}, "tls-key": {"k", "l"},
		"api-keys-file": {"f", "g"}, "fast-path": {"false", "true"}, "healthcheck": {"true", "false"}, "version": {"true", "false"},
	}
	env := map[string]string{}
	var args []string
	new(config).flags().VisitAll(func(f *flag.Flag) {
		v, ok := values[f.Name]
		if !ok {
			t.Errorf("-%s is not tested here", f.Name)
		}
		env["LOG_INGESTER_"+strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))] = v[0]
		args = append(args, "-"+f.Name+"="+v[1])
	})
	env["LOG_INGESTER_API_KEYS"] = "secret"
	got, err := parseTest(t, env)
	if err != nil {
		t.Fatal(err)
	}
	want := config{addr: ":1", db: "a", level: levelFlag{entry.LevelWarn}, synchronous: "off", maxBody: 1, queue: 3072,
		memory: 5 << 30, retain: time.Hour, maxDB: 7 << 20, drainTimeout: time.Second, tlsCert: "c", tlsKey: "k",
		apiKeysFile: "f", healthcheck: true, version: true, apiKeys: "secret"}
	if !reflect.DeepEqual(*got, want) {
		t.Errorf("environment: got %+v\nwant %+v", *got, want)
	}
	got, err = parseTest(t, env, args...)
	if err != nil {
		t.Fatal(err)
	}
	want = config{addr: ":2", db: "b", level: levelFlag{entry.LevelInfo}, synchronous: "normal", maxBody: 2, queue: 4000,
		memory: 6e6, retain: 2 * time.Hour, maxDB: 8 << 20, drainTimeout: 2 * time.Second, tlsCert: "d", tlsKey: "l",
		apiKeysFile: "g", fastPath: true, apiKeys: "secret"}
	if !reflect.DeepEqual(*got, want) {
		t.Errorf("flags: got %+v\nwant %+v", *got, want)
	}
}

// A wrong value ends the start with one line that names it, and status 2.
func TestWrongConfig(t *testing.T) {
	for _, c := range []struct {
		env  map[string]string
		args []string
		says string
	}{
		{nil, []string{"-level", "loud"}, "-level"},
		{nil, []string{"-synchronous", "maybe"}, "-synchronous"},
		{nil, []string{"-max-body", "-1"}, "-max-body"},
		{nil, []string{"-max-body", "0"}, "-max-body"},
		{nil, []string{"-max-body", "257MiB", "-memory", "9GiB"}, "-max-body"},
		{nil, []string{"-max-body", "40MiB"}, "-memory"},
		{nil, []string{"-queue", "many"}, "-queue"},
		{nil, []string{"-queue", "0"}, "-queue"},
		{nil, []string{"-queue", "99999999999GiB"}, "-queue"},
		{nil, []string{"-memory", "65GiB"}, "-memory"},
		{nil, []string{"-addr", "3002"}, "-addr"},
		{nil, []string{"-addr", "localhost:65536"}, "-addr"},
		{nil, []string{"-max-db", "8"}, "-max-db"},
		{nil, []string{"-drain-timeout", "0"}, "-drain-timeout"},
		{nil, []string{"-retain", "-1h"}, "-retain"},
		{nil, []string{"-retain", "1 week"}, "-retain"},
		{nil, []string{"-tls-cert", "a"}, "-tls-key"},
		{nil, []string{"-nonsense"}, "-nonsense"},
		{nil, []string{"logs.db"}, "logs.db"},
		{map[string]string{"LOG_INGESTER_MAX_BODY": "x"}, nil, "LOG_INGESTER_MAX_BODY"},
		{map[string]string{"LOG_INGESTER_LEVEL": "x"}, []string{"-level", "info"}, "LOG_INGESTER_LEVEL"},
	} {
		var stdout, stderr bytes.Buffer
		getenv := func(name string) string { return c.env[name] }
		status := run(c.args, getenv, &stdout, &stderr)
		text := stderr.String()
		if status != 2 || !strings.Contains(text, c.says) || strings.Count(text, "\n") != 1 || stdout.Len() > 0 {
			t.Errorf("%v %v: status %d, %q %q", c.env, c.args, status, text, stdout.String())
		}
	}
}

// The queue takes its room from -memory.
func TestQueueWithinMemory(t *testing.T) {
	c, err := parseTest(t, nil, "-queue", "1000GiB", "-memory", "40MiB")
	if err != nil || c.queue != 40<<20 {
		t.Errorf("a queue of %v, %v", &c.queue, err)
	}
}

func TestHelp(t *testing.T) {
	var stdout, stderr bytes.Buffer
	getenv := func(name string) string { return map[string]string{"LOG_INGESTER_LEVEL": "x"}[name] }
	if status := run([]string{"-h"}, getenv, &stdout, &stderr); status != 0 || stderr.Len() > 0 {
		t.Errorf("status %d, %s", status, stderr.String())
	}
	new(config).flags().VisitAll(func(f *flag.Flag) {
		for _, want := range []string{"-" + f.Name + " ", envName(f.Name) + "\n"} {
			if !strings.Contains(stdout.String(), want) {
				t.Errorf("-h does not say %q", want)
			}
		}
	})
	if _, err := parseTest(t, nil, "-help"); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-help: %v", err)
	}
}

func TestByteSizes(t *testing.T) {
	for text, want := range map[string]byteSize{
		"0": 0, "17": 17, "17B": 17, "1KiB": 1024, "2 MiB": 2 << 20, "3gib": 3 << 30, "4KB": 4000, "5MB": 5e6, "6GB": 6e9,
	} {
		var b byteSize
		if err := b.Set(text); err != nil || b != want {
			t.Errorf("%q: %d, %v", text, b, err)
		}
		var again byteSize
		if err := again.Set(b.String()); err != nil || again != b {
			t.Errorf("%q prints as %q", text, b.String())
		}
	}
	for _, text := range []string{"", "B", "-1", "1.5MiB", "1TiB", "MiB"} {
		if err := new(byteSize).Set(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}
