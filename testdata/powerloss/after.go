//go:build linux && amd64

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// An afterCheck sends requests to a service that was started on the files of s, and
// returns the problems that it finds.
type afterCheck func(ctx context.Context, address string, s *state) ([]string, error)

// repeatRequests repeats all requests that have a key.
func repeatRequests(ctx context.Context, address string, s *state) (problems []string, err error) {
	for _, o := range s.requests {
		if o.Key == "" {
			continue
		}
		got, err := repeat(ctx, address, &o.request)
		if err != nil {
			return nil, err
		}
		want := fmt.Sprintf("%d replayed=%t {\"accepted\":%d,\"filtered\":0}\n",
			o.successStatus(), len(o.copies) > 0, len(o.Rows))
		if got != want {
			problems = append(problems, fmt.Sprintf("repeated request %d: got response %q, want %q", o.ID, got, want))
		}
	}
	return problems, addRow(ctx, address) // its commit follows those of the requests with status 202
}

// repeat sends a request and describes its response.
func repeat(ctx context.Context, address string, q *request) (string, error) {
	target := "http://" + address + "/ingest"
	if q.Wait {
		target += "?wait=1"
	}
	r, err := http.NewRequestWithContext(ctx, "POST", target, bytes.NewReader(requestBody(*q)))
	if err != nil {
		return "", err
	}
	r.Header.Set("Idempotency-Key", q.Key)
	response, body, err := do(r)
	if err != nil {
		return "", err
	}
	replayed := response.Header.Get("Idempotency-Replayed") == "true"
	return fmt.Sprintf("%d replayed=%t %s", response.StatusCode, replayed, body), nil
}

func do(r *http.Request) (*http.Response, []byte, error) {
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close() // it was only read
	body, err := io.ReadAll(response.Body)
	return response, body, err
}

// searches is how many rows search looks for.
const searches = 12

// search checks that searches find rows by their text, and that the histogram counts all
// rows. The service uses the summaries for both. The rows in s were read without them.
func search(ctx context.Context, address string, s *state) (problems []string, err error) {
	rows := s.tables[0].rows
	for i := range searches {
		row := rows[i*(len(rows)-1)/(searches-1)]
		var found []struct{ ID int64 }
		if err := get(ctx, address, "/logs?q="+url.QueryEscape(searchText(row)), &found); err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(found, func(f struct{ ID int64 }) bool { return f.ID == row.id }) {
			problems = append(problems, fmt.Sprintf("a search does not find row %d", row.id))
		}
	}
	var histogram struct{ Levels map[string]int }
	if err := get(ctx, address, "/logs/histogram", &histogram); err != nil {
		return nil, err
	}
	counted := 0
	for _, n := range histogram.Levels {
		counted += n
	}
	if counted != len(rows) {
		problems = append(problems, fmt.Sprintf("the histogram counts %d rows, want %d", counted, len(rows)))
	}
	return problems, nil
}

// searchText returns a part of a row that few other rows contain.
func searchText(r storedRow) string {
	var details struct{ Pad string }
	if json.Unmarshal([]byte(r.details), &details) == nil && details.Pad != "" {
		return details.Pad
	}
	return r.message
}

// get decodes the response to a request to path.
func get(ctx context.Context, address, path string, v any) error {
	r, err := http.NewRequestWithContext(ctx, "GET", "http://"+address+path, nil)
	if err != nil {
		return err
	}
	response, body, err := do(r)
	if err != nil {
		return err
	}
	if response.StatusCode != 200 {
		return fmt.Errorf("get %s: got status %d: %s", path, response.StatusCode, body)
	}
	return json.Unmarshal(body, v)
}

// addRow adds a row with the message newRowMessage.
func addRow(ctx context.Context, address string) error {
	body := strings.NewReader(`{"level":"error","message":"` + newRowMessage + `"}`)
	request, err := http.NewRequestWithContext(ctx, "POST", "http://"+address+"/ingest?wait=1", body)
	if err != nil {
		return err
	}
	request.Close = true
	response, _, err := do(request)
	if err != nil {
		return err
	}
	if response.StatusCode != 200 {
		return fmt.Errorf("got status %d, want 200", response.StatusCode)
	}
	return nil
}
