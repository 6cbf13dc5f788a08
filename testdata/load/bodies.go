package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A load describes request bodies.
type load struct {
	entries   int // in each body
	errors    int // percentage of entries that the service keeps
	realistic bool
	old       bool // the entries are an hour old
	gzip      bool
}

// writeBodies writes the request bodies of a load to the files 0, 1, ... in dir, as
// JSON lines. It returns their average size in bytes, before compression.
func writeBodies(dir string, l load) (size int, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, err
	}
	g := generator{rand.New(rand.NewPCG(1, 2)), time.Now().UTC()}
	n := max(8, 256/l.entries)
	for i := range n {
		body := g.body(l)
		size += len(body)
		if l.gzip {
			if body, err = compress(body); err != nil {
				return 0, err
			}
		}
		if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(i)), body, 0o600); err != nil {
			return 0, err
		}
	}
	return size / n, nil
}

func compress(body []byte) ([]byte, error) {
	var compressed bytes.Buffer
	w := gzip.NewWriter(&compressed)
	if _, err := w.Write(body); err != nil {
		return nil, err
	}
	err := w.Close()
	return compressed.Bytes(), err
}

// A generator makes log entries. Its random numbers are the same in each run.
type generator struct {
	*rand.Rand
	now time.Time
}

func (g *generator) body(l load) []byte {
	var body []byte
	for range l.entries {
		level := "error"
		if g.IntN(100) >= l.errors {
			level = g.pick("info", "debug")
		}
		switch {
		case l.realistic:
			body = append(body, g.realistic(level)...)
		case l.old:
			body = append(body, g.simple(level, fmt.Sprintf(`"timestamp": %q, `, g.timestamp(-time.Hour)))...)
		default:
			body = append(body, g.simple(level, "")...)
		}
		body = append(body, '\n')
	}
	return body
}

func (g *generator) pick(choices ...string) string { return choices[g.IntN(len(choices))] }

func (g *generator) timestamp(offset time.Duration) string {
	return g.now.Add(offset).Format("2006-01-02T15:04:05.000Z")
}

// simple returns an entry of about 150 bytes, without a time. more is the text of
// further members.
func (g *generator) simple(level, more string) string {
	filler := strings.Repeat(string(rune('a'+g.IntN(26))), 50)
	return fmt.Sprintf(
		`{"level": %q, "message": "connection to upstream lost, retrying", %s"user_id": %d, "request": %q}`,
		level, more, g.IntN(10000), filler)
}

// realistic returns an entry of 1 to 2 KB of a web shop, with nested details, a stack
// trace, escapes and text in several scripts.
func (g *generator) realistic(level string) []byte {
	data, err := json.Marshal(map[string]any{
		"timestamp": g.timestamp(0),
		"level":     level,
		"service":   g.pick("checkout", "catalog", "payment", "search"),
		"message":   g.message(),
		"trace_id":  fmt.Sprintf("%016x%016x", g.Uint64(), g.Uint64()),
		"request":   g.request(),
		"customer":  g.customer(),
		"cart":      g.cart(),
		"error": map[string]any{
			"type":  "org.postgresql.util.PSQLException",
			"stack": g.stack(),
			"query": "SELECT \"id\", \"name\"\n\tFROM \"items\"\n\tWHERE \"price\" < $1 AND \"path\" LIKE 'C:\\\\%'",
		},
	})
	if err != nil {
		panic(err) // strings, numbers and maps can always be encoded
	}
	return data
}

func (g *generator) message() string {
	return g.pick(
		"payment of order failed: card declined by issuer \"Банк\", order ",
		"注文の在庫を確認できませんでした。再試行します: ",
		"заказ не удалось сохранить: соединение с базой данных потеряно: ",
		"order: connection to upstream lost, retrying after 250 ms: ",
	) + strconv.Itoa(g.IntN(1_000_000))
}

func (g *generator) request() map[string]any {
	return map[string]any{
		"method":      g.pick("GET", "POST", "PUT"),
		"url":         fmt.Sprintf("https://shop.example/api/v2/orders/%d?lang=ja&ref=<mail>", g.IntN(1_000_000)),
		"status":      500 + g.IntN(4),
		"duration_ms": float64(g.IntN(5_000_000)) / 1000,
		"headers": map[string]any{
			"user-agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0 Safari/537.36",
			"accept":     "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
			"x-forwarded-for": []string{
				fmt.Sprintf("203.0.113.%d", g.IntN(256)), fmt.Sprintf("10.0.%d.%d", g.IntN(256), g.IntN(256)),
			},
		},
	}
}

func (g *generator) customer() map[string]any {
	return map[string]any{
		"id":   g.IntN(100_000),
		"name": g.pick("Jürgen Müller", "山田 太郎", "Анна Иванова", "Zoë O'Neill"),
		"city": g.pick("München", "東京都渋谷区", "Санкт-Петербург", "Łódź"),
		"vip":  g.IntN(2) == 0,
	}
}

func (g *generator) cart() []any {
	items := make([]any, 1+g.IntN(4))
	for i := range items {
		items[i] = map[string]any{"sku": fmt.Sprintf("SKU-%06d", g.IntN(1_000_000)), "count": 1 + g.IntN(5), "price": nil}
	}
	return items
}

// stack returns a stack trace of Java with 4 to 9 frames.
func (g *generator) stack() string {
	var stack strings.Builder
	stack.WriteString("org.postgresql.util.PSQLException: FATAL: terminating connection\n")
	for range 4 + g.IntN(6) {
		fmt.Fprintf(&stack, "\tat com.example.shop.%s.%s(%s.java:%d)\n",
			g.pick("order.OrderService", "db.ConnectionPool", "web.Dispatcher"), g.pick("save", "lambda$run$0", "handle"),
			g.pick("OrderService", "ConnectionPool", "Dispatcher"), g.IntN(900))
	}
	return stack.String()
}
