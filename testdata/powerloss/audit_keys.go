//go:build linux && amd64

package main

import (
	"bytes"
	"crypto/sha256"
	"database/sql"
	"fmt"
)

// A storedKey is a row of the table idempotency_keys, without what no audit needs.
type storedKey struct {
	key                        []byte
	status, accepted, filtered int
}

// readKeys reads the idempotency keys. A moved database can lack the table.
func readKeys(db *sql.DB) (keys []storedKey, err error) {
	var exists bool
	const find = "SELECT count(*) FROM sqlite_schema WHERE name = 'idempotency_keys'"
	if err := db.QueryRow(find).Scan(&exists); err != nil || !exists {
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

// auditKeys checks that each file has a key exactly if it has the rows of the key's
// request, and that the stored response is the request's.
func auditKeys(s *state) (problems []string) {
	for _, t := range s.tables {
		used := 0
		for _, o := range s.requests {
			if o.Key == "" {
				continue
			}
			n, ok := t.findKey(o)
			used += n
			if stored := len(o.idsIn(t)) > 0; n > 1 || stored != (n == 1) {
				problems = append(problems, fmt.Sprintf("%s: the key of request %d is stored %d times, its rows: %t",
					t.file, o.ID, n, stored))
			}
			if !ok {
				problems = append(problems, fmt.Sprintf("%s: the key of request %d has another response", t.file, o.ID))
			}
		}
		if used != len(t.keys) {
			problems = append(problems, fmt.Sprintf("%s: %d keys were not sent", t.file, len(t.keys)-used))
		}
	}
	return problems
}

// findKey returns how often the key of o is in t, and whether the stored responses
// are correct.
func (t *table) findKey(o *outcome) (n int, ok bool) {
	want := storedKey{key: storedDigest(o.Key), status: o.successStatus(), accepted: len(o.Rows)}
	ok = true
	for _, k := range t.keys {
		if bytes.Equal(k.key, want.key) {
			n++
			ok = ok && k.status == want.status && k.accepted == want.accepted && k.filtered == 0
		}
	}
	return n, ok
}

// successStatus returns the status of the response to a request that is accepted.
func (q *request) successStatus() int {
	if q.Wait {
		return 200
	}
	return 202
}
