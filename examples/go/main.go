// Command go shows how a Go program sends its logs to the log ingester. It logs
// each line of standard input as an error:
//
//	echo 'payment failed' | go run ./examples/go
//
// Copy ingest.go, which needs only the standard library, into your program.
package main

import (
	"bufio"
	"log/slog"
	"os"
	"time"
)

func main() {
	w := NewWriter("http://localhost:3002/ingest?wait=1", "KEY", 10*time.Second)
	defer w.Close()
	logger := slog.New(slog.NewJSONHandler(w, nil))

	logger.Info("started")
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		logger.Error(input.Text())
	}
	logger.Warn("end of input", "err", input.Err())
}
