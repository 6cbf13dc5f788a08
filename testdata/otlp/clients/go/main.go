// Go sends ERROR and WARN records with the default exporter. Arguments: endpoint,
// count.
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/log"
	sdk "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/resource"
)

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(endpoint, countText string) error {
	ctx := context.Background()
	count, err := strconv.Atoi(countText)
	if err != nil {
		return err
	}
	exporter, err := otlploghttp.New(ctx, otlploghttp.WithEndpointURL(endpoint))
	if err != nil {
		return err
	}
	provider := sdk.NewLoggerProvider(
		sdk.WithResource(resource.NewSchemaless(attribute.String("service.name", "go-demo"))),
		sdk.WithProcessor(sdk.NewBatchProcessor(exporter, sdk.WithExportInterval(200*time.Millisecond), sdk.WithMaxQueueSize(100_000))),
	)
	logger := provider.Logger("demo", log.WithInstrumentationVersion("1.0"))
	for i := range count {
		var r log.Record
		r.SetTimestamp(time.Now())
		r.SetSeverity(log.SeverityError)
		r.SetSeverityText("ERROR")
		if i%2 == 1 {
			r.SetSeverity(log.SeverityWarn)
			r.SetSeverityText("WARN")
		}
		r.SetBody(attribute.StringValue(fmt.Sprint("go ", i)))
		r.AddAttributes(attribute.Int("order", i), attribute.String("user", "bob"))
		logger.Emit(ctx, r)
		time.Sleep(2 * time.Millisecond)
	}
	return provider.Shutdown(ctx)
}
