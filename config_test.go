package main

import (
	"bytes"
	"errors"
	"flag"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"log-ingester/internal/entry"
)

func TestConfigDefaults(t *testing.T) {
	got, err := parseTest(t, nil)
	must(t, err)
	want := config{
		addr: ":3002", db: "logs.db", level: levelFlag{entry.LevelError}, synchronous: "full",
		maxBody: 16 << 20, queue: 8 << 20, memory: 64 << 20, drainTimeout: 30 * time.Second, fastPath: true,
	}
	if !reflect.DeepEqual(*got, want) {
		t.Errorf("got %+v\nwant %+v", *got, want)
	}
}

// Each flag can be set by its environment variable too, and the flag takes
// precedence.
func TestConfigEnvironment(t *testing.T) {
	values := map[string]struct{ env, flag string }{
		"addr":            {env: ":1", flag: ":2"},
		"db":              {env: "a", flag: "b"},
		"level":           {env: "warn", flag: "info"},
		"synchronous":     {env: "off", flag: "normal"},
		"max-body":        {env: "1", flag: "2"},
		"queue":           {env: "3KiB", flag: "4kb"},
		"memory":          {env: "5GiB", flag: "6MB"},
		"retain":          {env: "1h", flag: "2h"},
		"max-db":          {env: "7MiB", flag: "8MiB"},
		"drain-timeout":   {env: "1s", flag: "2s"},
		"tls-cert":        {env: "c", flag: "d"},
		"tls-key":         {env: "k", flag: "l"},
		"api-keys-file":   {env: "f", flag: "g"},
		"trusted-proxies": {env: "10.1.2.3/8, fe80::1%eth0", flag: "192.0.2.1"},
		"fast-path":       {env: "false", flag: "true"},
		"healthcheck":     {env: "true", flag: "false"},
		"version":         {env: "true", flag: "false"},
	}
	env := map[string]string{"LOG_INGESTER_API_KEYS": "secret"}
	var args []string
	new(config).flags().VisitAll(func(f *flag.Flag) {
		v, ok := values[f.Name]
		if !ok {
			t.Errorf("-%s: got no values in this test, want one for the environment and one for the flag", f.Name)
		}
		env["LOG_INGESTER_"+strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))] = v.env
		args = append(args, "-"+f.Name+"="+v.flag)
	})
	got, err := parseTest(t, env)
	must(t, err)
	want := config{
		addr: ":1", db: "a", level: levelFlag{entry.LevelWarn}, synchronous: "off", maxBody: 1, queue: 3072, memory: 5 << 30,
		retain: ageFlag(time.Hour), maxDB: 7 << 20, drainTimeout: time.Second, tlsCert: "c", tlsKey: "k", apiKeysFile: "f",
		trustedProxies: networksFlag{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fe80::1/128")},
		healthcheck:    true, version: true, apiKeys: "secret",
	}
	if !reflect.DeepEqual(*got, want) {
		t.Errorf("environment: got %+v\nwant %+v", *got, want)
	}
	got, err = parseTest(t, env, args...)
	must(t, err)
	want = config{
		addr: ":2", db: "b", level: levelFlag{entry.LevelInfo}, synchronous: "normal", maxBody: 2, queue: 4000, memory: 6e6,
		retain: ageFlag(2 * time.Hour), maxDB: 8 << 20, drainTimeout: 2 * time.Second, tlsCert: "d", tlsKey: "l", apiKeysFile: "g",
		trustedProxies: networksFlag{netip.MustParsePrefix("192.0.2.1/32")}, fastPath: true, apiKeys: "secret",
	}
	if !reflect.DeepEqual(*got, want) {
		t.Errorf("flags: got %+v\nwant %+v", *got, want)
	}
}

