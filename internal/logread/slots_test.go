package logread

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"log-ingester/internal/httpapi"
)

var (
	addrA = netip.MustParseAddr("192.0.2.1")
	addrB = netip.MustParseAddr("192.0.2.2")
	addrC = netip.MustParseAddr("192.0.2.3")
)

// take acquires a slot that must be free.
func take(t *testing.T, s *slots, addr netip.Addr) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	slot, err := s.acquire(ctx, addr)
	must(t, err)
	return slot
}

// isBusy reports whether addr gets no slot now.
func isBusy(s *slots, addr netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.mayHold(addr)
}

// The address with the fewest slots is next, and among those the first that came.
func TestSlotsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(5, 3, false)
		held := []int{take(t, s, addrA), take(t, s, addrA), take(t, s, addrB)}
		slices.Sort(held)
		if want := []int{5, 6, 7}; !slices.Equal(held, want) {
			t.Errorf("got slots %v, want %v", held, want)
		}
		var order []string
		for _, w := range []struct {
			name string
			addr netip.Addr
		}{{"A", addrA}, {"B1", addrB}, {"B2", addrB}, {"C", addrC}} {
			go func() {
				if slot, err := s.acquire(context.Background(), w.addr); err == nil {
					order = append(order, w.name)
					time.Sleep(time.Second)
					s.release(slot, w.addr)
				}
			}()
			synctest.Wait()
		}
		if !s.shouldYield(addrA) || !s.shouldYield(addrB) {
			t.Error("shouldYield() = false while C waits, want true")
		}
		s.release(5, addrA)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if want := []string{"C", "A", "B1", "B2"}; !slices.Equal(order, want) {
			t.Errorf("got order %v, want %v", order, want)
		}
		if s.shouldYield(addrA) {
			t.Error("shouldYield() = true while none waits, want false")
		}
	})
}

// A slot is given only to an address that would hold fewer, or to the same address.
func TestSlotsShouldYield(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(0, 3, false)
		take(t, s, addrA)
		take(t, s, addrB)
		take(t, s, addrB)
		ctx, cancel := context.WithCancel(context.Background())
		go s.acquire(ctx, addrB)
		synctest.Wait()
		if s.shouldYield(addrA) {
			t.Error("shouldYield() = true although the waiting address holds more, want false")
		}
		if !s.shouldYield(addrB) {
			t.Error("shouldYield() = false although the same address waits, want true")
		}
		cancel()
		synctest.Wait()
		if len(s.waiting) != 0 {
			t.Errorf("%d wait after the cancellation, want none", len(s.waiting))
		}
	})
}

// Of shared slots, an address gets at most as many as stay free.
func TestSlotsShared(t *testing.T) {
	s := newSlots(0, 64, true)
	for _, test := range []struct {
		addr netip.Addr
		want int
	}{{addrA, 32}, {addrB, 16}, {addrC, 8}} {
		n := 0
		for ; !isBusy(s, test.addr); n++ {
			take(t, s, test.addr)
		}
		if n != test.want {
			t.Errorf("%v got %d slots, want %d", test.addr, n, test.want)
		}
	}
	s.release(0, addrA)
	if isBusy(s, addrC) {
		t.Error("after a release, an address with few slots gets none")
	}
}

// A slot that is granted while its waiter gives up is not lost.
func TestSlotsCancel(t *testing.T) {
	s := newSlots(0, 1, false)
	for range 1000 {
		slot := take(t, s, addrA)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			if slot, err := s.acquire(ctx, addrB); err == nil {
				s.release(slot, addrB)
			}
		}()
		go cancel()
		s.release(slot, addrA)
		<-done
	}
	if len(s.free) != 1 || s.total != 0 || len(s.waiting) != 0 {
		t.Errorf("%d slots are free, %d held, and %d wait, want 1, 0 and 0", len(s.free), s.total, len(s.waiting))
	}
}

func TestSlotsClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(0, 1, false)
		slot := take(t, s, addrA)
		var waited error
		go func() { _, waited = s.acquire(context.Background(), addrB) }()
		synctest.Wait()
		s.close()
		s.close() // has no effect
		synctest.Wait()
		if !errors.Is(waited, errClosed) {
			t.Errorf("the waiting acquire returned %v, want %v", waited, errClosed)
		}
		if _, err := s.acquire(context.Background(), addrB); !errors.Is(err, errClosed) {
			t.Errorf("acquire() = %v, want %v", err, errClosed)
		}
		time.AfterFunc(time.Second, func() { s.release(slot, addrA) })
		start := time.Now()
		s.wait()
		if got := time.Since(start); got != time.Second {
			t.Errorf("wait() returned after %v, want 1s", got)
		}
	})
}

func TestClientAddresses(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:99":            "192.0.2.1",
		"[::ffff:192.0.2.1]:99":   "192.0.2.1",
		"[2001:db8::1:2:3:4]:99":  "2001:db8::",
		"[fe80::1%eth0]:99":       "fe80::",
		"@":                       "invalid IP",
		"[2001:db8:0:1:a::1]:443": "2001:db8:0:1::",
	} {
		got := httpapi.ShareAddr(remoteAddr(&http.Request{RemoteAddr: remote})).String()
		if got != want {
			t.Errorf("address of %s = %s, want %s", remote, got, want)
		}
	}
}

// Config.ClientAddr decides by which address the limits are shared.
func TestConfigClientAddr(t *testing.T) {
	l := openTestLog(t)
	l.reader.slotTimeout = time.Millisecond
	l.reader.clientAddr = func(req *http.Request) netip.Addr { return netip.MustParseAddr(req.Header.Get("Client")) }
	for range maxReads / 2 {
		take(t, l.reader.openReads, addrA)
	}
	for client, want := range map[string]int{"192.0.2.1": 503, "::ffff:192.0.2.1": 503, "192.0.2.2": 200} {
		req := httptest.NewRequest("GET", "/logs", nil)
		req.Header.Set("Client", client)
		w := httptest.NewRecorder()
		l.routes().ServeHTTP(w, req)
		if w.Code != want {
			t.Errorf("client %s got %d, want %d", client, w.Code, want)
		}
	}
	for slot := range maxReads / 2 {
		l.reader.openReads.release(slot, addrA)
	}
}
