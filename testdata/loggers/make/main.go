// Command fixtures writes the output of Go's JSON loggers to files in the
// directory given as its argument. It fixes the clock and changes nothing else.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"
	"github.com/sirupsen/logrus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

const (
	french = "commande passée à « Zoé » — 注文 ✓ 🚀"
	ansi   = "\x1b[31mred\x1b[0m alert\ttab \x01 \x7f"
	quoted = "said \"no\"\nthen C:\\temp\\x and </script> & 'rest'\u2028end"
	decoy  = `payload was {"level":"error","message":"inner"}`
)

// A clock advances by a second and a bit on each call of Now.
type clock struct{ t time.Time }

func (c *clock) Now() time.Time {
	c.t = c.t.Add(time.Second + 1111111*time.Nanosecond)
	return c.t
}

func (c *clock) NewTicker(d time.Duration) *time.Ticker { return time.NewTicker(d) }

func newClock(loc *time.Location) *clock {
	return &clock{time.Date(2026, 11, 22, 15, 24, 0, 123456789, time.UTC).In(loc)}
}

// timed is a slog.Handler that replaces the time of each record.
type timed struct {
	slog.Handler
	c *clock
}

func (h timed) Handle(ctx context.Context, r slog.Record) error {
	r.Time = h.c.Now()
	return h.Handler.Handle(ctx, r)
}

func (h timed) WithAttrs(attrs []slog.Attr) slog.Handler {
	return timed{h.Handler.WithAttrs(attrs), h.c}
}

func (h timed) WithGroup(name string) slog.Handler {
	return timed{h.Handler.WithGroup(name), h.c}
}

func slogDefault(w io.Writer) {
	ctx := context.Background()
	l := slog.New(timed{slog.NewJSONHandler(w, &slog.HandlerOptions{Level: slog.Level(-8)}), newClock(time.UTC)})
	l.Log(ctx, slog.LevelDebug-4, "entering handler")
	l.Debug("cache miss", "key", "user:42", "hit", false)
	l.Info(french, "user", "Zoé")
	l.Info(decoy, slog.Group("ctx", "level", "error", "severity", "FATAL"))
	l.Log(ctx, slog.LevelInfo+2, "between info and warn")
	l.Warn("slow request", slog.Group("http", slog.String("method", "GET"), slog.Int("status", 499), slog.Group("timing", "total", 1500*time.Millisecond)))
	l.Error("payment failed", "err", errors.New("card declined: \"insufficient funds\""), "amount", 12.50, "ids", []int{1, 2, 3})
	l.Error("plain")
	l.Error("")
	l.Error(quoted, "html", "<b>&</b>", "path", `C:\temp`)
	l.Error(ansi)
	l.Log(ctx, slog.LevelError+4, "disk is gone", "device", "/dev/sda1", "at", time.Date(2026, 11, 22, 15, 0, 0, 0, time.UTC))
	// slog writes an attribute even if it has the name of a built-in key.
	l.Error("first msg wins", "msg", "second msg", "level", "INFO", "time", "later")
	// The service prefers message to msg, so the attribute becomes the message.
	l.Error("in msg", "message", "in message")
	l.Error("null and nested", "nothing", nil, "map", map[string]any{"b": 1, "a": map[string]any{"x": nil}})
}

func slogSeverity(w io.Writer) {
	// A typical setup: source locations, and the key names of Google Cloud Logging.
	l := slog.New(timed{slog.NewJSONHandler(w, &slog.HandlerOptions{
		AddSource: true,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 {
				switch a.Key {
				case slog.LevelKey:
					a.Key = "severity"
				case slog.MessageKey:
					a.Key = "message"
				}
			}
			return a
		},
	}), newClock(time.FixedZone("", 5*3600+1800))})
	l.Info("started", "port", 8080)
	l.With("service", "shop").WithGroup("request").Error("no route", "path", "/a?b=1&c=<2>")
}

func zapLog(l *zap.Logger) {
	l.Debug("cache miss", zap.String("key", "user:42"))
	l.Info(french, zap.String("user", "Zoé"))
	l.Info(decoy, zap.Dict("ctx", zap.String("level", "error")))
	l.Warn("slow request", zap.Duration("took", 1500*time.Millisecond), zap.Int("status", 499))
	l.Error("payment failed", zap.Error(fmt.Errorf("charge: %w", errors.New("card declined"))), zap.Float64("amount", 12.5))
	l.Error(quoted, zap.String("html", "<b>&</b>"), zap.Binary("blob", []byte{0, 1, 255}))
	l.Error(ansi, zap.ByteString("latin1", []byte("caf\xe9")))
	l.Error("first msg wins", zap.String("msg", "second msg"), zap.String("level", "info"))
	l.Error("nested", zap.Namespace("http"), zap.String("method", "GET"), zap.Any("headers", map[string][]string{"Accept": {"a", "b"}}))
	l.DPanic("should not happen", zap.Strings("tags", []string{"a", "b"}))
	func() {
		defer func() { _ = recover() }()
		l.Panic("unrecoverable")
	}()
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.WithOptions(zap.WithFatalHook(zapcore.WriteThenGoexit)).Fatal("giving up")
	}()
	<-done
}