// An invalid configuration ends the process with status 2, and one line that
// names the flag or the variable.
func TestInvalidConfig(t *testing.T) {
	for _, c := range []struct {
		env  string // NAME=VALUE
		args string
		want string // in stderr
	}{
		{args: "-level loud", want: "-level"},
		{args: "-synchronous maybe", want: "-synchronous"},
		{args: "-max-body -1", want: "-max-body"},
		{args: "-max-body 0", want: "-max-body"},
		{args: "-max-body 257MiB -memory 9GiB", want: "-max-body"},
		{args: "-max-body 40MiB", want: "-memory"},
		{args: "-queue many", want: "-queue"},
		{args: "-queue 0", want: "-queue"},
		{args: "-queue 99999999999GiB", want: "-queue"},
		{args: "-memory 65GiB", want: "-memory"},
		{args: "-addr 3002", want: "-addr"},
		{args: "-addr localhost:65536", want: "-addr"},
		{args: "-max-db 8", want: "-max-db"},
		{args: "-drain-timeout 0", want: "-drain-timeout"},
		{args: "-retain -1h", want: "-retain"},
		{args: "-retain 1week", want: "-retain"},
		{args: "-tls-cert a", want: "-tls-key"},
		{args: "-nonsense", want: "-nonsense"},
		{args: "logs.db", want: "logs.db"},
		{env: "LOG_INGESTER_MAX_BODY=x", want: "LOG_INGESTER_MAX_BODY"},
		{env: "LOG_INGESTER_LEVEL=x", args: "-level info", want: "LOG_INGESTER_LEVEL"},
	} {
		t.Run(strings.TrimSpace(c.env+" "+c.args), func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			name, value, _ := strings.Cut(c.env, "=")
			getenv := func(s string) string { return map[string]string{name: value}[s] }
			status := run(strings.Fields(c.args), getenv, &stdout, &stderr)
			text := stderr.String()
			if status != 2 || !strings.Contains(text, c.want) || strings.Count(text, "\n") != 1 {
				t.Errorf("got exit status %d and stderr %q, want 2 and one line with %s", status, text, c.want)
			}
			if stdout.Len() > 0 {
				t.Errorf("got stdout %q, want none", stdout.String())
			}
		})
	}
}

// The queue uses memory of the budget, so it cannot be larger.
func TestQueueLimitedByMemory(t *testing.T) {
	got, err := parseTest(t, nil, "-queue", "1000GiB", "-memory", "40MiB")
	must(t, err)
	if got.queue != 40<<20 {
		t.Errorf("got a queue of %v, want 40MiB", &got.queue)
	}
}

// -h prints all flags and their variables, even if a variable is invalid.
func TestHelp(t *testing.T) {
	var stdout, stderr bytes.Buffer
	getenv := func(name string) string { return map[string]string{"LOG_INGESTER_LEVEL": "x"}[name] }
	if status := run([]string{"-h"}, getenv, &stdout, &stderr); status != 0 || stderr.Len() > 0 {
		t.Errorf("got exit status %d and stderr %q, want 0 and none", status, stderr.String())
	}
	new(config).flags().VisitAll(func(f *flag.Flag) {
		for _, want := range []string{"-" + f.Name + " ", envName(f.Name) + "\n"} {
			if !strings.Contains(stdout.String(), want) {
				t.Errorf("got no %q in stdout", want)
			}
		}
	})
	if _, err := parseTest(t, nil, "-help"); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-help: got error %v, want %v", err, flag.ErrHelp)
	}
}

func TestByteSize(t *testing.T) {
	for text, want := range map[string]byteSize{
		"0": 0, "17": 17, "17B": 17, "1KiB": 1024, "2 MiB": 2 << 20, "3gib": 3 << 30, "4KB": 4000, "5MB": 5e6, "6GB": 6e9,
	} {
		var b, parsed byteSize
		if err := b.Set(text); err != nil || b != want {
			t.Errorf("%q: got %d and error %v, want %d", text, b, err, want)
		}
		if err := parsed.Set(b.String()); err != nil || parsed != b {
			t.Errorf("%q: got string %q, which has the size %d", text, b.String(), parsed)
		}
	}
	for _, text := range []string{"", "B", "-1", "1.5MiB", "1TiB", "MiB"} {
		var b byteSize
		if err := b.Set(text); err == nil {
			t.Errorf("%q: got %d, want an error", text, b)
		}
	}
}

func TestAges(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "720h": 720 * time.Hour, "30d": 720 * time.Hour, "1.5d": 36 * time.Hour, "90m": 90 * time.Minute,
	} {
		c, err := parseTest(t, nil, "-retain", text)
		if err != nil || time.Duration(c.retain) != want {
			t.Errorf("-retain %s: got %v and error %v, want %v", text, c, err, want)
		}
	}
	for _, text := range []string{"-1h", "-1d", "d", "1w", "NaNd", "200000d", "30 d"} {
		if _, err := parseTest(t, nil, "-retain", text); err == nil {
			t.Errorf("-retain %s: got no error, want one", text)
		}
	}
}

func TestUnknownVariables(t *testing.T) {
	got := unknownVariables([]string{
		"LOG_INGESTER_MAXBODY=1", "LOG_INGESTER_MAX_BODY=1", "LOG_INGESTER_API_KEYS=a", "PATH=/bin", "LOG_INGESTER_=", "LOG_INGESTER_FAST_PATH=false",
	})
	if want := []string{"LOG_INGESTER_", "LOG_INGESTER_MAXBODY"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
