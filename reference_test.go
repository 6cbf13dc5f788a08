package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
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
		row, rank, err := referenceRow(e)
		if err != nil {
			return nil, 0, err
		}
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

// A referenceField is a member of an object.
type referenceField struct{ key, value string }

// referenceFields returns the members of an object in valid UTF-8.
func referenceFields(text string) (fields []referenceField) {
	dec := json.NewDecoder(strings.NewReader(text))
	dec.Token()
	for dec.More() {
		key, _ := dec.Token()
		var value json.RawMessage
		dec.Decode(&value)
		fields = append(fields, referenceField{key.(string), string(value)})
	}
	return fields
}

// referenceMember returns the value at a path of keys in nested objects, or "".
func referenceMember(text string, path ...string) string {
	for _, key := range path {
		if !strings.HasPrefix(text, "{") {
			return ""
		}
		fields := referenceFields(text)
		i := slices.IndexFunc(fields, func(f referenceField) bool { return f.key == key })
		if i < 0 {
			return ""
		}
		text = fields[i].value
	}
	return text
}

// referenceInteger returns the value of an integer or of a string with one.
func referenceInteger(value string) (n int64, ok bool) {
	n, err := strconv.ParseInt(strings.Trim(value, `"`), 10, 64)
	return n, err == nil
}

// referenceString returns the text of a string, or any other value as it is.
func referenceString(value string) (text string) {
	if value[0] != '"' {
		return value
	}
	json.Unmarshal([]byte(value), &text)
	return text
}

var referenceLevelOf = []string{"", "trace", "debug", "info", "warn", "error", "fatal", "unknown"}

// referenceNumber returns the rank of a number of OpenTelemetry or of syslog.
func referenceNumber(value string, syslog bool) int {
	n, ok := referenceInteger(value)
	switch {
	case ok && syslog && 0 <= n && n <= 7:
		return []int{6, 6, 6, 5, 4, 3, 3, 2}[n]
	case ok && !syslog && 1 <= n && n <= 24:
		return int(n-1)/4 + 1
	}
	return 7
}

// referenceRankOf returns the rank of the value of a level key.
func referenceRankOf(value string) int {
	var number float64
	switch {
	case value[0] == '"':
		return referenceRank(strings.ToLower(referenceString(value)))
	case json.Unmarshal([]byte(value), &number) == nil && value[0] != 'n' && 10 <= number && number < 70:
		return int(number / 10)
	}
	return 7
}

// referenceLateLevel returns the level of an entry without any of the
// referenceLevelKeys, and the key that it comes from, or "".
func referenceLateLevel(text string) (level string, rank int, key string) {
	for _, key := range []string{"LogLevel", "loglevel", "level_name", "error_severity", "SeverityNumber",
		"severity_number", "severityNumber", "Severity", "SeverityText", "severity_text", "severityText", "PRIORITY"} {
		value := referenceMember(text, key)
		if value == "" {
			continue
		}
		switch key {
		case "SeverityNumber", "severity_number", "severityNumber":
			rank = referenceNumber(value, false)
		case "PRIORITY":
			rank = referenceNumber(value, true)
		default:
			if rank = referenceRankOf(value); value[0] == '"' && value != `""` {
				return strings.ToLower(referenceString(value)), rank, key
			}
			if key == "Severity" {
				rank = 7
			}
			texts := referenceMember(text, "SeverityText") + referenceMember(text, "severity_text") +
				referenceMember(text, "severityText")
			if key == "Severity" && texts != "" {
				rank = referenceNumber(value, false)
			}
		}
		if rank < 7 {
			return referenceLevelOf[rank], rank, key
		}
	}
	for _, parent := range []string{"log", "record"} {
		value := referenceMember(text, parent, "level")
		if strings.HasPrefix(value, "{") {
			value = referenceMember(value, "name")
		}
		if value != "" && referenceRankOf(value) < 7 {
			return referenceLevelOf[referenceRankOf(value)], referenceRankOf(value), ""
		}
	}
	return "unknown", 7, ""
}

// referenceFormat returns an error if an entry without a level is a request in
// another format.
func referenceFormat(fields []referenceField) error {
	keys := map[string]string{} // the first value of each key
	for _, f := range fields {
		if _, found := keys[f.key]; !found {
			keys[f.key] = f.value
		}
	}
	if keys["event"] != "" {
		isEvent := strings.HasPrefix(keys["fields"], "{")
		for key := range keys {
			isEvent = isEvent && slices.Contains([]string{"time", "host", "source", "index", "event", "fields"}, key)
		}
		if isEvent || keys["sourcetype"] != "" {
			return errIsHEC
		}
	}
	for _, f := range fields {
		if f.key == "scopeLogs" {
			if f.value[0] == '[' {
				return errIsResource
			}
			break
		}
	}
	if len(fields) != 1 {
		return nil
	}
	f := fields[0]
	switch f.key {
	case "resourceLogs", "resource_logs", "resourceSpans", "resourceMetrics", "streams":
		if f.value[0] == '[' {
			return errIsOTLP
		}
	case "create", "index", "update", "delete":
		if f.value[0] == '{' && (len(referenceFields(f.value)) == 0 ||
			referenceMember(f.value, "_index") != "" || referenceMember(f.value, "_id") != "") {
			return errIsBulk
		}
	}
	return nil
}

