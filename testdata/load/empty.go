package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/valyala/fasthttp"

	"log-ingester/internal/fastpath"
)

// serveEmpty serves requests with an empty handler until the process is killed. args
// are the kind of server, its address and, for TLS, the files of the certificate and the
// key.
func serveEmpty(args []string) error {
	if len(args) != 2 && len(args) != 4 {
		return fmt.Errorf("usage: load serve fasthttp|net/http|net/http-json|fastpath ADDR [CERT KEY]")
	}
	l, err := net.Listen("tcp", args[1])
	if err != nil {
		return err
	}
	config := &tls.Config{}
	if len(args) == 4 {
		cert, err := tls.LoadX509KeyPair(args[2], args[3])
		if err != nil {
			return err
		}
		config.Certificates = []tls.Certificate{cert}
	}
	secure := len(args) == 4
	switch args[0] {
	case "fasthttp":
		return fasthttp.Serve(l, func(ctx *fasthttp.RequestCtx) { ctx.SetStatusCode(fasthttp.StatusAccepted) })
	case "net/http", "net/http-json":
		server := &http.Server{Handler: http.HandlerFunc(discard), TLSConfig: config}
		if args[0] == "net/http-json" {
			server.Handler = http.HandlerFunc(respond)
		}
		if secure {
			return server.ServeTLS(l, "", "")
		}
		return server.Serve(l)
	case "fastpath":
		if secure {
			l = tls.NewListener(l, config)
		}
		return http.Serve(fastpath.New(l, http.HandlerFunc(discard), fastpath.Config{
			Path: "/ingest", RequestTimeout: time.Minute, IdleTimeout: time.Minute, Log: slog.Default(),
		}), http.HandlerFunc(discard))
	}
	return fmt.Errorf("unknown kind of server %q", args[0])
}

// discard reads the body and responds without one.
func discard(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body) // an error means that the client has disconnected
	w.WriteHeader(http.StatusAccepted)
}

// respond reads the body and responds as the service does.
func respond(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body) // as in discard
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	io.WriteString(w, "{\"accepted\":1,\"filtered\":0}\n")
}
