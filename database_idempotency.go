package main

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"log-ingester/internal/httpapi"
)

// keySchema is the table of the idempotency keys. Its ids increase, so that both
// new and expired keys are next to each other in the file.
const keySchema = `CREATE TABLE IF NOT EXISTS idempotency_keys (
  id INTEGER PRIMARY KEY, key BLOB NOT NULL, body BLOB NOT NULL, time INTEGER NOT NULL,
  status INTEGER NOT NULL, accepted INTEGER NOT NULL, filtered INTEGER NOT NULL)`

const insertKey = `INSERT INTO idempotency_keys(id, key, body, time, status, accepted, filtered)
  VALUES (?, ?, ?, ?, ?, ?, ?)`

// Keys are kept for keyLifetime, but at most maxKeys of them. keyBytes is about
// the size of a key in the file.
const (
	keyLifetime = 24 * time.Hour
	maxKeys     = 1_000_000
	keyBytes    = 64
)

// The writer looks for expired keys every expireEvery. It deletes at most
// minExpireStep of them in one transaction, or more if it adds many keys.
const (
	expireEvery   = 10 * time.Second
	minExpireStep = 1000
)

// load replaces the index with one of the keys in the database.
func (t *claimTable) load(c *conn) (err error) {
	x := newKeyIndex(t.index.limit)
	rows, err := c.driver.QueryContext(context.Background(), `SELECT id, key FROM idempotency_keys
		WHERE id > (SELECT max(id) FROM idempotency_keys) - ? ORDER BY id`, namedValues([]driver.Value{x.limit}))
	if err != nil {
		return fmt.Errorf("read idempotency keys: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for row := make([]driver.Value, 2); ; {
		switch err := rows.Next(row); err {
		case nil:
			var key digest
			blob, _ := row[1].([]byte)
			copy(key[:], blob)
			x.add(row[0].(int64), key)
		case io.EOF:
			t.mu.Lock()
			defer t.mu.Unlock()
			t.index = x
			return nil
		default:
			return fmt.Errorf("read idempotency keys: %w", err)
		}
	}
}

// insert adds the keys of the batches' requests to the database. It runs in the
// transaction of their entries. stmt executes insertKey.
func (t *claimTable) insert(c *conn, stmt statement, batches []*batch) error {
	id, now := t.index.next, time.Now().Unix()
	added := int64(0)
	for _, b := range batches {
		for k := b.claims; k != nil; k = k.next {
			k.row = id + added
			added++
			r := &k.response
			_, err := stmt.ExecContext(context.Background(), namedValues([]driver.Value{
				k.row, k.id.key[:], k.id.body[:], now, int64(r.status), int64(r.accepted), int64(r.filtered)}))
			if err != nil {
				return err
			}
		}
	}
	if added == 0 {
		return nil
	}
	_, err := t.deleteExpired(c, added)
	return err
}

// deleteExpired deletes keys that are expired or exceed the limit: at most
// minExpireStep, or 2*added if that is more. It reports whether it deleted any.
func (t *claimTable) deleteExpired(c *conn, added int64) (deleted bool, err error) {
	now := time.Now()
	if now.Before(t.nextExpiry) && (added == 0 || !t.index.full()) {
		return false, nil
	}
	n, err := c.change(`DELETE FROM idempotency_keys WHERE (id < ? OR time < ?)
		AND id IN (SELECT id FROM idempotency_keys ORDER BY id LIMIT ?)`,
		t.index.next-t.index.limit, now.Add(-keyLifetime).Unix(), max(minExpireStep, 2*added))
	if err != nil {
		return false, err
	}
	if n == 0 {
		t.nextExpiry = now.Add(expireEvery)
		return false, nil
	}
	rows, err := c.query("SELECT min(id) FROM idempotency_keys")
	if err != nil {
		return false, err
	}
	oldest, ok := rows[0][0].(int64)
	if !ok { // the table is empty
		oldest = t.index.next
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.index.forget(oldest)
	return true, nil
}

// findKey returns the response to the committed request with the same key as c,
// or nil if there is none or its key is expired.
func findKey(ctx context.Context, query rowQuery, c *claim) (*response, *httpapi.Error) {
	for _, row := range c.candidates {
		var key, body []byte
		var stored int64
		r := response{replayed: true}
		err := query(ctx, "SELECT key, body, time, status, accepted, filtered FROM idempotency_keys WHERE id = ?", row).
			Scan(&key, &body, &stored, &r.status, &r.accepted, &r.filtered)
		switch {
		case errors.Is(err, sql.ErrNoRows), err == nil && !bytes.Equal(key, c.id.key[:]):
			continue
		case err != nil:
			return nil, httpapi.Errorf(http.StatusServiceUnavailable, "cannot look up the Idempotency-Key: %v", err)
		case time.Since(time.Unix(stored, 0)) > keyLifetime:
			continue
		case !bytes.Equal(body, c.id.body[:]):
			return nil, errKeyReused
		}
		return &r, nil
	}
	return nil, nil
}

// A rowQuery runs a statement that selects at most one row.
type rowQuery func(ctx context.Context, query string, args ...any) *sql.Row
