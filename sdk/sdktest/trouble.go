package sdktest

import "sync"

// Trouble is what a test's far end makes when the conformance suite wants some: its Limit
// and Stall are an Instance's. The zero value is ready, and makes none.
type Trouble struct {
	mu      sync.Mutex
	limited bool
	stalled chan struct{} // not nil: who holds waits until it is closed
	held    chan struct{}
}

// Limited tells the far end to refuse because there are too many requests.
func (t *Trouble) Limited() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.limited
}

// Hold is called by the far end before it answers, and returns when it may.
func (t *Trouble) Hold() {
	t.mu.Lock()
	stalled, held := t.stalled, t.held
	t.mu.Unlock()
	if stalled == nil {
		return
	}
	select {
	case held <- struct{}{}:
	default:
	}
	<-stalled
}

// Limit makes the far end refuse until lift is called.
func (t *Trouble) Limit() (lift func()) {
	set := func(limited bool) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.limited = limited
	}
	set(true)
	return func() { set(false) }
}

// Stall makes who calls Hold wait until release is called. held gets a value when one
// waits.
func (t *Trouble) Stall() (held <-chan struct{}, release func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	stalled := make(chan struct{})
	t.stalled, t.held = stalled, make(chan struct{}, 1)
	return t.held, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		close(stalled)
		t.stalled = nil
	}
}
