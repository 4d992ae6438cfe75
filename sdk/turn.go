package sdk

import (
	"context"
	"sync"
)

// turns lets one holder at a time have a key. The zero value is ready.
type turns struct {
	mu    sync.Mutex
	byKey map[string]*turn
}

type turn struct {
	token  chan struct{}
	wanted int
}

// take waits for the key; the holder calls release once.
func (t *turns) take(ctx context.Context, key string) (release func(), err error) {
	t.mu.Lock()
	if t.byKey == nil {
		t.byKey = map[string]*turn{}
	}
	one := t.byKey[key]
	if one == nil {
		one = &turn{token: make(chan struct{}, 1)}
		t.byKey[key] = one
	}
	one.wanted++
	t.mu.Unlock()
	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if one.wanted--; one.wanted == 0 {
			delete(t.byKey, key)
		}
	}
	select {
	case one.token <- struct{}{}:
		return func() { <-one.token; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
