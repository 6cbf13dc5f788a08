package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

const tableHeader = `| load | server | requests/s | entries/s | MB/s | processor time | p50, p99 | peak memory | ratio |
|---|---|---|---|---|---|---|---|---|`

// printRow prints the medians of each server's results. size is that of a body in
// bytes, before compression.
func printRow(r row, size int, results [][]result) {
	first := 0.0
	for i, s := range r.servers {
		if len(results[i]) == 0 {
			continue
		}
		rate := median(results[i], func(r result) float64 { return r.rate })
		if first == 0 {
			first = rate
		}
		fmt.Printf("| %s | %s | %s | %s | %s | %.1f µs | %s, %s | %.0f MB | %.2f |\n",
			r.title, s.name, thousands(rate), thousands(rate*float64(r.load.entries)), thousands(rate*float64(size)/1e6),
			float64(median(results[i], func(r result) time.Duration { return r.processor }).Nanoseconds())/1000,
			milliseconds(median(results[i], func(r result) time.Duration { return r.p50 })),
			milliseconds(median(results[i], func(r result) time.Duration { return r.p99 })),
			float64(median(results[i], func(r result) int64 { return r.peak }))/1e6,
			rate/first)
	}
}

// median returns the median of a value of the results.
func median[T cmp.Ordered](results []result, value func(result) T) T {
	values := make([]T, len(results))
	for i, r := range results {
		values[i] = value(r)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.2f ms", float64(d.Microseconds())/1000)
}

// thousands formats v with three significant digits and a comma after the thousands.
func thousands(v float64) string {
	unit := 1.0
	for v >= 1000*unit {
		unit *= 10
	}
	digits := strconv.FormatFloat(float64(int64(v/unit+0.5))*unit, 'f', 0, 64)
	var groups []string
	for ; len(digits) > 3; digits = digits[:len(digits)-3] {
		groups = append([]string{digits[len(digits)-3:]}, groups...)
	}
	return strings.Join(append([]string{digits}, groups...), ",")
}
