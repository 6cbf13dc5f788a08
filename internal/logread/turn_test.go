package logread

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// A turn keeps its slot between two pieces, unless the client takes long, or the
// turn has lasted long and another read waits.
func TestTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(0, 1, false)
		turn := &turn{slots: s, addr: addrA}
		var granted time.Time
		wait := func() {
			granted = time.Time{}
			go func() {
				slot, err := s.acquire(context.Background(), addrB)
				must(t, err)
				granted = time.Now()
				s.release(slot, addrB)
			}()
			synctest.Wait()
		}
		start := time.Now()
		must(t, turn.begin(context.Background()))
		wait()
		for granted.IsZero() { // a fast client
			turn.pause()
			time.Sleep(turnPause / 2)
			must(t, turn.begin(context.Background()))
			synctest.Wait()
		}
		if got := granted.Sub(start); got < maxTurn || got > maxTurn+turnPause {
			t.Errorf("the waiting read got the slot after %v, want %v", got, maxTurn)
		}
		wait()
		paused := time.Now()
		turn.pause() // a slow client
		time.Sleep(time.Second)
		synctest.Wait()
		if got := granted.Sub(paused); got != turnPause {
			t.Errorf("the waiting read got the slot %v after the pause, want %v", got, turnPause)
		}
		turn.release()
		if s.total != 0 {
			t.Errorf("%d slots are held, want none", s.total)
		}
	})
}
