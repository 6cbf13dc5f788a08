package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"log-ingester/internal/entry"
)

// The reference functions in this file convert a body to rows with
// encoding/json. They are slow, but simple, and share no code with the program.

// referenceRows returns the rows of the entries at or above the threshold, and
// the number of the other entries. The threshold is from 1 (trace) to 6
// (fatal). The text ARRIVAL stands for the arrival time.
func referenceRows(body []byte, threshold int) (rows [][4]string, dropped int, err error) {
	entries, err := referenceEntries(bytes.TrimPrefix(body, []byte("\ufeff")))
	if err != nil {
		return nil, 0, err
	}
	for _, e := range entries {
		row, rank := referenceRow(e)
		if rank < threshold {
			dropped++
		} else {
			rows = append(rows, row)
		}
	}
	return rows, dropped, nil
}

// referenceEntries returns the entries of a body.
func referenceEntries(body []byte) (entries []json.RawMessage, err error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	var values []json.RawMessage
	for {
		var v json.RawMessage
		if err := dec.Decode(&v); err == io.EOF {
			break
		} else if err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	if len(values) == 0 {
		return nil, errors.New("empty body")
	}
	entries = values
	if values[0][0] == '[' {
		if len(values) > 1 {
			return nil, errors.New("more values after an array")
		}
		if err := json.Unmarshal(values[0], &entries); err != nil {
			return nil, err
		}
	}
	for _, e := range entries {
		if e[0] != '{' {
			return nil, errors.New("an entry is not an object")
		}
	}
	depth := 0
	dec = json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	for {
		token, err := dec.Token()
		if err == io.EOF {
			return entries, nil
		}
		if err != nil {
			return nil, err
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			if depth++; depth > 1000 {
				return nil, errors.New("nested deeper than 1000")
			}
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
	}
}

// referenceRow returns the row of a valid entry and the rank of its level.
func referenceRow(text json.RawMessage) (row [4]string, rank int) {
	// A conversion to runes and back repairs UTF-8 as encoding/json does.
	dec := json.NewDecoder(strings.NewReader(string([]rune(string(text)))))
	dec.Token()
	type field struct{ key, value string }
	var fields []field
	for dec.More() {
		key, _ := dec.Token()
		var value json.RawMessage
		dec.Decode(&value)
		fields = append(fields, field{key.(string), string(value)})
	}
	find := func(keys ...string) int {
		for _, k := range keys {
			if i := slices.IndexFunc(fields, func(f field) bool { return f.key == k }); i >= 0 {
				return i
			}
		}
		return -1
	}
	used := map[int]bool{}

	row[0], rank = "unknown", 7
	if i := find(referenceLevelKeys...); i >= 0 {
		var name string
		var number float64
		switch v := []byte(fields[i].value); {
		case v[0] == '"':
			json.Unmarshal(v, &name)
			row[0] = strings.ToLower(name)
			rank = referenceRank(row[0])
			used[i] = true
		case json.Unmarshal(v, &number) == nil && v[0] != 'n' && 10 <= number && number < 70:
			rank = int(number / 10)
			row[0] = []string{"", "trace", "debug", "info", "warn", "error", "fatal"}[rank]
			used[i] = true
		}
	} else if find("@t") >= 0 {
		row[0], rank = "info", 3
	}

	if i := find("message", "msg", "@m", "@mt", "RenderedMessage", "event", "log"); i >= 0 {
		row[1] = fields[i].value
		if row[1][0] == '"' {
			json.Unmarshal([]byte(fields[i].value), &row[1])
		}
		used[i] = true
	}

	row[2] = "ARRIVAL"
	if i := find("timestamp", "time", "ts", "@timestamp", "@t", "Timestamp", "date"); i >= 0 {
		if t, ok := referenceTime(fields[i].value); ok {
			row[2] = t.UTC().Format("2006-01-02T15:04:05.000000000Z")
			used[i] = true
		}
	}

	var details []string
	for i, f := range fields {
		if !used[i] {
			key := new(bytes.Buffer)
			enc := json.NewEncoder(key)
			enc.SetEscapeHTML(false)
			enc.Encode(f.key)
			// Undo the escapes of two characters that only JavaScript needs.
			quoted := strings.NewReplacer(`\\`, `\\`, `\u2028`, "\u2028", `\u2029`, "\u2029").Replace(strings.TrimSpace(key.String()))
			details = append(details, quoted+":"+f.value)
		}
	}
	row[3] = "NULL"
	if details != nil {
		row[3] = "{" + strings.Join(details, ",") + "}"
	}
	return row, rank
}

// referenceRank returns the rank of a level name in lower case.
func referenceRank(name string) int {
	if i := strings.IndexAny(name, "+-"); i > 0 {
		if _, err := strconv.ParseUint(name[i+1:], 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
			rank := referenceRank(name[:i])
			if rank == 2 && name[i] == '-' {
				return 1
			}
			return rank
		}
	}
	for rank, names := range referenceLevelNames {
		if slices.Contains(strings.Fields(names), name) {
			return rank
		}
	}
	return 7
}

// referenceTime parses the value of a time key.
func referenceTime(value string) (t time.Time, ok bool) {
	switch value[0] {
	case '"':
		var text string
		json.Unmarshal([]byte(value), &text)
		if t, err := time.Parse("2006-01-02", text); err == nil {
			return t, true
		}
		if len(text) < 14 || text[13] != ':' {
			return t, false // time.Parse would accept an hour of one digit
		}
		for _, separator := range []string{"T", "t", " "} {
			for _, zone := range []string{"", "Z07:00", "z", "-07:00", "-0700", "-07"} {
				if parsed, err := time.Parse("2006-01-02"+separator+"15:04:05"+zone, text); err == nil {
					t, ok = parsed, true
				}
			}
		}
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		if f, err := strconv.ParseFloat(value, 64); err != nil || f > 1e19 || f < -1e19 {
			return t, false
		} else if strings.ContainsAny(value, "eE") {
			value = strconv.FormatFloat(f, 'f', -1, 64)
		}
		n, _ := new(big.Rat).SetString(value)
		whole := new(big.Int).Quo(n.Num(), n.Denom())
		if !whole.IsInt64() {
			return t, false
		}
		size := new(big.Int).Abs(whole)
		unit := int64(1)
		switch {
		case size.Cmp(big.NewInt(1e11)) < 0:
			unit = 1e9
		case size.Cmp(big.NewInt(1e14)) < 0:
			unit = 1e6
		case size.Cmp(big.NewInt(1e17)) < 0:
			unit = 1e3
		}
		n.Mul(n, new(big.Rat).SetInt64(unit))
		nanos := new(big.Int).Quo(n.Num(), n.Denom()) // towards zero, so further digits are cut off
		seconds, rest := new(big.Int).QuoRem(nanos, big.NewInt(1e9), new(big.Int))
		t, ok = time.Unix(seconds.Int64(), rest.Int64()).UTC(), true
	}
	year := t.UTC().Year()
	return t.UTC(), ok && 0 <= year && year <= 9999
}

// programRows is referenceRows with the program's scanner and decoder.
func programRows(body []byte, threshold entry.Level) (rows [][4]string, dropped int, err error) {
	s := &scratch{entry: newLogEntry(), body: body}
	s.begin(&ingester{memory: &budget{limit: math.MaxInt64}}, testAccount())
	if err := s.scanner.scan(body, threshold); err != nil {
		return nil, 0, err
	}
	text, _ := s.textSize()
	b, herr := newBatch(&s.reserved, text, len(s.scanner.kept))
	if herr != nil {
		return nil, 0, errors.Join(errDecoder, herr)
	}
	size := b.size()
	for _, k := range s.scanner.kept {
		if err := decodeEntry(s, b, body[k.start:k.end]); err != nil {
			return nil, 0, errors.Join(errDecoder, err)
		}
	}
	if n := b.size(); n != size {
		return nil, 0, fmt.Errorf("%w: the batch grew from %d to %d bytes, want no growth", errDecoder, size, n)
	}
	for i := range b.rows {
		var row [4]string
		for column, v := range b.values(i) {
			row[column] = "NULL"
			if v != nil {
				row[column] = v.(string)
			}
		}
		rows = append(rows, row)
	}
	return rows, s.scanner.dropped, nil
}

// decodeEntry appends the row of an entry to b, with ARRIVAL as the arrival time.
// It checks that the list of members does not grow while it decodes.
func decodeEntry(s *scratch, b *batch, data []byte) error {
	data, herr := s.entry.repair(&s.reserved, data)
	if herr == nil {
		herr = s.entry.makeRoom(&s.reserved, data)
	}
	if herr != nil {
		return herr
	}
	before := s.entry.size()
	if err := s.entry.appendRow(b, data, []byte("ARRIVAL")); err != nil {
		return err
	}
	if after := s.entry.size(); after != before {
		return fmt.Errorf("the members grew from %d to %d bytes, want no growth", before, after)
	}
	return nil
}

var errDecoder = errors.New("the decoder refuses an entry that the scanner accepted")

// FuzzRows compares programRows with referenceRows.
func FuzzRows(f *testing.F) {
	bodies, err := filepath.Glob("testdata/loggers/*.body")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range bodies {
		body, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body, uint8(5))
		if line, _, found := bytes.Cut(body, []byte("\n")); found {
			f.Add(line, uint8(1))
		}
	}
	for _, body := range []string{
		`{}`, `[]`, `[{},{}]`, "{}\n{}", `{"level":50,"ts":1700000000.5,"msg":null,"a\"\n\u0001":[1, 2]}`,
		`{"level":"DEBUG-4","@t":1e10,"log.level":"x","level":"error","\u006c":"\ud800\udc00\ud800"}`,
		"{\"message\":\"\xff\",\"level\":\"\xc3\\u00dc\",\"time\":\"2026-11-22 15:24:00,5+01\"}",
		`{"ts":-0.999999999999,"level":69.999}`, `{"time":"2026-11-22","@t":0}`, `{"time":"2026-11-22t15:24:00.5z"}`, `{"date":-99999999999.9}`,
	} {
		f.Add([]byte(body), uint8(3))
	}
	f.Fuzz(func(t *testing.T, body []byte, threshold uint8) {
		threshold = threshold%6 + 1
		want, wantDropped, wantErr := referenceRows(body, int(threshold))
		got, gotDropped, gotErr := programRows(body, entry.Level(threshold))
		if errors.Is(gotErr, errDecoder) || (gotErr == nil) != (wantErr == nil) {
			t.Fatalf("rows of %q: error %v, want %v", body, gotErr, wantErr)
		}
		if gotDropped != wantDropped || len(got) != len(want) {
			t.Fatalf("rows of %q: %d rows and %d dropped, want %d and %d", body, len(got), gotDropped, len(want), wantDropped)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("row %d of %.500q:\n got %q\nwant %q", i, body, got[i], want[i])
			}
		}
	})
}
