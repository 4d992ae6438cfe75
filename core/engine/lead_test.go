package engine

import (
	"context"
	"errors"
	"testing"
)

func TestLead(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	var l lead
	want := func(open bool) {
		t.Helper()
		if err := l.pass(ended); (err == nil) != open || !open && !errors.Is(err, context.Canceled) {
			t.Errorf("at %d bytes: %v, want it open: %v", l.bytes, err, open)
		}
	}
	l.add(maxLead - 1)
	want(true)
	l.add(1)
	want(false)
	l.wrote(7, maxLead-1) // two parts of one message
	l.wrote(7, 1)
	l.decide(6)
	want(false)
	l.decide(7)
	want(true)

	l.add(maxLead)
	l.decide(9)
	l.wrote(9, maxLead) // decided before we heard that it was written
	want(true)

	l.add(maxLead)
	l.drop(maxLead)
	want(true)
	if l.bytes != 0 || len(l.written) != 0 {
		t.Errorf("%d bytes and %d messages are left", l.bytes, len(l.written))
	}
}

// TestLeadIsTold: who waits goes on when decide has come nearer.
func TestLeadIsTold(t *testing.T) {
	var l lead
	l.add(2 * maxLead)
	l.wrote(1, maxLead)
	l.wrote(2, maxLead)
	passed := make(chan error)
	go func() { passed <- l.pass(t.Context()) }()
	l.decide(1)
	select {
	case err := <-passed:
		t.Fatalf("passed with %d bytes: %v", l.bytes, err)
	default:
	}
	l.decide(2)
	if err := <-passed; err != nil {
		t.Error(err)
	}
}
