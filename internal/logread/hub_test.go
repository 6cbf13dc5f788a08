package logread

import (
	"bytes"
	"log/slog"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Each tail has its own token, and several commits need only one.
func TestHubNotifiesTails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := openTestLog(t)
		h := l.reader.hub
		var tails []chan struct{}
		for range 3 {
			notify, ok := h.join()
			if !ok {
				t.Fatal("join() = false, want true")
			}
			defer h.leave(notify)
			tails = append(tails, notify)
		}
		h.committed(5)
		synctest.Wait()
		h.committed(6)
		synctest.Wait()
		for i, notify := range tails {
			if got := len(notify); got != 1 {
				t.Errorf("tail %d has %d tokens, want 1", i, got)
			}
			<-notify
		}
		h.committed(4) // lower than the highest id
		time.Sleep(2 * tailPoll)
		for i, notify := range tails {
			if got := len(notify); got != 0 {
				t.Errorf("after a lower id, tail %d has %d tokens, want 0", i, got)
			}
		}
	})
}

// While polling fails, the error is logged only once.
func TestHubLogsFirstPollError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := openTestLog(t)
		var log bytes.Buffer
		h := newHub(l.reader.db, slog.New(slog.NewTextHandler(&log, nil)))
		must(t, os.Rename(l.db.Path, l.db.Path+".moved"))
		notify, ok := h.join()
		if !ok {
			t.Fatal("join() = false, want true")
		}
		time.Sleep(10 * tailPoll)
		h.leave(notify)
		h.stop()
		h.wait()
		if got := strings.Count(log.String(), "cannot look for new entries"); got != 1 {
			t.Errorf("log contains the error %d times, want once:\n%s", got, log.String())
		}
	})
}
