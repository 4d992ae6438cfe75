package connectortest

import (
	"slices"
	"sync"
)

// Effects is what an API was made to do. The zero value is empty.
type Effects struct {
	mu   sync.Mutex
	keys map[string]bool
	done []string
}

// Do has something take effect, unless a request with the same key has had it before,
// and tells whether it did. Every request without a key has its effect.
func (e *Effects) Do(key, what string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if key != "" && e.keys[key] {
		return false
	}
	if e.keys == nil {
		e.keys = map[string]bool{}
	}
	e.keys[key] = true
	e.done = append(e.done, what)
	return true
}

// Had tells whether a request with a key had its effect.
func (e *Effects) Had(key string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.keys[key]
}

// Done is all that took effect, in its order.
func (e *Effects) Done() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.done)
}
