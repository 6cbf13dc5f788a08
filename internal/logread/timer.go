package logread

import "time"

// A pausableTimer calls a function when it has run for a duration. Pauses do not
// count.
type pausableTimer struct {
	timer   *time.Timer
	left    time.Duration
	running bool
	resumed time.Time
}

// newPausedTimer returns a timer that starts with resume.
func newPausedTimer(d time.Duration, f func()) *pausableTimer {
	t := &pausableTimer{timer: time.AfterFunc(d, f), left: d}
	t.timer.Stop()
	return t
}

func (t *pausableTimer) pause() {
	if t.running {
		t.running = false
		t.timer.Stop()
		t.left -= time.Since(t.resumed)
	}
}

func (t *pausableTimer) resume() {
	if !t.running {
		t.running = true
		t.resumed = time.Now()
		t.timer.Reset(t.left)
	}
}

func (t *pausableTimer) stop() { t.timer.Stop() }
