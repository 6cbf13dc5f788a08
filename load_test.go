package main

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestLoadMeter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		received := int64(0)
		m := &loadMeter{received: func() int64 { return received }}
		for i, step := range []struct {
			entries int64
			after   time.Duration
			want    bool
		}{
			{0, 0, true}, // the rate is not known
			{0, 2 * time.Millisecond, false},
			{1000, time.Millisecond, false}, // the interval is too short
			{0, time.Millisecond, true},
			{0, time.Millisecond, true},
			{0, time.Millisecond, false},
			{busyRate * 1000, time.Second, false},
			{busyRate*1000 + 1, time.Second, true},
			{busyRate * 2, time.Hour, true}, // the rate is not known
			{busyRate * 2, 2 * time.Millisecond, false},
		} {
			received += step.entries
			time.Sleep(step.after)
			if got := m.isBusy(); got != step.want {
				t.Errorf("step %d: isBusy() = %v, want %v", i, got, step.want)
			}
		}
	})
}