// referenceRow returns the row of a valid entry and the rank of its level.
func referenceRow(raw json.RawMessage) (row [4]string, rank int, err error) {
	// A conversion to runes and back repairs UTF-8 as encoding/json does.
	text := string([]rune(string(raw)))
	fields := referenceFields(text)
	find := func(keys ...string) int {
		for _, k := range keys {
			if i := slices.IndexFunc(fields, func(f referenceField) bool { return f.key == k }); i >= 0 {
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
			row[0] = referenceLevelOf[rank]
			used[i] = true
		case v[0] >= '0' && v[0] <= '9' && find("version") >= 0 && find("host") >= 0:
			rank = referenceNumber(fields[i].value, true)
			row[0] = referenceLevelOf[rank]
			used[i] = rank < 7
		}
		if v := fields[i].value; !used[i] && v[0] >= '0' && v[0] <= '9' && find("level_name") >= 0 {
			var key string
			row[0], rank, key = referenceLateLevel(text)
			if key != "" {
				used[find(key)] = true
			}
		}
	} else if find("@t") >= 0 {
		row[0], rank = "info", 3
	} else {
		var key string
		row[0], rank, key = referenceLateLevel(text)
		if key != "" {
			used[find(key)] = true
		}
	}
	if rank == 7 && !slices.Contains(slices.Collect(maps.Values(used)), true) {
		if err := referenceFormat(fields); err != nil {
			return row, rank, err
		}
	}

	if i := find("message", "msg", "@m", "@mt", "RenderedMessage", "event", "log",
		"short_message", "MESSAGE", "Message", "Body", "body"); i >= 0 {
		row[1] = referenceMessage(fields[i])
		used[i] = true
	} else {
		for _, parent := range []string{"fields", "record"} {
			if value := referenceMember(text, parent, "message"); value != "" {
				row[1] = referenceString(value)
				i := find(parent)
				fields[i].value = referenceWithout(fields[i].value, "message")
				break
			}
		}
	}

	row[2] = "ARRIVAL"
	i := find("timestamp", "time", "ts", "@timestamp", "@t", "Timestamp", "date",
		"instant", "asctime", "time_iso8601", "time_local", "__REALTIME_TIMESTAMP", "ibm_datetime", "datetime")
	value := referenceMember(text, "record", "time", "timestamp")
	if i >= 0 {
		value = fields[i].value
	}
	var when time.Time
	var ok bool
	if value != "" {
		when, ok = referenceTime(value)
	}
	if observed := find("ObservedTimestamp", "observed_timestamp"); observed >= 0 && (!ok || when.IsZero()) {
		i = observed
		when, ok = referenceTime(fields[i].value)
	}
	if ok {
		row[2] = when.UTC().Format("2006-01-02T15:04:05.000000000Z")
		used[i] = i >= 0
	}

	var details []string
	for i, f := range fields {
		if !used[i] {
			key := new(bytes.Buffer)
			enc := json.NewEncoder(key)
			enc.SetEscapeHTML(false)
			enc.Encode(f.key)
			// Undo the escapes of two characters that only JavaScript needs.
			quoted := strings.NewReplacer(`\\`, `\\`, `\u2028`, "\u2028", `\u2029`, "\u2029").
				Replace(strings.TrimSpace(key.String()))
			details = append(details, quoted+":"+f.value)
		}
	}
	row[3] = "NULL"
	if details != nil {
		row[3] = "{" + strings.Join(details, ",") + "}"
	}
	return row, rank, nil
}

// referenceMessage returns the text of the message in a field.
func referenceMessage(f referenceField) string {
	switch f.key {
	case "MESSAGE":
		var numbers []json.RawMessage
		if f.value[0] != '[' || json.Unmarshal([]byte(f.value), &numbers) != nil || len(numbers) == 0 {
			break
		}
		var text []byte
		for _, number := range numbers {
			n, err := strconv.ParseUint(string(number), 10, 8)
			if err != nil {
				return f.value
			}
			text = append(text, byte(n))
		}
		return string([]rune(string(text)))
	case "Body", "body":
		if f.value[0] != '{' {
			break
		}
		members := referenceFields(f.value)
		value := referenceMember(f.value, "Value")
		if len(members) == 2 && value != "" && referenceMember(f.value, "Type") != "" {
			if value == "null" {
				return ""
			}
			return referenceString(value)
		}
	}
	return referenceString(f.value)
}

// referenceWithout returns an object without its first member key, and else byte
// for byte.
func referenceWithout(object, key string) string {
	type span struct{ start, end int }
	var spans []span
	removed := -1
	dec := json.NewDecoder(strings.NewReader(object))
	dec.Token()
	for dec.More() {
		start := int(dec.InputOffset())
		start += strings.IndexByte(object[start:], '"')
		name, _ := dec.Token()
		var value json.RawMessage
		dec.Decode(&value)
		if name == key && removed < 0 {
			removed = len(spans)
		}
		spans = append(spans, span{start, int(dec.InputOffset())})
	}
	from, to := spans[removed].start, spans[removed].end
	if removed > 0 {
		from = spans[removed-1].end
	} else if len(spans) > 1 {
		to = spans[1].start
	}
	return object[:from] + object[to:]
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
		if epoch := regexp.MustCompile(`^0*(\d+(\.\d+)?)$`).FindStringSubmatch(text); epoch != nil {
			whole, _, _ := strings.Cut(text, ".")
			if slices.Contains([]int{10, 13, 16, 19}, len(whole)) {
				return referenceTime(epoch[1])
			}
		}
		if t, err := time.Parse("02/Jan/2006:15:04:05 -0700",
			strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")); err == nil {
			return t, strings.HasPrefix(text, "[") == strings.HasSuffix(text, "]")
		}
		if len(text) < 14 || text[13] != ':' {
			return t, false // time.Parse would accept an hour of one digit
		}
		if text[4] == '/' && text[7] == '/' {
			text = text[:4] + "-" + text[5:7] + "-" + text[8:]
		}
		before := strings.TrimSuffix(strings.TrimSuffix(text, " UTC"), " GMT")
		if len(text)-len(before) == len(" UTC") && len(before) > 10 && before[10] == ' ' {
			text = before + "Z"
		}
		for _, separator := range []string{"T", "t", " "} {
			for _, zone := range []string{"", "Z07:00", "z", "-07:00", "-0700", "-07"} {
				if parsed, err := time.Parse("2006-01-02"+separator+"15:04:05"+zone, text); err == nil {
					t, ok = parsed, true
				}
			}
		}
	case '{':
		seconds, epoch := referenceMember(value, "seconds"), referenceMember(value, "epochSecond")
		nanos, nanoOf := referenceMember(value, "nanos"), referenceMember(value, "nanoOfSecond")
		s, ok := referenceInteger(seconds + epoch)
		n, okNanos := referenceInteger("0" + nanos + nanoOf)
		t := time.Unix(s, n)
		return t, ok && okNanos && n < 1e9 && t.UTC().Year() >= 0 && t.UTC().Year() <= 9999
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
	s.entry.start(threshold)
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
		switch err := decodeEntry(s, b, body[k.start:k.end]); err {
		case nil:
		case errIsOTLP, errIsResource, errIsOther, errIsLoki, errIsBulk, errIsHEC:
			return nil, 0, err
		default:
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
	return rows, s.scanner.dropped + s.entry.filtered, nil
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
		`{"LogLevel":"Error","Message":"a","Timestamp":"2026/11/25 12:00:00"}`,
		`{"SeverityNumber":9,"SeverityText":"INFO","Body":"a"}`,
		`{"PRIORITY":"3","MESSAGE":"a","__REALTIME_TIMESTAMP":"1764072000123456"}`,
		`{"instant":{"epochSecond":1764072000,"nanoOfSecond":5},"loglevel":"WARN"}`,
		`{"version":"1.1","host":"a","short_message":"b","level":3,"timestamp":1764072000.5}`, `{"level":3,"host":"a"}`,
		`{"fields":{"a":1 , "message":"m", "b":2},"level":"INFO","target":"x"}`, `{"fields":{"message":"m" , "b":2}}`,
		`{"fields":{ "message":"m" }}`,
		`{"text":"x","record":{"level":{"name":"ERROR","no":40},` +
			`"message":"m","time":{"repr":"x","timestamp":1764072000.25}}}`,
		`{"log":{"level":"info"},"message":"m","time_local":"25/Nov/2026:12:00:00 +0100"}`,
		`{"time":"[25/Nov/2026:12:00:00 +0100]"}`,
		`{"time":{"seconds":"1764072000","nanos":7}}`, `{"event":"a","sourcetype":"b"}`, `{"streams":[]}`,
		`{"resourceLogs":[]}`,
		`{"create":{"_index":"a"}}{}`, `{"index":{}}`, `{"index":{"a":1}}`,
		`{"log":{"level":{"name":"warn"}},"record":{"level":"error"}}`,
		`{"ts":-0.999999999999,"level":69.999}`, `{"time":"2026-11-22","@t":0}`, `{"time":"2026-11-22t15:24:00.5z"}`,
		`{"date":-99999999999.9}`,
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
			t.Fatalf(
				"rows of %q: %d rows and %d dropped, want %d and %d",
				body,
				len(got),
				gotDropped,
				len(want),
				wantDropped,
			)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("row %d of %.500q:\n got %q\nwant %q", i, body, got[i], want[i])
			}
		}
	})
}
