// Package otlp converts OTLP log requests to rows of the table, and builds the
// responses of OTLP/HTTP. https://opentelemetry.io/docs/specs/otlp/
//
// A request is an ExportLogsServiceRequest in protobuf or in JSON. It is walked
// twice, so that the caller can reserve memory for the rows: Estimate estimates their
// size, and TryAppendRows writes them. If the estimate is too small or not possible,
// Measure computes the size, and AppendRows writes the rows. None of them allocates
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

// Estimate validates the request, except records that may be kept. Kept is their number,
// and TextSize is an estimate. It returns ErrNoRoom if the text of one row may be too
// large for an estimate. Another error means that no record can be stored.
func (q *Request) Estimate() (Result, error) {
	w := q.rows(estimate)
	err := q.walk(&w)
	if err == nil && w.most > maxEstimated {
		err = ErrNoRoom
	}
	w.result.TextSize = w.size + w.most
	return w.result, err
}

// TryAppendRows is AppendRows after Estimate, which has returned estimated and no error.
// It also validates the kept records, and returns the result of the request without
// TextSize. It returns ErrNoRoom if text, which does not grow, may be too small. After
// an error, text is undefined.
func (q *Request) TryAppendRows(estimated Result, text, arrival []byte, add func(Row)) ([]byte, Result, error) {
	w := q.rows(write)
	w.text, w.arrival, w.add = text, arrival, add
	w.result = estimated
	w.result.Kept, w.result.TextSize = 0, 0
	err := q.walk(&w)
	return w.text, w.result, err
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
	w.text, w.arrival, w.add, w.isValid = text, arrival, add, true
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
