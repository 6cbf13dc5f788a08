package logread

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestPausableTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fired atomic.Bool
		timer := startTimer(10*time.Second, func() { fired.Store(true) })
		check := func(want bool) {
			t.Helper()
			synctest.Wait()
			if got := fired.Load(); got != want {
				t.Errorf("fired = %v, want %v", got, want)
			}
		}
		time.Sleep(4 * time.Second)
		timer.pause()
		time.Sleep(time.Hour)
		check(false)
		timer.resume()
		time.Sleep(5 * time.Second)
		check(false)
		time.Sleep(2 * time.Second)
		check(true)
	})
}

func TestPausableTimerStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		timer := startTimer(time.Second, func() { t.Error("stopped timer fired") })
		timer.stop()
		time.Sleep(2 * time.Second)
	})
}
