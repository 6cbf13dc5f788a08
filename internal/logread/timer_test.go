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
		timer := newPausedTimer(10*time.Second, func() { fired.Store(true) })
		check := func(want bool) {
			t.Helper()
			synctest.Wait()
			if got := fired.Load(); got != want {
				t.Errorf("fired = %v, want %v", got, want)
			}
		}
		time.Sleep(time.Hour)
		check(false)
		timer.resume()
		timer.resume() // has no effect
		time.Sleep(4 * time.Second)
		timer.pause()
		timer.pause() // has no effect
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
		timer := newPausedTimer(time.Second, func() { t.Error("stopped timer fired") })
		timer.resume()
		timer.stop()
		time.Sleep(2 * time.Second)
	})
}
