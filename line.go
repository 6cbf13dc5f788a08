package main

// A waiter is a goroutine that waits in a line.
type waiter struct {
	account  *account
	size     int64         // how much of the resource it waits for
	admitted chan struct{} // receives a token; it has a buffer of one
}

func newWaiter(a *account, size int64) *waiter {
	return &waiter{account: a, size: size, admitted: make(chan struct{}, 1)}
}

// A line holds the goroutines that wait for a resource, in order of arrival. The
// owner of the resource guards it.
type line []*waiter

// next returns the waiter whose account has the smallest key, and among equal keys
// the first in line. The line must not be empty.
func (l line) next(key func(*account) int64) *waiter {
	best, least := l[0], key(l[0].account)
	for _, w := range l[1:] {
		if k := key(w.account); k < least {
			best, least = w, k
		}
	}
	return best
}

// remove removes w and reports whether it was in the line.
func (l *line) remove(w *waiter) bool {
	for i, other := range *l {
		if other == w {
			*l = append((*l)[:i], (*l)[i+1:]...)
			return true
		}
	}
	return false
}
