package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

const (
	createLogs = `CREATE TABLE IF NOT EXISTS logs (
		source text, id bigint, level text NOT NULL, message text NOT NULL,
		timestamp timestamptz NOT NULL, details jsonb,
		PRIMARY KEY (source, id))`

	// For every source, last_id = the number of its rows in logs + lost +
	// skipped, as long as no rows are deleted from logs. The position is not
	// max(id) of logs, so that old rows may be deleted there.
	createProgress = `CREATE TABLE IF NOT EXISTS logs_progress (
		source text PRIMARY KEY,
		last_id bigint NOT NULL,
		last_hash bytea,
		lost bigint NOT NULL DEFAULT 0,
		skipped bigint NOT NULL DEFAULT 0,
		updated timestamptz NOT NULL DEFAULT now())`
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

func columnNames(columns []column) []string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.name
	}
	return names
}

// prepareTables creates the tables that do not exist, and checks the columns of
// both.
func prepareTables(ctx context.Context, conn *pgx.Conn) error {
	if err := prepareTable(ctx, conn, "logs", createLogs, logsColumns); err != nil {
		return err
	}
	return prepareTable(ctx, conn, "logs_progress", createProgress, progressColumns)
}

func prepareTable(ctx context.Context, conn *pgx.Conn, table, create string, columns []column) error {
	var missing bool
	if err := conn.QueryRow(ctx, `SELECT to_regclass($1) IS NULL`, table).Scan(&missing); err != nil {
		return postgresError("look up table "+table, err)
	}
	var createErr error
	if missing {
		// If several forwarders create the table at once, all but one get an
		// error here. The query below then finds the table.
		_, createErr = conn.Exec(ctx, create)
	}
	names := strings.Join(columnNames(columns), ", ")
	description, err := conn.Prepare(ctx, "", "SELECT "+names+" FROM "+table)
	if err != nil {
		if createErr != nil {
			err = createErr
		}
		return postgresError(fmt.Sprintf("prepare table %s (%s)", table, names), err)
	}
	var wrong []string
	for i, c := range columns {
		if got := description.Fields[i].DataTypeOID; got != c.oid {
			wrong = append(wrong, fmt.Sprintf("%s is %s, want %s", c.name, typeName(conn, got), typeName(conn, c.oid)))
		}
	}
	if wrong != nil {
		return permanentErrorf("table %s in PostgreSQL has other column types than expected: %s", table, strings.Join(wrong, "; "))
	}
	return nil
}

func typeName(conn *pgx.Conn, oid uint32) string {
	if t, ok := conn.TypeMap().TypeForOID(oid); ok {
		return t.Name
	}
	return fmt.Sprintf("type %d", oid)
}
