//go:build linux && amd64

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// timeout limits each request, and each wait for the service.
const timeout = time.Minute

// A client sends requests one after the other over one connection.
type client struct {
	r    *recorder
	conn net.Conn
	in   *bufio.Reader
	port uint16
}

func dial(r *recorder, address string) (*client, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	port := uint16(conn.LocalAddr().(*net.TCPAddr).Port)
	return &client{r: r, conn: conn, in: bufio.NewReader(conn), port: port}, nil
}

// post sends a request and returns the status of its response.
func (c *client) post(q request) (status int, err error) {
	body := requestBody(q)
	target := "/ingest"
	if q.Wait {
		target += "?wait=1"
	}
	c.conn.SetDeadline(time.Now().Add(timeout)) // an error appears in Write
	c.r.sent(c.port, q.ID)
	key := ""
	if q.Key != "" {
		key = "Idempotency-Key: " + q.Key + "\r\n"
	}
	_, err = fmt.Fprintf(c.conn, "POST %s HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: %d\r\n\r\n%s",
		target, key, len(body), body)
	if err != nil {
		return 0, err
	}
	response, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return 0, err
	}
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return 0, err
	}
	return response.StatusCode, c.r.checkResponse(c.port)
}

// requestBody returns the request's rows as a JSON array.
func requestBody(q request) []byte {
	type entry struct {
		Level   string          `json:"level"`
		Message string          `json:"message"`
		Time    string          `json:"timestamp"`
		Pad     json.RawMessage `json:"pad"`
	}
	var entries []entry
	for _, r := range q.Rows {
		entries = append(entries, entry{r.Level, r.Message, r.Time, json.RawMessage(r.Pad)})
	}
	body, err := json.Marshal(entries)
	if err != nil {
		panic(err) // the rows are valid
	}
	return body
}
