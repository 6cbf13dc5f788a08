package main

import (
	"cmp"
	"runtime/debug"
)

// version and commit are set by the linker in builds without a repository:
// -ldflags '-X main.version=v0.1.0 -X main.commit=…'.
var version, commit string

// buildVersion returns the version and the commit of this build, or "(devel)"
// and "unknown".
func buildVersion() (v, revision string) {
	v, revision = cmp.Or(version, "(devel)"), cmp.Or(commit, "unknown")
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v, revision
	}
	if version == "" && info.Main.Version != "" {
		v = info.Main.Version
	}
	for _, s := range info.Settings {
		if commit == "" && s.Key == "vcs.revision" {
			revision = s.Value
		}
	}
	return v, revision
}
