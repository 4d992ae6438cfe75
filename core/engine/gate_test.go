package engine

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/core/decide"
)

func TestGate(t *testing.T) {
	var g gate
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		load float64
		open bool
	}{{0, true}, {0.99, true}, {1, false}, {0.95, false}, {0.9, false}, {0.89, true}, {0.95, true}, {3, false}} {
		g.tell(decide.Memory{Load: c.load}, now)
		err := g.pass(ended)
		if open := err == nil; open != c.open || !open && !errors.Is(err, context.Canceled) {
			t.Errorf("at a load of %v: %v, want open: %v", c.load, err, c.open)
		}
		if told := len(g.troubles()) == 0; told != c.open {
			t.Errorf("at a load of %v status says otherwise", c.load)
		}
	}
	passed := make(chan error)
	go func() { passed <- g.pass(t.Context()) }()
	g.tell(decide.Memory{Load: 0.5}, now)
	if err := <-passed; err != nil {
		t.Error(err)
	}
}
