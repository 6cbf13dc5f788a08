package otlp

import (
	"encoding/binary"

	"log-ingester/internal/entry"
)

// The content types of requests and responses.
const (
	ContentTypeProto = "application/x-protobuf"
	ContentTypeJSON  = "application/json"
)

// AppendResponse appends an ExportLogsServiceResponse. It is empty if no record
// was rejected.
func AppendResponse(dst []byte, json bool, rejected int, reason string) []byte {
	if json {
		if rejected == 0 {
			return append(dst, "{}"...)
		}
		t := rowText{mode: write, text: append(dst, `{"partialSuccess":{"rejectedLogRecords":"`...)}
		t.integer(int64(rejected))
		t.literal(`","errorMessage":`)
		return append(entry.AppendQuoted(t.text, reason), "}}"...)
	}
	if rejected == 0 {
		return dst
	}
	partial := binary.AppendUvarint([]byte{1<<3 | wireVarint}, uint64(rejected))
	partial = appendField(partial, 2, reason)
	return appendField(dst, 1, string(partial))
}

// AppendStatus appends a google.rpc.Status, the body of an error response.
func AppendStatus(dst []byte, json bool, message string) []byte {
	if json {
		return append(entry.AppendQuoted(append(dst, `{"message":`...), message), '}')
	}
	return appendField(dst, 2, message)
}

// appendField appends a field of type wireBytes.
func appendField(dst []byte, number int, data string) []byte {
	dst = binary.AppendUvarint(append(dst, byte(number<<3|wireBytes)), uint64(len(data)))
	return append(dst, data...)
}
