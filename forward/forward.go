package main

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"
)

// The delay before a retry starts at minBackoff and doubles with every failure
// up to maxBackoff. It starts over once rows have arrived.
const (
	minBackoff = 100 * time.Millisecond
	maxBackoff = 10 * time.Second
)

// forward ships rows until ctx ends, until all rows are shipped with -once, or
// until a permanent error, which it returns.
func forward(ctx context.Context, cfg config, stats *stats, log *slog.Logger) error {
	log.Info("forwarding", "db", cfg.db, "host", cfg.to.Host, "database", cfg.to.Database, "user", cfg.to.User)
	backoff := minBackoff
	for {
		before := stats.position.Load()
		err := session(ctx, cfg, stats, log)
		if err == nil || ctx.Err() != nil {
			return nil
		}
		if isPermanent(err) {
			return err
		}
		if stats.position.Load() > before {
			backoff = minBackoff
		}
		stats.failed()
		// The jitter keeps the forwarders of many machines from reconnecting
		// at the same moment when the database comes back.
		delay := backoff/2 + rand.N(backoff)
		log.Error("shipping failed, retrying", "delay", delay.Round(time.Millisecond), "err", err)
		if sleep(ctx, delay) != nil {
			return nil
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

// session ships rows over one connection until it fails or, with -once, until
// all rows are shipped. It keeps no state for the next session, which reads its
// position from PostgreSQL.
func session(ctx context.Context, cfg config, stats *stats, log *slog.Logger) error {
	src, err := openSource(ctx, cfg.db, cfg.once, log)
	if err != nil {
		return err
	}
	defer src.close()
	dst, err := connect(ctx, cfg, stats, log)
	if err != nil {
		return err
	}
	defer dst.close()

	// The next batch is read while this one is shipped. The channel is
	// unbuffered, so at most two batches are in memory.
	ctx, cancel := context.WithCancel(ctx)
	batches := make(chan batch)
	readDone := make(chan error, 1)
	start := dst.position
	go func() {
		defer close(batches)
		readDone <- src.follow(ctx, start, cfg.once, batches)
	}()
	for b := range batches {
		if err = dst.ship(ctx, b); err != nil {
			break
		}
	}
	cancel()
	readErr := <-readDone
	if err != nil {
		return err
	}
	return readErr
}
