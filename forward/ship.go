package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

const (
	createLogs = `CREATE TABLE IF NOT EXISTS logs (
		source text, id bigint, level text NOT NULL, message text NOT NULL,
		timestamp timestamptz NOT NULL, details jsonb,
		PRIMARY KEY (source, id))`

	// For every source, last_id = the rows in logs + lost + skipped, as long
	// as nobody deletes from logs. A table of its own rather than max(id) of
	// logs, so that old rows may be deleted there.
	createProgress = `CREATE TABLE IF NOT EXISTS logs_progress (
		source text PRIMARY KEY,
		last_id bigint NOT NULL,
		last_hash bytea,
		lost bigint NOT NULL DEFAULT 0,
		skipped bigint NOT NULL DEFAULT 0,
		updated timestamptz NOT NULL DEFAULT now())`

	// How long before a connection that hangs without an error is given up.
	connectTimeout = 30 * time.Second
	shipTimeout    = 5 * time.Minute

	// How often a second forwarder tries whether the first is gone.
	lockInterval = 250 * time.Millisecond
)

type column struct {
	name string
	oid  uint32
}

var (
	logsColumns = []column{
		{"source", pgtype.TextOID}, {"id", pgtype.Int8OID}, {"level", pgtype.TextOID},
		{"message", pgtype.TextOID}, {"timestamp", pgtype.TimestamptzOID}, {"details", pgtype.JSONBOID},
	}
	progressColumns = []column{
		{"source", pgtype.TextOID}, {"last_id", pgtype.Int8OID}, {"last_hash", pgtype.ByteaOID},
		{"lost", pgtype.Int8OID}, {"skipped", pgtype.Int8OID}, {"updated", pgtype.TimestamptzOID},
	}
)

// A destination is one connection to PostgreSQL that holds the source's lock.
type destination struct {
	conn     *pgx.Conn
	source   string
	position position // of the last commit
	stats    *stats
	log      *slog.Logger
}

