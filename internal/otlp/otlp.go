// Package otlp converts OTLP log requests to rows of the table, and builds the
// responses of OTLP/HTTP. https://opentelemetry.io/docs/specs/otlp/
//
// A request is an ExportLogsServiceRequest in protobuf or in JSON. It is walked
// twice: Measure validates it and computes the size of the rows, so that the
// caller can reserve memory, and AppendRows writes the rows. Neither allocates
// memory for each record.
//
// Records below the level are validated and not decoded any further. Invalid
// UTF-8 in protobuf is replaced with U+FFFD. Unknown fields are ignored.
package otlp

import "log-ingester/internal/entry"

// A Request is an ExportLogsServiceRequest.
type Request struct {
	Body  []byte
	JSON  bool        // Body is one valid JSON object in valid UTF-8; else protobuf
	Level entry.Level // records below it are not kept

	// Step, if not nil, is called after each record with its size in Body, in bytes.
	Step func(size int)
}

// Measure validates the request. An error means that no record can be stored.
func (q *Request) Measure() (Result, error) {
	w := q.rows(measure)
	if err := q.walk(&w); err != nil {
		return Result{}, err
	}
	w.result.TextSize = w.size
	return w.result, nil
}

// AppendRows appends the text of the rows to text, calls add for each row, and
// returns the extended text. Measure must have returned no error. arrival is the
// text of the time of a record without one.
func (q *Request) AppendRows(text, arrival []byte, add func(Row)) []byte {
	w := q.rows(write)
	w.text, w.arrival, w.add = text, arrival, add
	q.walk(&w) // Measure has found no error
	return w.text
}

func (q *Request) rows(m mode) rows {
	w := rows{rowText: rowText{mode: m}, threshold: q.Level, format: protoFormat{}, step: q.Step}
	if q.JSON {
		w.format = jsonFormat{}
	}
	if w.step == nil {
		w.step = func(int) {}
	}
	return w
}

func (q *Request) walk(w *rows) error {
	if q.JSON {
		return w.jsonRequest(q.Body)
	}
	return w.protoRequest(q.Body)
}
