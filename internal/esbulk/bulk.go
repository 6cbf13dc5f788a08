// Package esbulk reads the bodies of Elasticsearch's bulk API, and writes the
// responses to it and to the requests that clients send before it.
// https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-bulk
//
// It neither validates documents nor decides which are stored.
package esbulk

import (
	"bytes"
	"fmt"
	"unicode/utf8"

	"log-ingester/internal/jsoncursor"
)

// An Item is one action of a body. Its slices are parts of the body.
type Item struct {
	Action string // create, index, update or delete
	Index  []byte // a JSON string, or nil
	ID     []byte // a JSON string, or nil
	Source []byte // the document, which need not be valid JSON; nil for delete
}

// Stores reports whether the action adds a document.
func (it *Item) Stores() bool { return it.Action == "create" || it.Action == "index" }

// A Reader reads the items of a body.
type Reader struct {
	Rest []byte // the rest of the body
	// IsObject reports whether text is one JSON object.
	IsObject func(text []byte) bool

	line int // number of the line read last
}

// Next returns the next item. ok is false at the end of the body. An error means
// that the rest of the body cannot be read.
func (r *Reader) Next() (it Item, ok bool, err error) {
	line, ok := r.nextLine()
	for ok && len(bytes.TrimSpace(line)) == 0 {
		line, ok = r.nextLine()
	}
	if !ok {
		return it, false, nil
	}
	if !utf8.Valid(line) || !r.IsObject(line) || !it.readAction(line) {
		return it, false, fmt.Errorf("line %d is not an action such as {\"create\":{}}", r.line)
	}
	if it.Action == "delete" {
		return it, true, nil
	}
	if it.Source, ok = r.nextLine(); !ok {
		return it, false, fmt.Errorf("the document after line %d is missing", r.line)
	}
	return it, true, nil
}

// nextLine returns the next line without its line break.
func (r *Reader) nextLine() (line []byte, ok bool) {
	if len(r.Rest) == 0 {
		return nil, false
	}
	r.line++
	line, r.Rest, _ = bytes.Cut(r.Rest, []byte("\n"))
	return line, true
}

// readAction reads a line with an action, one JSON object with one member.
func (it *Item) readAction(line []byte) bool {
	c := jsoncursor.Cursor{Rest: line}
	if c.Enter(); !c.More() {
		return false
	}
	switch string(c.Key()) {
	case "create":
		it.Action = "create"
	case "index":
		it.Action = "index"
	case "update":
		it.Action = "update"
	case "delete":
		it.Action = "delete"
	default:
		return false
	}
	if c.Peek() != '{' {
		return false
	}
	for c.Enter(); c.More(); {
		switch string(c.Key()) {
		case "_index":
			it.Index = readString(&c)
		case "_id":
			it.ID = readString(&c)
		default:
			c.Skip()
		}
	}
	return !c.More()
}

// readString returns the next value if it is a string, or nil.
func readString(c *jsoncursor.Cursor) []byte {
	isString := c.Peek() == '"'
	value := c.Skip()
	if !isString {
		return nil
	}
	return value
}
