package main

import (
	"fmt"
	"os"
	runtimemetrics "runtime/metrics"
)

// A memoryClass is a part of the resident memory of the process.
type memoryClass struct {
	name  string
	bytes int64
}

// memoryClasses returns the resident memory of the process by class. counted are
// the classes that the service counts itself. The others divide the rest:
//
//   - files: resident pages of the program, and of the index of the WAL
//   - garbage: objects that were allocated since the last garbage collection;
//     most are no longer in use
//   - free: memory that Go has not yet returned to the operating system
//   - other: buffers in pools, other live objects and stacks, Go's runtime, and
//     SQLite, whose driver has its own allocator
//
// Go's figures for garbage and free memory include pages that are not resident
// because they were never written. Each is therefore limited to what the classes
// before it leave. resident is the total. On systems other than Linux it is 0, and the
// classes divide the memory that Go has from the operating system.
func memoryClasses(counted []memoryClass) (classes []memoryClass, resident int64) {
	mapped, garbage, free := goMemory()
	resident, files, ok := residentMemory()
	rest := resident - files
	if !ok {
		rest = mapped
	}
	for _, c := range counted {
		rest -= c.bytes
	}
	rest = max(0, rest)
	garbage = min(garbage, rest)
	free = min(free, rest-garbage)
	return append(counted,
		memoryClass{"files", files},
		memoryClass{"garbage", garbage},
		memoryClass{"free", free},
		memoryClass{"other", rest - garbage - free},
	), resident
}

// goMemory returns the memory that Go has from the operating system, and the parts
// of it that are garbage or free, in bytes.
func goMemory() (mapped, garbage, free int64) {
	samples := []runtimemetrics.Sample{
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
	}
	runtimemetrics.Read(samples)
	value := func(i int) int64 { return int64(samples[i].Value.Uint64()) }
	return value(0) - value(1), max(0, value(2)-value(3)), value(4) + value(5)
}

// residentMemory returns the resident memory of the process and the part of it
// that belongs to files, in bytes. ok is false on systems without Linux's proc.
func residentMemory() (total, files int64, ok bool) {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, 0, false
	}
	var size int64
	if _, err := fmt.Sscan(string(text), &size, &total, &files); err != nil {
		return 0, 0, false
	}
	page := int64(os.Getpagesize())
	return total * page, files * page, true
}
