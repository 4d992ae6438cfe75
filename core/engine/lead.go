package engine

import (
	"context"
	"sync"
)

// maxLead is how many bytes of INPUTS match may be ahead of decide. What waits there
// can't be held back any more when decide's memory is full; in EVENTS it can. Two of
// decide's groups find room in it.
const maxLead = 4 << 20

// lead is how far match is ahead of decide.
type lead struct {
	mu      sync.Mutex
	bytes   int // that match has handed on, and that are not decided
	decided uint64
	written []written     // and not decided, by sequence
	less    chan struct{} // closed when bytes have become less; nil: nobody waits
}

// written is a message of INPUTS.
type written struct {
	seq   uint64
	bytes int
}

// pass waits until match may hand on more.
func (l *lead) pass(ctx context.Context) error {
	for {
		l.mu.Lock()
		if l.bytes < maxLead {
			l.mu.Unlock()
			return nil
		}
		if l.less == nil {
			l.less = make(chan struct{})
		}
		less := l.less
		l.mu.Unlock()
		select {
		case <-less:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// add counts a part that match hands on.
func (l *lead) add(bytes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bytes += bytes
}

// drop takes back a part that was not written.
func (l *lead) drop(bytes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.take(bytes)
}

// wrote tells in which message of INPUTS a part is. Sequences do not go back.
func (l *lead) wrote(seq uint64, bytes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch last := len(l.written) - 1; {
	case seq <= l.decided: // before we heard of it
		l.take(bytes)
	case last >= 0 && l.written[last].seq == seq:
		l.written[last].bytes += bytes
	default:
		l.written = append(l.written, written{seq, bytes})
	}
}

// decide tells up to where decide has come; of the message that it stands in, the rest
// is no more than one message.
func (l *lead) decide(seq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.decided = seq
	n, bytes := 0, 0
	for n < len(l.written) && l.written[n].seq <= seq {
		bytes += l.written[n].bytes
		n++
	}
	l.written = append(l.written[:0], l.written[n:]...)
	l.take(bytes)
}

func (l *lead) take(bytes int) {
	l.bytes -= bytes
	if bytes > 0 && l.less != nil {
		close(l.less)
		l.less = nil
	}
}
