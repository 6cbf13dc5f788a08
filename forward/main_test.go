//go:build unix

package main

import (
	"os"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	if os.Getenv(runAsProgram) != "" {
		main()
	}
	clearEnvironment()
	code := m.Run()
	if sharedServer != nil {
		sharedServer.remove()
	}
	reportSkips(code)
	os.Exit(code)
}

// clearEnvironment removes the variables that configure forward and the driver.
func clearEnvironment() {
	for _, e := range os.Environ() {
		name, _, _ := strings.Cut(e, "=")
		if strings.HasPrefix(name, "FORWARD_") && name != "FORWARD_TEST_POSTGRES" || strings.HasPrefix(name, "PG") {
			os.Unsetenv(name)
		}
	}
}
