package logread

import "time"

// A pausableTimer calls a function when it has run for a duration. Pauses do not
// count.
type pausableTimer struct {
	timer   *time.Timer
	left    time.Duration
	resumed time.Time
}

func startTimer(d time.Duration, f func()) *pausableTimer {
	return &pausableTimer{timer: time.AfterFunc(d, f), left: d, resumed: time.Now()}
}

func (t *pausableTimer) pause() {
	t.timer.Stop()
	t.left -= time.Since(t.resumed)
}

func (t *pausableTimer) resume() {
	t.resumed = time.Now()
	t.timer.Reset(t.left)
}

func (t *pausableTimer) stop() { t.timer.Stop() }
