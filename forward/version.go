package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	sqlite3 "modernc.org/sqlite/lib"
)

// The linker sets version and commit in builds without a repository:
// -ldflags '-X main.version=v0.1.0 -X main.commit=…'.
var version, commit string

// versionText returns the output of -version. Without the linker's values it
// uses the version and commit that the go command recorded.
func versionText() string {
	recordedVersion, recordedCommit := "(devel)", "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		recordedVersion = cmp.Or(info.Main.Version, recordedVersion)
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				recordedCommit = s.Value
			}
		}
	}
	return fmt.Sprintf("forward %s commit %s %s SQLite %s",
		cmp.Or(version, recordedVersion), cmp.Or(commit, recordedCommit), runtime.Version(), sqlite3.SQLITE_VERSION)
}
