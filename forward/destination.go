package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// connectTimeout limits connecting and the statements before the first
	// batch, so that a connection that hangs without an error is closed.
	connectTimeout = 30 * time.Second

	// lockInterval is how often a second forwarder of a source tries to get its
	// lock.
	lockInterval = 250 * time.Millisecond
)

// A destination is one connection to PostgreSQL. It holds the advisory lock of
// the source.
type destination struct {
	conn     *pgx.Conn
	source   string
	position position // after the last commit
	stats    *stats
	log      *slog.Logger
}

// connect connects to PostgreSQL, prepares the tables, waits until no other
// forwarder ships the source, and reads the position of the source.
func connect(ctx context.Context, cfg config, stats *stats, log *slog.Logger) (*destination, error) {
	connectCtx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := pgx.ConnectConfig(connectCtx, cfg.to)
	if err != nil {
		return nil, postgresError("connect to PostgreSQL", err)
	}
	d := &destination{conn: conn, source: cfg.source, stats: stats, log: log}
	err = d.prepare(connectCtx)
	if err == nil {
		err = d.lock(ctx)
	}
	if err == nil {
		err = d.readPosition(ctx)
	}
	if err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

func (d *destination) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	d.conn.Close(ctx) // an error loses nothing: uncommitted rows are shipped again
}

// prepare checks the encoding, configures the connection and prepares the
// tables.
func (d *destination) prepare(ctx context.Context) error {
	if encoding := d.conn.PgConn().ParameterStatus("server_encoding"); encoding != "" && encoding != "UTF8" {
		return permanentErrorf("the encoding of the database is %s; forward needs UTF8", encoding)
	}
	// With these settings the server releases the lock of a machine that lost
	// power within a minute. Servers that do not know them keep their defaults.
	for _, setting := range []string{"tcp_keepalives_idle = 20", "tcp_keepalives_interval = 10", "tcp_keepalives_count = 3"} {
		if _, err := d.conn.Exec(ctx, "SET "+setting); err != nil && d.conn.IsClosed() {
			return postgresError("connect to PostgreSQL", err)
		}
	}
	return prepareTables(ctx, d.conn)
}

// lock waits until this is the only forwarder of the source. The server releases
// the lock when the connection ends.
func (d *destination) lock(ctx context.Context) error {
	for waiting := false; ; waiting = true {
		locked, err := d.tryLock(ctx)
		if err != nil || locked {
			return err
		}
		if !waiting {
			d.log.Warn("another forwarder ships this source, waiting until it stops")
		}
		if err := sleep(ctx, lockInterval); err != nil {
			return err
		}
	}
}

func (d *destination) tryLock(ctx context.Context) (locked bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	sum := sha256.Sum256([]byte("log-ingester/forward " + d.source))
	key := int64(binary.LittleEndian.Uint64(sum[:]))
	err = d.conn.QueryRow(ctx, `SELECT pg_try_advisory_lock($1)`, key).Scan(&locked)
	var e *pgconn.PgError
	if errors.As(err, &e) && (e.Code == "0A000" || e.Code == "42883") { // not supported, or no such function
		// Rows still arrive once: of two forwarders at the same position, only
		// one can commit. But each one slows down the other.
		d.log.Warn("the database has no advisory locks, run only one forwarder for this source")
		return true, nil
	}
	if err != nil {
		return false, postgresError("lock source", err)
	}
	return locked, nil
}

// readPosition reads where to resume. It creates the source's row in
// logs_progress if there is none.
func (d *destination) readPosition(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	pos, err := d.queryPosition(ctx)
	if err != nil {
		return postgresError("read position of source", err)
	}
	d.position = pos
	d.stats.position.Store(pos.id)
	return nil
}

// queryPosition uses one table per statement, which distributed databases
// support.
func (d *destination) queryPosition(ctx context.Context) (pos position, err error) {
	read := func() error {
		return d.conn.QueryRow(ctx, `SELECT last_id, last_hash FROM logs_progress WHERE source = $1`, d.source).
			Scan(&pos.id, &pos.hash)
	}
	err = read()
	if errors.Is(err, pgx.ErrNoRows) {
		// The source is new or its progress was deleted: use its last row.
		err = d.conn.QueryRow(ctx, `SELECT coalesce(max(id), 0) FROM logs WHERE source = $1`, d.source).Scan(&pos.id)
		if err == nil {
			_, err = d.conn.Exec(ctx, `
				INSERT INTO logs_progress (source, last_id) VALUES ($1, $2)
				ON CONFLICT DO NOTHING`, d.source, pos.id)
		}
		if err == nil {
			err = read()
		}
	}
	if err != nil {
		return pos, err
	}
	err = d.conn.QueryRow(ctx, `SELECT timestamp FROM logs WHERE source = $1 AND id = $2`, d.source, pos.id).Scan(&pos.time)
	if errors.Is(err, pgx.ErrNoRows) {
		err = nil
	}
	return pos, err
}