func zapProduction(w io.Writer) {
	cfg := zap.NewProductionEncoderConfig()
	core := zapcore.NewCore(zapcore.NewJSONEncoder(cfg), zapcore.AddSync(w), zap.DebugLevel)
	// The same options as zap.NewProduction.
	zapLog(zap.New(core, zap.WithClock(newClock(time.UTC)), zap.AddCaller(), zap.AddStacktrace(zap.ErrorLevel)))
}

func zapISO8601(loc *time.Location) func(io.Writer) {
	return func(w io.Writer) {
		cfg := zap.NewProductionEncoderConfig()
		cfg.TimeKey = "timestamp"
		cfg.MessageKey = "message"
		cfg.EncodeTime = zapcore.ISO8601TimeEncoder
		cfg.EncodeLevel = zapcore.CapitalLevelEncoder
		cfg.EncodeDuration = zapcore.StringDurationEncoder
		core := zapcore.NewCore(zapcore.NewJSONEncoder(cfg), zapcore.AddSync(w), zap.DebugLevel)
		zapLog(zap.New(core, zap.WithClock(newClock(loc))))
	}
}

func zerologLog(w io.Writer) {
	c := newClock(time.UTC)
	zerolog.TimestampFunc = c.Now
	l := zerolog.New(w).Level(zerolog.TraceLevel).With().Timestamp().Logger()
	l.Trace().Msg("entering handler")
	l.Debug().Str("key", "user:42").Bool("hit", false).Msg("cache miss")
	l.Info().Str("user", "Zoé").Msg(french)
	l.Info().Dict("ctx", zerolog.Dict().Str("level", "error")).Msg(decoy)
	l.Warn().Dur("took", 1500*time.Millisecond).Int("status", 499).Msg("slow request")
	l.Error().Err(errors.New("card declined")).Float64("amount", 12.5).Msg("payment failed")
	l.Error().Str("html", "<b>&</b>").Msg(quoted)
	l.Error().Bytes("latin1", []byte("caf\xe9")).Msg(ansi)
	l.Error().RawJSON("raw", []byte(`{"x": 1, "y" : [1, 2],"z":1.50e+3}`)).Msg("raw JSON")
	l.Error().Str("level", "info").Str("message", "later?").Msg("second message")
	l.Error().Send()
	l.WithLevel(zerolog.FatalLevel).Array("steps", zerolog.Arr().Str("a").Int(2)).Msg("giving up")
	l.WithLevel(zerolog.PanicLevel).Msg("unrecoverable")
	l.Log().Str("kind", "audit").Msg("no level at all")
}

func zerologEpoch(w io.Writer) {
	for _, unit := range []struct{ name, format string }{
		{"s", zerolog.TimeFormatUnix},
		{"ms", zerolog.TimeFormatUnixMs},
		{"µs", zerolog.TimeFormatUnixMicro},
		{"ns", zerolog.TimeFormatUnixNano},
	} {
		zerolog.TimeFieldFormat = unit.format
		zerolog.TimestampFunc = newClock(time.UTC).Now
		l := zerolog.New(w).With().Timestamp().Logger()
		l.Info().Msg("epoch in " + unit.name)
		l.Error().Msg("epoch in " + unit.name)
	}
	zerolog.TimeFieldFormat = time.RFC3339
}

func logrusLog(w io.Writer) {
	c := newClock(time.FixedZone("CET", 3600))
	logger := logrus.New()
	logger.SetOutput(w)
	logger.SetLevel(logrus.TraceLevel)
	logger.SetFormatter(&logrus.JSONFormatter{TimestampFormat: time.RFC3339Nano})
	l := func() *logrus.Entry { return logger.WithTime(c.Now()) }
	l().Trace("entering handler")
	l().WithField("key", "user:42").Debug("cache miss")
	l().WithField("user", "Zoé").Info(french)
	// logrus sorts keys, so the level inside ctx comes before the real level.
	l().WithField("ctx", logrus.Fields{"level": "error"}).Info(decoy)
	l().WithField("status", 499).Warn("slow request")
	l().WithError(errors.New("card declined")).WithField("amount", 12.5).Error("payment failed")
	l().WithField("html", "<b>&</b>").Error(quoted)
	l().WithField("latin1", "caf\xe9").Error(ansi)
	l().WithFields(logrus.Fields{"level": "info", "msg": "field", "time": "later"}).Error("clashing fields")
	l().WithFields(logrus.Fields{"message": "in message"}).Error("in msg")
	l().Error("plain")
	l().Log(logrus.FatalLevel, "giving up")
	func() {
		defer func() { _ = recover() }()
		l().WithField("omg", true).Panic("unrecoverable")
	}()
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: fixtures DIRECTORY")
		os.Exit(2)
	}
	for name, write := range map[string]func(io.Writer){
		"slog":             slogDefault,
		"slog-severity":    slogSeverity,
		"zap":              zapProduction,
		"zap-iso8601":      zapISO8601(time.UTC),
		"zap-iso8601-zone": zapISO8601(time.FixedZone("CET", 3600)),
		"zerolog":          zerologLog,
		"zerolog-epoch":    zerologEpoch,
		"logrus":           logrusLog,
		"otel-go":          otelDefault,
		"otel-go-untimed":  otelUntimed,
	} {
		f, err := os.Create(filepath.Join(os.Args[1], name+".body"))
		if err == nil {
			write(f)
			err = f.Close()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}
