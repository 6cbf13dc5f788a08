//go:build linux && amd64

package main

import "testing"

// The whole test, with few images: it finds nothing with -synchronous full, and
// losses with off.
func TestFullAndOff(t *testing.T) {
	binary, err := build(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, synchronous := range []string{"full", "off"} {
		o := options{images: 60, seed: 1, synchronous: synchronous, workloads: "first,single", binary: binary}
		if err := checkAll(o); err != nil {
			t.Errorf("-synchronous %s: got the error %v, want none", synchronous, err)
		}
	}
}

// The syncs and the responses are recorded in their order: the response to a
// request with ?wait=1 follows a sync of what was written since it was sent.
func TestRecordingOrder(t *testing.T) {
	binary, err := build(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	rec, err := record(firstResponse, binary, t.TempDir(), 1, "-synchronous", "full")
	if err != nil {
		t.Fatal(err)
	}
	responses, written, synced := 0, false, false
	for _, e := range rec.Events {
		switch e.Kind {
		case evSend:
			written, synced = false, false
		case evWrite:
			written = true
		case evSync:
			synced = written
		case evResponse:
			responses++
			if e.Status != 200 || !synced {
				t.Errorf("got status %d, synced %t; want 200 after a sync", e.Status, synced)
			}
		}
	}
	if responses != len(rec.Requests) || responses != 3 {
		t.Errorf("got %d responses to %d requests, want 3", responses, len(rec.Requests))
	}
}
