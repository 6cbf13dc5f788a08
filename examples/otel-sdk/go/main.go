// Command main sends the logs of a Go program to the log ingester with OpenTelemetry's
// SDK. It logs each line of standard input as an error:
//
//	echo 'payment failed' | go run .
package main

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"

	"go.opentelemetry.io/contrib/bridges/otelslog"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/resource"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	exporter, err := otlploghttp.New(ctx,
		otlploghttp.WithEndpointURL("http://localhost:3002/v1/logs"),
		otlploghttp.WithHeaders(map[string]string{"Authorization": "Bearer KEY"}))
	if err != nil {
		return err
	}
	provider := sdklog.NewLoggerProvider(
		sdklog.WithResource(resource.NewSchemaless(attribute.String("service.name", "shop"))),
		sdklog.WithProcessor(sdklog.NewBatchProcessor(exporter)))
	logger := slog.New(otelslog.NewHandler("shop", otelslog.WithLoggerProvider(provider)))

	logger.Info("started")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		logger.Error(lines.Text())
	}
	logger.Warn("end of input")
	if err := provider.Shutdown(ctx); err != nil { // sends what waits
		return err
	}
	return lines.Err()
}
