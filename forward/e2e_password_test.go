//go:build unix

package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// A wrong address or a failed login must not print the password.
func TestPasswordNeverPrinted(t *testing.T) {
	const password = "hunter2secret"
	p := sharedPostgres(t)
	execPostgres(t, p.address("postgres"), "CREATE ROLE outsider LOGIN PASSWORD 'another'")
	path := filepath.Join(t.TempDir(), "logs.db")
	newLogsDB(t, path)
	for name, address := range map[string]string{
		"wrong password":       "postgres:///postgres?host=" + p.dir + "&user=outsider&password=" + password,
		"wrong password, DSN":  "host=" + p.dir + " dbname=postgres user=outsider password=" + password,
		"no such database":     "postgres:///nowhere?host=" + p.dir + "&user=postgres&password=" + password,
		"invalid port":         "postgres://u:" + password + "@h:port/d",
		"invalid escape":       "postgres://u:" + password + "%zz@h/d",
		"slash in password":    "postgres://u:" + password + "/x@h/d",
		"space in password":    "postgres://u:" + password + " x@h/d",
		"invalid option":       "postgres://u:" + password + "@h/d?sslmode=maybe",
		"invalid DSN":          "user=u password='" + password,
		"password, no address": password,
	} {
		t.Run(name, func(t *testing.T) {
			for _, inEnvironment := range []bool{false, true} {
				args := []string{"-once", "-db", path, "-to", address}
				if inEnvironment {
					t.Setenv("FORWARD_TO", address)
					args = args[:3]
				}
				code, out := runForward(t, args...)
				if code == 0 || strings.Contains(out, password) || out == "" {
					t.Errorf("in the environment: %v: got exit code %d, want an error without the password:\n%s", inEnvironment, code, out)
				}
			}
			if _, out := runForward(t, "-once", address); strings.Contains(out, password) {
				t.Errorf("address without -to: got the password in the output:\n%s", out)
			}
			if _, out := runForward(t, "-h"); strings.Contains(out, password) {
				t.Errorf("-h: got the password in the output:\n%s", out)
			}
		})
	}
	t.Run("unreachable", func(t *testing.T) {
		f := startProcess(t, "-db", path, "-to", "postgres://u:"+password+"@/d?host="+t.TempDir())
		f.waitForOutput(t, "retrying")
		f.terminate(t)
		if out := f.out.String(); strings.Contains(out, password) {
			t.Errorf("got the password in the output:\n%s", out)
		}
	})
}
