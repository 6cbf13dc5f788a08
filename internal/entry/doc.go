// Package entry interprets the parts of a log entry: level names and numbers,
// times, and JSON strings. The pipeline uses it to filter and store entries,
// and the reading side to query them, so both agree on every value.
//
// The functions have no state and keep no reference to their arguments, so any
// goroutine may call them. Invalid UTF-8 and unknown levels or times never
// cause a panic. A function named Append appends to its first argument and
// returns the extended slice, as strconv does.
//
// The package depends on the standard library only. It must not depend on any
// other package of the service.
package entry
