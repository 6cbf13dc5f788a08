package esbulk

import (
	"strings"
	"testing"
)

func TestFilterPaths(t *testing.T) {
	for _, c := range []struct {
		filter, field string
		want          bool
	}{
		{"", "took", true},
		{"errors", "took", false},
		{"errors", "errors", true},
		{"took,errors", "errors", true},
		{"items", "items.create.status", true},
		{"items.*.status", "items.create.status", true},
		{"items.*.status", "items.create._id", false},
		{"items.create.status", "items.index.status", false},
		{"items.*.error", "items.index.error.type", true},
		{"items.*.error.type", "items.index.error.reason", false},
		{"items.*.*.type", "items.index.error.type", true},
		{"items.*.status.x", "items.index.status", false},
		{"**.status", "items.index.status", true},
		{"items.*._i*", "items.index._id", true},
		{"*", "took", true},
		{"-took", "took", false},
		{"-took", "errors", true},
		{"items,-items.*._id", "items.index._id", false},
		{"items,-items.*._id", "items.index.status", true},
		{"items,-items.*._id", "took", false},
		{"[", "took", false},
		{strings.Repeat("x", maxFilter), "took", false},
		{strings.Repeat("x", maxFilter+1), "took", true},
	} {
		if got := NewFilter(c.filter).has(c.field); got != c.want {
			t.Errorf("filter %.30q, field %s: got %v, want %v", c.filter, c.field, got, c.want)
		}
	}
}

func TestResponseIsFiltered(t *testing.T) {
	stored := &Item{Action: "create", Index: []byte(`"a"`), ID: []byte(`"1"`)}
	failed := &Item{Action: "index"}
	for filter, want := range map[string]string{
		"": `{"errors":true,"took":0,"items":[{"create":{"_index":"a","_id":"1","result":"created","status":201}},` +
			`{"index":{"_index":"i","status":400,"error":{"type":"t","reason":"r"}}}]}`,
		"errors":                  `{"errors":true}`,
		"items.*.error":           `{"items":[{"index":{"error":{"type":"t","reason":"r"}}}]}`,
		"items.*.status":          `{"items":[{"create":{"status":201}},{"index":{"status":400}}]}`,
		"took,items.*.error.type": `{"took":0,"items":[{"index":{"error":{"type":"t"}}}]}`,
		"x":                       `{}`,
	} {
		var b strings.Builder
		rw := NewResponseWriter(&b, []byte(`"i"`), NewFilter(filter), true)
		if rw.HasItems(true) {
			rw.Item(stored, nil)
			rw.Item(failed, &Failure{"t", "r"})
		}
		rw.Close()
		if got := strings.TrimSpace(b.String()); got != want {
			t.Errorf("filter %q: got %s, want %s", filter, got, want)
		}
	}
}

// No field of an item is selected unless one has failed.
func TestItemsAreSkippedIfNoneFailed(t *testing.T) {
	for filter, want := range map[string]bool{"errors,items.*.error": false, "items.*.status": true} {
		rw := NewResponseWriter(&strings.Builder{}, nil, NewFilter(filter), false)
		if got := rw.HasItems(false); got != want {
			t.Errorf("filter %q: got %v, want %v", filter, got, want)
		}
	}
}
