//go:build linux && amd64

package main

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// images returns the different contents that a file can have after the events,
// each as a string; "" means that the file is missing.
func images(events []event, name string) []string {
	r := rand.New(rand.NewPCG(1, 1))
	contents := map[string]bool{}
	for range 2000 {
		contents[string(diskAt(events).crash(r).files[name])] = true
	}
	return slices.Sorted(maps.Keys(contents))
}

func checkImages(t *testing.T, events []event, want ...string) {
	t.Helper()
	if got := images(events, "f"); !slices.Equal(got, want) {
		t.Errorf("got the contents %q, want %q", got, want)
	}
}

func create(name string, id fileID) event { return event{Kind: evCreate, Name: name, File: id} }

func write(offset int64, data string) event {
	return event{Kind: evWrite, Offset: offset, Data: []byte(data)}
}

func TestSyncedContentSurvives(t *testing.T) {
	events := []event{create("f", 0), {Kind: evSyncDir, Start: 1}, write(0, "a"), {Kind: evSync, Start: 3}}
	checkImages(t, events, "a")
	t.Run("write during the sync", func(t *testing.T) {
		events[3].Start = 2
		if got := images(events, "f"); !slices.Contains(got, "") || !slices.Contains(got, "a") {
			t.Errorf("got the contents %q, want also those with and without the write", got)
		}
	})
}

func TestUnsyncedNames(t *testing.T) {
	synced := []event{create("f", 0), write(0, "a"), {Kind: evSync, Start: 2}}
	checkImages(t, synced, "", "a")
	t.Run("removed", func(t *testing.T) {
		events := append(slices.Clone(synced), event{Kind: evSyncDir, Start: 3}, event{Kind: evUnlink, Name: "f"})
		checkImages(t, events, "", "a")
	})
	t.Run("renamed out of order", func(t *testing.T) {
		events := []event{
			create("a", 0), create("b", 1), {Kind: evSyncDir, Start: 2},
			{Kind: evRename, Name: "a", Target: "a2"}, {Kind: evRename, Name: "b", Target: "b2"},
		}
		r := rand.New(rand.NewPCG(1, 1))
		found := map[string]bool{}
		for range 200 {
			files := diskAt(events).crash(r).files
			if len(files) != 2 {
				t.Fatalf("got the names %v, want 2", slices.Sorted(maps.Keys(files)))
			}
			found[slices.Sorted(maps.Keys(files))[0]+slices.Sorted(maps.Keys(files))[1]] = true
		}
		if len(found) != 4 {
			t.Errorf("got the names %v, want all 4 combinations", slices.Sorted(maps.Keys(found)))
		}
	})
}

// Each sector of 512 bytes can survive without the others.
func TestUnsyncedSectors(t *testing.T) {
	old, data := bytes.Repeat([]byte("a"), 1024), bytes.Repeat([]byte("b"), 1024)
	events := []event{
		create("f", 0), {Kind: evSyncDir, Start: 1}, write(0, string(old)), {Kind: evSync, Start: 3}, write(0, string(data)),
	}
	got := images(events, "f")
	for _, want := range [][]byte{old, data, slices.Concat(old[:512], data[512:]), slices.Concat(data[:512], old[512:])} {
		if !slices.Contains(got, string(want)) {
			t.Errorf("no image has the content %q", want)
		}
	}
	torn := slices.ContainsFunc(got, func(s string) bool { return s[0] != s[511] })
	if !torn {
		t.Error("no image has a torn sector")
	}
}

// A later write can survive without an earlier one, and a truncation too.
func TestUnsyncedOrder(t *testing.T) {
	const far = 8192
	events := []event{
		create("f", 0), {Kind: evSyncDir, Start: 1}, write(0, "a"), {Kind: evSync, Start: 3},
		{Kind: evTruncate}, write(0, "b"), write(far, "c"),
	}
	reordered := slices.ContainsFunc(images(events, "f"), func(s string) bool {
		return len(s) == far+1 && s[0] == 'a' && s[far] == 'c'
	})
	if !reordered {
		t.Error("no image has the last write without the first ones")
	}
}

// A sync does not write what an earlier sync failed to write, unless the page was
// changed again.
func TestFailedSync(t *testing.T) {
	events := []event{
		create("f", 0), {Kind: evSyncDir, Start: 1}, write(0, "a"), {Kind: evSync, Start: 3},
		write(0, "b"), {Kind: evSync, Start: 5, Failed: true}, {Kind: evSync, Start: 6},
	}
	checkImages(t, events, "a", "b")
	checkImages(t, append(events, write(0, "c"), event{Kind: evSync, Start: 8}), "c")
}
