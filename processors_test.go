package main

import (
	"encoding/binary"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"log-ingester/internal/httpapi"
)

// The clients of different addresses take turns, however many requests one of
// them has. The requests of one client get permits in order of arrival.
func TestProcessorsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &processors{free: 1}
		a, b, c := testAccount(), testAccount(), testAccount()
		p.acquire(a, false)
		var order []string
		enter := func(name string, account *account) {
			go func() {
				p.acquire(account, false)
				order = append(order, name)
				p.release()
			}()
			synctest.Wait()
		}
		enter("a1", a)
		enter("a2", a)
		enter("a3", a)
		enter("b1", b)
		enter("b2", b)
		enter("c1", c)
		p.release()
		synctest.Wait()
		if want := []string{"b1", "c1", "a1", "b2", "a2", "a3"}; !slices.Equal(order, want) {
			t.Errorf("got order %v, want %v", order, want)
		}
		if p.free != 1 || len(p.line) != 0 {
			t.Errorf("got %d free permits and %d waiting at the end, want 1 and 0", p.free, len(p.line))
		}
	})
}

// A request that continues its work comes before the requests of its client that
// have not begun, but not before those of a client whose turn it is.
func TestProcessorsContinueFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &processors{free: 1}
		a, b := testAccount(), testAccount()
		first := processorTime{processors: p, account: a}
		first.start()
		var order []string
		enter := func(name string, account *account) {
			go func() {
				p.acquire(account, false)
				time.Sleep(time.Second)
				order = append(order, name)
				p.release()
			}()
			synctest.Wait()
		}
		enter("a1", a)
		enter("a2", a)
		enter("b1", b)
		first.stop()  // b1 begins
		first.start() // waits for it
		order = append(order, "first")
		first.stop()
		time.Sleep(time.Minute)
		synctest.Wait()
		if want := []string{"b1", "first", "a1", "a2"}; !slices.Equal(order, want) {
			t.Errorf("got order %v, want %v", order, want)
		}
	})
}

// Work on a large body lets a client of another address go first after each step.
// Another request of the same client waits.
func TestProcessorsYield(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &processors{free: 1}
		a, b := testAccount(), testAccount()
		large := processorTime{processors: p, account: a}
		large.start()
		large.start() // has no effect
		var order []string
		for name, account := range map[string]*account{"same": a, "other": b} {
			go func() {
				p.acquire(account, false)
				order = append(order, name)
				p.release()
			}()
		}
		synctest.Wait()
		large.step(workStep - 1)
		if len(order) != 0 {
			t.Errorf("got %v served before the step ends, want none", order)
		}
		large.step(1)
		order = append(order, "large")
		synctest.Wait()
		if !large.stop() || large.stop() {
			t.Error("got a permit that was not returned once")
		}
		synctest.Wait()
		if got := order; len(got) != 3 || got[0] != "other" {
			t.Errorf("got order %v, want other first", got)
		}
		if p.free != 1 {
			t.Errorf("got %d free permits at the end, want 1", p.free)
		}
	})
}

// Bodies of OTLP and of Elasticsearch's bulk format are large bodies too.
func TestOtherFormatsYield(t *testing.T) {
	const records = workStep/100 + 1
	text := strings.Repeat("a", 100)
	for name, c := range map[string]struct {
		body    string
		process func(*ingester, *scratch) *httpapi.Error
	}{
		"OTLP in JSON": {
			`{"resourceLogs":[{"scopeLogs":[{"logRecords":[` +
				strings.Repeat(`{"severityText":"`+text+`"},`, records) + `{}]}]}]}`,
			func(in *ingester, s *scratch) *httpapi.Error { return measureOTLP(in, s, true) },
		},
		"OTLP in protobuf": {
			protoField(1, protoField(2, strings.Repeat(protoField(2, protoField(3, text)), records))),
			func(in *ingester, s *scratch) *httpapi.Error { return measureOTLP(in, s, false) },
		},
		"bulk": {
			strings.Repeat(`{"create":{}}`+"\n"+`{"message":"`+text+`"}`+"\n", records),
			func(in *ingester, s *scratch) *httpapi.Error {
				_, herr := (&bulkRequest{s: s, threshold: in.threshold}).measure()
				return herr
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in := newTestService(t).ingest
				in.processors = &processors{free: 1}
				s, herr := in.begin(httptest.NewRequest("POST", "/", nil))
				defer s.free()
				if herr != nil {
					t.Fatal(herr)
				}
				s.body = []byte(c.body)
				s.time.start()
				served := false
				go func() {
					in.processors.acquire(testAccount(), false)
					served = true
					in.processors.release()
				}()
				synctest.Wait()
				if herr := c.process(in, s); herr != nil {
					t.Fatal(herr)
				}
				if !served {
					t.Error("got another client served after the body, want before its end")
				}
			})
		})
	}
}

func measureOTLP(in *ingester, s *scratch, isJSON bool) *httpapi.Error {
	q, herr := otlpHandler{in}.request(s, isJSON)
	if herr != nil {
		return herr
	}
	if _, err := q.Measure(); err != nil {
		return httpapi.Errorf(http.StatusBadRequest, "%v", err)
	}
	return nil
}

// protoField returns a field of a protobuf message with data of any length.
func protoField(number byte, data string) string {
	return string(binary.AppendUvarint([]byte{number<<3 | 2}, uint64(len(data)))) + data
}

func gzipHead(length int) string {
	return strings.Replace(head("/ingest", length), "\r\n", "\r\nContent-Encoding: gzip\r\n", 1)
}

// A request does not hold a permit while it waits for its client.
func TestPermitDuringRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestService(t)
		server := servePipes(t, s.handler, 100)
		body := gzipped("[" + smallBody + "]")
		for range 50 { // more than there are processors
			server.dial().Send(gzipHead(1000), body, 1, 0)
		}
		time.Sleep(time.Second)
		client := server.dial()
		began := time.Now()
		client.Send(gzipHead(len(body)), body, 1, 0)
		if got, err := client.Response(); err != nil || !strings.HasPrefix(got, "202 ") || time.Since(began) > time.Second {
			t.Errorf("got response %q and error %v after %v, want 202 at once", got, err, time.Since(began))
		}
	})
}
