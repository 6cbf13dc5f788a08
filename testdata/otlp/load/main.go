// Program load sends OTLP log requests in protobuf to a server. It prints the throughput,
// and the processor time that the server used for each record.
//
//	go run ./load -url http://127.0.0.1:3002/v1/logs -pid PID
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/protobuf/proto"

	"log-ingester/internal/proctest"
)

func main() {
	url := flag.String("url", "http://127.0.0.1:3002/v1/logs", "`address` to send to")
	pid := flag.Int("pid", 0, "process `ID` of the server")
	connections := flag.Int("connections", 8, "connections")
	records := flag.Int("records", 1000, "records per request")
	duration := flag.Duration("duration", 5*time.Second, "how long to send")
	flag.Parse()
	if err := run(*url, *pid, *connections, *records, *duration); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(url string, pid, connections, records int, duration time.Duration) error {
	bodies := make([][]byte, 16)
	for i := range bodies {
		var err error
		if bodies[i], err = proto.Marshal(request(records)); err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
	}
	before, err := processorTime(pid)
	if err != nil {
		return err
	}
	began := time.Now()
	accepted, busy, err := send(url, bodies, connections, duration)
	if err != nil {
		return err
	}
	elapsed := time.Since(began)
	after, err := processorTime(pid)
	if err != nil {
		return err
	}
	n := float64(max(1, accepted)) * float64(records)
	fmt.Printf("%.0f records/s, %.2f µs of processor time each; %d requests accepted, %d refused with 429 or 503\n",
		n/elapsed.Seconds(), float64((after-before).Nanoseconds())/1e3/n, accepted, busy)
	return nil
}

// send sends the bodies in turn until the time is over. It returns how many requests
// the server accepted, and how many it refused because it was busy.
func send(url string, bodies [][]byte, connections int, duration time.Duration) (accepted, busy int64, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), duration)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections}}
	var wg sync.WaitGroup
	var ok, refused atomic.Int64
	errs := make([]error, connections)
	for c := range connections {
		wg.Go(func() {
			for i := c; ctx.Err() == nil; i++ {
				status, err := post(client, url, bodies[i%len(bodies)])
				switch {
				case err != nil:
					errs[c] = err
					return
				case status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests:
					refused.Add(1)
				case status/100 != 2:
					errs[c] = fmt.Errorf("status %d", status)
					return
				default:
					ok.Add(1)
				}
			}
		})
	}
	wg.Wait()
	return ok.Load(), refused.Load(), errors.Join(errs...)
}

func post(client *http.Client, url string, body []byte) (status int, err error) {
	resp, err := client.Post(url, "application/x-protobuf", bytes.NewReader(body))
	if err != nil {
		return 0, fmt.Errorf("send request: %w", err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return 0, fmt.Errorf("read response: %w", err)
	}
	return resp.StatusCode, nil
}

// processorTime returns the processor time that a process has used, or 0 if pid is 0.
func processorTime(pid int) (time.Duration, error) {
	if pid == 0 {
		return 0, nil
	}
	return proctest.ProcessorTime(pid)
}

// request returns a request with n records of one service, as its SDK sends them.
func request(n int) *collogs.ExportLogsServiceRequest {
	scope := &logs.ScopeLogs{Scope: &common.InstrumentationScope{Name: "shop.checkout"}}
	for range n {
		severity := []logs.SeverityNumber{5, 9, 9, 9, 13, 17}[rand.IntN(6)]
		id := make([]byte, 24)
		for i := range id {
			id[i] = byte(rand.Uint32())
		}
		scope.LogRecords = append(scope.LogRecords, &logs.LogRecord{
			TimeUnixNano:         uint64(time.Now().UnixNano()),
			ObservedTimeUnixNano: uint64(time.Now().UnixNano()),
			SeverityNumber:       severity,
			SeverityText:         map[logs.SeverityNumber]string{5: "DEBUG", 9: "INFO", 13: "WARN", 17: "ERROR"}[severity],
			Body:                 text("payment of order " + strconv.Itoa(rand.IntN(1e6)) + " was declined by the bank"),
			Attributes: []*common.KeyValue{
				{Key: "http.request.method", Value: text("POST")},
				{Key: "http.response.status_code", Value: integer(200 + rand.Int64N(304))},
				{Key: "url.path", Value: text("/orders/" + strconv.Itoa(rand.IntN(1e6)))},
				{Key: "user.id", Value: text(strconv.Itoa(rand.IntN(1e6)))},
			},
			TraceId: id[:16],
			SpanId:  id[16:],
		})
	}
	return &collogs.ExportLogsServiceRequest{ResourceLogs: []*logs.ResourceLogs{{
		Resource: &resource.Resource{Attributes: []*common.KeyValue{
			{Key: "service.name", Value: text("checkout")},
			{Key: "service.instance.id", Value: text("627cc493-f310-47de-96bd-71410b7dec09")},
			{Key: "host.name", Value: text("web-1")},
			{Key: "telemetry.sdk.language", Value: text("go")},
		}},
		ScopeLogs: []*logs.ScopeLogs{scope},
	}}}
}

func text(s string) *common.AnyValue {
	return &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: s}}
}

func integer(n int64) *common.AnyValue {
	return &common.AnyValue{Value: &common.AnyValue_IntValue{IntValue: n}}
}