// connect returns once the tables are there, no other forwarder ships the
// source, and its position is known.
func connect(ctx context.Context, cfg config, stats *stats, log *slog.Logger) (*destination, error) {
	connectCtx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := pgx.ConnectConfig(connectCtx, cfg.to)
	if err != nil {
		return nil, destinationError("connecting", err)
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
	d.conn.Close(ctx) // whatever was not committed is shipped again
}

// prepare makes the tables where they are missing, and checks them.
func (d *destination) prepare(ctx context.Context) error {
	if encoding := d.conn.PgConn().ParameterStatus("server_encoding"); encoding != "" && encoding != "UTF8" {
		return permanent("the database has the encoding %s; forward needs one with UTF8", encoding)
	}
	// So that the lock of a machine that lost its power is free within a
	// minute. Not every server knows them: then its own defaults hold.
	for _, setting := range []string{"tcp_keepalives_idle = 20", "tcp_keepalives_interval = 10", "tcp_keepalives_count = 3"} {
		if _, err := d.conn.Exec(ctx, "SET "+setting); err != nil && d.conn.IsClosed() {
			return destinationError("connecting", err)
		}
	}
	if err := d.prepareTable(ctx, "logs", createLogs, logsColumns); err != nil {
		return err
	}
	return d.prepareTable(ctx, "logs_progress", createProgress, progressColumns)
}

func (d *destination) prepareTable(ctx context.Context, table, create string, columns []column) error {
	var missing bool
	if err := d.conn.QueryRow(ctx, `SELECT to_regclass($1) IS NULL`, table).Scan(&missing); err != nil {
		return destinationError("looking for table "+table, err)
	}
	var createErr error
	if missing {
		// Where several forwarders make it at once, all but one fail here and
		// then find the table.
		_, createErr = d.conn.Exec(ctx, create)
	}
	var names, wrong []string
	for _, c := range columns {
		names = append(names, c.name)
	}
	description, err := d.conn.Prepare(ctx, "", "SELECT "+strings.Join(names, ", ")+" FROM "+table)
	if err != nil {
		if createErr != nil {
			err = createErr
		}
		return destinationError(fmt.Sprintf("table %s (%s) is needed", table, strings.Join(names, ", ")), err)
	}
	for i, c := range columns {
		if got := description.Fields[i].DataTypeOID; got != c.oid {
			wrong = append(wrong, fmt.Sprintf("%s is %s, want %s", c.name, d.typeName(got), d.typeName(c.oid)))
		}
	}
	if wrong != nil {
		return permanent("table %s in PostgreSQL is not as forward makes it: %s", table, strings.Join(wrong, "; "))
	}
	return nil
}

func (d *destination) typeName(oid uint32) string {
	if t, ok := d.conn.TypeMap().TypeForOID(oid); ok {
		return t.Name
	}
	return fmt.Sprintf("type %d", oid)
}

// lock waits until this is the only forwarder of the source. The lock goes
// with the connection.
func (d *destination) lock(ctx context.Context) error {
	for waiting := false; ; waiting = true {
		locked, err := d.tryLock(ctx)
		if err != nil || locked {
			return err
		}
		if !waiting {
			d.log.Warn("another forwarder ships this source; waiting until it ends")
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
	if errors.As(err, &e) && (e.Code == "0A000" || e.Code == "42883") {
		// Still exact: of two forwarders, the one that the other has overtaken
		// cannot commit. But they would disturb each other.
		d.log.Warn("the database has no advisory locks: see to it that this source has one forwarder only")
		return true, nil
	}
	if err != nil {
		return false, destinationError("locking the source", err)
	}
	return locked, nil
}

// readPosition asks PostgreSQL where to go on.
func (d *destination) readPosition(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	// Statements on one table each, which databases that spread tables know.
	read := func() error {
		return d.conn.QueryRow(ctx, `SELECT last_id, last_hash FROM logs_progress WHERE source = $1`, d.source).
			Scan(&d.position.id, &d.position.hash)
	}
	err := read()
	if errors.Is(err, pgx.ErrNoRows) {
		// New, or its progress was deleted: then the rows themselves say it.
		err = d.conn.QueryRow(ctx, `SELECT coalesce(max(id), 0) FROM logs WHERE source = $1`, d.source).Scan(&d.position.id)
		if err == nil {
			_, err = d.conn.Exec(ctx, `
				INSERT INTO logs_progress (source, last_id) VALUES ($1, $2)
				ON CONFLICT DO NOTHING`, d.source, d.position.id)
		}
		if err == nil {
			err = read()
		}
	}
	if err == nil {
		err = d.conn.QueryRow(ctx, `SELECT timestamp FROM logs WHERE source = $1 AND id = $2`, d.source, d.position.id).
			Scan(&d.position.time)
		if errors.Is(err, pgx.ErrNoRows) {
			err = nil
		}
	}
	if err != nil {
		return destinationError("reading how far the source is shipped", err)
	}
	d.stats.position.Store(d.position.id)
	return nil
}

// ship commits a batch. Rows that PostgreSQL refuses are found by halving the
// batch, and go without their structure, or not at all, but hold up no other.
func (d *destination) ship(ctx context.Context, b batch) error {
	err := d.commit(ctx, b)
	var refused *pgconn.PgError
	if err == nil || !errors.As(err, &refused) || !isRefusal(refused) || len(b.rows) == 0 {
		return err
	}
	if half := len(b.rows) / 2; half > 0 {
		first, second := b, b
		first.rows, second.rows = b.rows[:half], b.rows[half:]
		last := first.rows[half-1]
		first.end = position{id: last.id, time: last.time}
		second.after = last.id
		first.lost = last.id - b.after - int64(half)
		second.lost -= first.lost
		first.fitted, second.fitted = 0, b.fitted
		if err := d.ship(ctx, first); err != nil {
			return err
		}
		return d.ship(ctx, second)
	}
	if b.rows[0].makePlain() {
		b.fitted++
		return d.ship(ctx, b)
	}
	d.log.Error("PostgreSQL refuses a row, skipping it", "id", b.rows[0].id, "err", refused)
	b.rows, b.skipped = nil, 1
	return d.ship(ctx, b)
}

// isRefusal tells an error of the data from one of the server: class 22 is
// what a type cannot hold, 54 what is too large.
func isRefusal(e *pgconn.PgError) bool {
	return strings.HasPrefix(e.Code, "22") || strings.HasPrefix(e.Code, "54")
}

// commit writes the rows and the progress they make in one transaction. When
// it fails, it may have been committed all the same, with only the answer lost.
func (d *destination) commit(ctx context.Context, b batch) error {
	ctx, cancel := context.WithTimeout(ctx, shipTimeout)
	defer cancel()
	tx, err := d.conn.Begin(ctx)
	if err != nil {
		return destinationError("beginning a transaction", err)
	}
	defer tx.Rollback(ctx) // without effect after the commit; else the error at hand counts

	// Where advisory locks do not exist, or were lost with the server, this
	// row is what keeps a second forwarder from shipping the same rows.
	tag, err := tx.Exec(ctx, `
		UPDATE logs_progress
		SET last_id = $3, last_hash = $4, lost = lost + $5, skipped = skipped + $6, updated = now()
		WHERE source = $1 AND last_id = $2`,
		d.source, b.after, b.end.id, b.end.hash, b.lost, b.skipped)
	if err != nil {
		return destinationError("noting the progress", err)
	}
	if tag.RowsAffected() != 1 {
		return fmt.Errorf("the source is not at row %d any more: another forwarder ships it", b.after)
	}
	if len(b.rows) > 0 {
		names := make([]string, len(logsColumns))
		for i, c := range logsColumns {
			names[i] = c.name
		}
		var source any = d.source
		values := make([]any, len(names))
		_, err = tx.CopyFrom(ctx, pgx.Identifier{"logs"}, names, pgx.CopyFromSlice(len(b.rows), func(i int) ([]any, error) {
			r := &b.rows[i]
			values[0], values[1], values[2], values[3], values[4], values[5] = source, r.id, r.level, r.message, r.time, nil
			if r.details.Valid {
				values[5] = r.details.String
			}
			return values, nil
		}))
		if err != nil {
			return destinationError(fmt.Sprintf("copying rows %d to %d", b.rows[0].id, b.end.id), err)
		}
	}
	if err := tx.Commit(ctx); err != nil {
		return destinationError("committing", err)
	}
	d.position = b.end
	d.stats.committed(b)
	if b.lost > 0 {
		d.log.Warn("rows were deleted from the file before they were shipped", "lost", b.lost, "after", b.after, "up to", b.end.id)
	}
	return nil
}

// destinationError tells what trying again cannot mend, a missing or changed
// table or a refused login, from what passes.
func destinationError(doing string, err error) error {
	wrapped := fmt.Errorf("%s: %w", doing, err)
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return wrapped
	}
	switch class := e.Code[:min(2, len(e.Code))]; {
	case class == "42", class == "28", class == "3D", class == "3F", e.Code == "23505":
		return permanentError{wrapped}
	}
	return wrapped
}
