//go:build linux && amd64

package main

import (
	"crypto/sha256"
	"database/sql"
	"fmt"
)

// hasTable reports whether a database has a table.
func hasTable(db *sql.DB, name string) (exists bool, err error) {
	err = db.QueryRow("SELECT count(*) FROM sqlite_schema WHERE name = ?", name).Scan(&exists)
	return exists, err
}

// A storedKey has the columns of a row of idempotency_keys that the audits need.
type storedKey struct {
	key                        []byte
	status, accepted, filtered int
}

// readKeys reads the idempotency keys. A moved database can lack the table.
func readKeys(db *sql.DB) (keys []storedKey, err error) {
	if exists, err := hasTable(db, "idempotency_keys"); err != nil || !exists {
		return nil, err
	}
	rows, err := db.Query("SELECT key, status, accepted, filtered FROM idempotency_keys")
	if err != nil {
		return nil, err
	}
	defer rows.Close() // Err is checked
	for rows.Next() {
		var k storedKey
		if err := rows.Scan(&k.key, &k.status, &k.accepted, &k.filtered); err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, rows.Err()
}

// storedDigest returns the digest that the service stores for a key when no API
// keys are configured.
func storedDigest(key string) []byte {
	sum := sha256.Sum256(append(make([]byte, sha256.Size), key...))
	return sum[:sha256.Size/2]
}

// summaryChecks are queries that return a number other than 0 if the tables of the
// summaries have the problem. The service has started, so all tables exist.
var summaryChecks = []struct{ problem, query string }{
	{"objects of the schema are missing or exist twice", `SELECT count(*) != 6 OR count(DISTINCT name) != 6
		FROM sqlite_schema WHERE name IN ('logs_segments', 'logs_filters', 'logs_segments_deleted',
		'logs_inserted', 'logs_updated', 'logs_deleted')`},
	{"a filter lacks rows", `SELECT count(*) FROM logs_segments WHERE filter IS NOT NULL AND pages !=
		(SELECT count(*) FROM logs_filters WHERE id >= filter AND id < filter + pages)`},
	{"rows of logs_filters belong to no segment", `SELECT (SELECT count(*) FROM logs_filters) !=
		(SELECT ifnull(sum(pages), 0) FROM logs_segments)`},
	{"a summary covers ids that do not exist yet", `SELECT count(*) FROM logs_segments
		WHERE upto > (SELECT seq FROM sqlite_sequence WHERE name = 'logs')`},
}

// checkSummaries returns the problems of the tables of the summaries. A file that was
// moved before the service created these tables has no problems.
func checkSummaries(db *sql.DB) (problems []string, err error) {
	if exists, err := hasTable(db, "logs_segments"); err != nil || !exists {
		return nil, err
	}
	for _, c := range summaryChecks {
		var wrong bool
		if err := db.QueryRow(c.query).Scan(&wrong); err != nil {
			return nil, fmt.Errorf("check summaries: %w", err)
		}
		if wrong {
			problems = append(problems, c.problem)
		}
	}
	return problems, nil
}
