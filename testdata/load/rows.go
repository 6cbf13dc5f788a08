package main

import "time"

// A row is a load and the servers that it is sent to. The first server is the one that
// the others are compared with.
type row struct {
	name     string
	title    string
	load     load
	http2    bool
	pause    int // the longest time in milliseconds that a connection waits before a request
	conns    int
	rounds   int
	duration time.Duration
	servers  []server
}

var rows = []row{
	{
		name: "plain", title: "single entries", load: load{entries: 1, errors: 33}, conns: 50,
		rounds: 9, duration: 2 * time.Second,
		servers: []server{fasthttpEmpty, netHTTPEmpty, fastPathEmpty, service},
	},
	{
		name: "paced", title: "single entries with pauses", load: load{entries: 1, errors: 33}, conns: 50, pause: 1,
		rounds: 3, duration: 2 * time.Second,
		servers: []server{netHTTPEmpty, service},
	},
	{
		name: "key", title: "single entries, with an API key", load: load{entries: 1, errors: 33}, conns: 50,
		rounds: 5, duration: 2 * time.Second,
		servers: []server{service, service.withKey()},
	},
	{
		name: "bodies-10", title: "bodies of 10", load: load{entries: 10, errors: 33}, conns: 50,
		rounds: 3, duration: 2 * time.Second,
		servers: []server{fastPathEmpty, service},
	},
	{
		name: "bodies-100", title: "bodies of 100", load: load{entries: 100, errors: 33}, conns: 50,
		rounds: 3, duration: 2 * time.Second,
		servers: []server{fastPathEmpty, service},
	},
	{
		name: "bodies-1000", title: "bodies of 1,000", load: load{entries: 1000, errors: 33}, conns: 16,
		rounds: 3, duration: 2 * time.Second,
		servers: []server{fastPathEmpty, service},
	},
	{
		name: "gzip-33", title: "gzip bodies of 1,000, 33% errors",
		load:  load{entries: 1000, errors: 33, gzip: true},
		conns: 16, rounds: 3, duration: 2 * time.Second,
		servers: []server{fastPathEmpty, service},
	},
	{
		name: "gzip-1", title: "gzip bodies of 1,000, 1% errors",
		load:  load{entries: 1000, errors: 1, gzip: true},
		conns: 16, rounds: 3, duration: 2 * time.Second,
		servers: []server{fastPathEmpty, service},
	},
	{
		name: "tls", title: "single entries, TLS 1.3, HTTP/1.1", load: load{entries: 1, errors: 33}, conns: 50,
		rounds: 5, duration: 2 * time.Second,
		servers: []server{netHTTPEmpty.withTLS(), fastPathEmpty.withTLS(), service.withTLS()},
	},
	{
		name: "http2", title: "single entries, TLS 1.3, HTTP/2", load: load{entries: 1, errors: 33},
		http2: true, conns: 10, rounds: 5, duration: 2 * time.Second,
		servers: []server{netHTTPEmpty.withTLS(), netHTTPJSON.withTLS(), service.withTLS()},
	},
	realisticRow("realistic-1", "realistic entries, bodies of 100, 1% errors", 1),
	realisticRow("realistic-33", "realistic entries, bodies of 100, 33% errors", 33),
	realisticRow("realistic-100", "realistic entries, bodies of 100, all errors", 100),
	retentionRow("retention-1", "single entries, deleting", 1),
	retentionRow("retention-100", "bodies of 100, deleting", 100),
}

func realisticRow(name, title string, errors int) row {
	return row{
		name: name, title: title, load: load{entries: 100, errors: errors, realistic: true}, conns: 16,
		rounds: 3, duration: 2 * time.Second,
		servers: []server{
			netHTTPEmpty,
			service,
			// Fluent Bit does not sync its file either.
			service.with("the service, `-synchronous off`", "-synchronous", "off"),
			victoriaLogs,
			fluentBit,
		},
	}
}

// retentionRow returns a row with entries that are an hour old. Its runs are long enough
// to exceed both limits, so the service deletes entries while it stores others.
func retentionRow(name, title string, entries int) row {
	return row{
		name: name, title: title, load: load{entries: entries, errors: 33, old: true}, conns: 50,
		rounds: 3, duration: 10 * time.Second,
		servers: []server{
			service,
			service.with("the service, `-retain 1m`", "-retain", "1m"),
			service.with("the service, `-max-db 64MiB`", "-max-db", "64MiB"),
		},
	}
}
