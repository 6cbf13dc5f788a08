package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// shipTimeout limits one transaction, so that a connection that hangs without
// an error is closed.
const shipTimeout = 5 * time.Minute

// ship commits a batch. If PostgreSQL refuses the data, ship finds the refused
// rows by halving the batch. It stores a refused row with its details as text,
// or skips it if PostgreSQL refuses that too. The other rows are stored
// unchanged.
func (d *destination) ship(ctx context.Context, b batch) error {
	err := d.commit(ctx, b)
	var refused *pgconn.PgError
	if err == nil || !errors.As(err, &refused) || !isDataError(refused) || len(b.rows) == 0 {
		return err
	}
	if len(b.rows) > 1 {
		first, second := b.halves()
		if err := d.ship(ctx, first); err != nil {
			return err
		}
		return d.ship(ctx, second)
	}
	if b.rows[0].dropStructure() {
		b.sanitized++
		return d.ship(ctx, b)
	}
	d.log.Error("PostgreSQL refuses a row, skipping it", "id", b.rows[0].id, "err", refused)
	b.rows, b.skipped = nil, 1
	return d.ship(ctx, b)
}

// commit writes the rows and the new position in one transaction. After an
// error the transaction may still have been committed, because the response to
// the commit can get lost.
func (d *destination) commit(ctx context.Context, b batch) error {
	ctx, cancel := context.WithTimeout(ctx, shipTimeout)
	defer cancel()
	tx, err := d.conn.Begin(ctx)
	if err != nil {
		return postgresError("begin transaction", err)
	}
	defer tx.Rollback(ctx) // no effect after the commit; after an error, that error is returned

	// The condition on last_id keeps a second forwarder from shipping the same
	// rows where advisory locks do not exist or were lost with the server.
	tag, err := tx.Exec(ctx, `
		UPDATE logs_progress
		SET last_id = $3, last_hash = $4, lost = lost + $5, skipped = skipped + $6, updated = now()
		WHERE source = $1 AND last_id = $2`,
		d.source, b.after, b.end.id, b.end.hash, b.lost, b.skipped)
	if err != nil {
		return postgresError("update position of source", err)
	}
	if tag.RowsAffected() != 1 {
		return fmt.Errorf("source is no longer at row %d: another forwarder ships it", b.after)
	}
	if err := d.copyRows(ctx, tx, b); err != nil {
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return postgresError("commit", err)
	}
	d.position = b.end
	d.stats.committed(b)
	if b.lost > 0 {
		d.log.Warn("rows were deleted from the file before they were shipped", "lost", b.lost, "after", b.after, "through", b.end.id)
	}
	return nil
}

func (d *destination) copyRows(ctx context.Context, tx pgx.Tx, b batch) error {
	if len(b.rows) == 0 {
		return nil
	}
	names := columnNames(logsColumns)
	var source any = d.source // converted once, not for each row
	values := make([]any, len(names))
	next := func(i int) ([]any, error) {
		r := &b.rows[i]
		values[0], values[1], values[2], values[3], values[4], values[5] = source, r.id, r.level, r.message, r.time, nil
		if r.details.Valid {
			values[5] = r.details.String
		}
		return values, nil
	}
	if _, err := tx.CopyFrom(ctx, pgx.Identifier{"logs"}, names, pgx.CopyFromSlice(len(b.rows), next)); err != nil {
		return postgresError(fmt.Sprintf("copy rows %d to %d", b.rows[0].id, b.end.id), err)
	}
	return nil
}
