package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"go.opentelemetry.io/contrib/bridges/otelslog"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/stdout/stdoutlog"
	"go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/trace"
)

// An observer is a log processor that replaces the time at which a record was observed.
type observer struct{ c *clock }

func (o observer) OnEmit(_ context.Context, r *sdklog.Record) error {
	r.SetObservedTimestamp(o.c.Now())
	return nil
}

func (observer) Enabled(context.Context, sdklog.EnabledParameters) bool { return true }
func (observer) Shutdown(context.Context) error                         { return nil }
func (observer) ForceFlush(context.Context) error                       { return nil }

func otelDefault(w io.Writer) { otelLog(stdoutlog.WithWriter(w)) }

func otelUntimed(w io.Writer) { otelLog(stdoutlog.WithWriter(w), stdoutlog.WithoutTimestamps()) }

// otelLog logs with slog and with OpenTelemetry's API to the exporter for the standard output.
func otelLog(options ...stdoutlog.Option) {
	exporter, err := stdoutlog.New(options...)
	if err != nil {
		panic(err)
	}
	c := newClock(time.UTC)
	p := sdklog.NewLoggerProvider(
		sdklog.WithProcessor(observer{c}),
		sdklog.WithProcessor(sdklog.NewSimpleProcessor(exporter)),
		sdklog.WithResource(resource.NewSchemaless(attribute.String("service.name", "shop"))),
	)
	ctx := trace.ContextWithSpanContext(context.Background(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1, 2, 3}, SpanID: trace.SpanID{4, 5}, TraceFlags: trace.FlagsSampled,
	}))
	l := slog.New(timed{otelslog.NewHandler("shop", otelslog.WithLoggerProvider(p)), c})
	l.Debug("cache miss", "key", "user:42", "hit", false)
	l.InfoContext(ctx, french, "user", "Zoé")
	l.Info(decoy, slog.Group("ctx", "SeverityText", "ERROR"))
	l.Warn("slow request", "status", 499)
	l.ErrorContext(ctx, "payment failed", "err", errors.New("card declined"), "amount", 12.5)
	l.Error(quoted)
	l.Error(ansi)
	emit := func(set func(*log.Record)) {
		var r log.Record
		set(&r)
		p.Logger("raw").Emit(ctx, r)
	}
	emit(func(r *log.Record) {
		r.SetBody(attribute.StringValue("only a number"))
		r.SetSeverity(log.SeverityError2)
	})
	emit(func(r *log.Record) { r.SetBody(attribute.StringValue("only a text")); r.SetSeverityText("Warning") })
	emit(func(r *log.Record) { r.SetEventName("neither level nor body") })
	emit(func(r *log.Record) {
		r.SetSeverity(log.SeverityFatal)
		r.SetBody(attribute.MapValue(attribute.String("a", "map"), attribute.Int("as", 1)))
	})
}
