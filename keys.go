package main

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
)

// apiKeys are the keys that let clients in. They are held as digests only: all
// have one length, so that comparing them takes the same time for any key that
// is tried. Any goroutine may use them.
type apiKeys struct {
	fromEnv []keyDigest
	file    string // read again on demand; empty for none
	all     atomic.Pointer[[]keyDigest]
}

type keyDigest = [sha256.Size]byte

// loadAPIKeys returns the keys of the comma-separated list env and of the named
// file, or nil where neither is given.
func loadAPIKeys(env, file string) (*apiKeys, error) {
	if env == "" && file == "" {
		return nil, nil
	}
	k := &apiKeys{file: file}
	var err error
	if env != "" {
		if k.fromEnv, err = parseKeys("key", strings.Split(env, ",")); err != nil {
			return nil, fmt.Errorf("LOG_INGESTER_API_KEYS: %w", err)
		}
	}
	if err := k.load(); err != nil {
		return nil, err
	}
	return k, nil
}

// load reads the file. After an error the keys are as they were.
func (k *apiKeys) load() error {
	all := k.fromEnv
	if k.file != "" {
		text, err := os.ReadFile(k.file)
		if err != nil {
			return fmt.Errorf("reading the API keys: %w", err)
		}
		lines := strings.Split(string(text), "\n")
		for i, line := range lines {
			if strings.HasPrefix(strings.TrimSpace(line), "#") {
				lines[i] = "" // a comment
			}
		}
		fromFile, err := parseKeys("line", lines)
		if err != nil {
			return fmt.Errorf("reading the API keys: %s: %w", k.file, err)
		}
		all = slices.Concat(all, fromFile)
	}
	k.all.Store(&all)
	return nil
}

// parseKeys reads one key an item; empty items are none. Its errors say which
// item is wrong, and never what it is.
func parseKeys(kind string, items []string) (keys []keyDigest, err error) {
	for i, item := range items {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		for _, c := range []byte(item) {
			if c <= ' ' || c > '~' {
				return nil, fmt.Errorf("%s %d has a space in it, or a character that is not ASCII", kind, i+1)
			}
		}
		keys = append(keys, sha256.Sum256([]byte(item)))
	}
	if len(keys) == 0 {
		return nil, errors.New("no key in it")
	}
	return keys, nil
}

// String says how many keys there are or, for nil, what that means.
func (k *apiKeys) String() string {
	if k == nil {
		return "none: ingesting is open, reading is for this machine only"
	}
	return strconv.Itoa(len(*k.all.Load()))
}

// admit reports whether r brings one of the keys, in either of two headers.
func (k *apiKeys) admit(r *http.Request) bool {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") && k.has(strings.TrimLeft(token, " ")) {
		return true
	}
	return k.has(r.Header.Get("X-Api-Key")) // as net/http spells it, which saves respelling
}

func (k *apiKeys) has(key string) bool {
	// A key of usual length stays off the heap.
	tried := sha256.Sum256(append(make([]byte, 0, 256), key...))
	found := 0
	for _, digest := range *k.all.Load() {
		found |= subtle.ConstantTimeCompare(digest[:], tried[:])
	}
	return found == 1
}
