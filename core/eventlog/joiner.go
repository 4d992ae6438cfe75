package eventlog

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
)

const (
	joinBytes = 1 << 20 // of one message
	waitBytes = 4 << 20 // of what waits for one
	// MaxPart is the size limit in bytes of one part of an INPUTS message.
	MaxPart = MaxPayload - frameRoom
)

// Joiner writes to INPUTS with one publish in flight: what is added meanwhile
// goes into the next message, in the order in which it was added, up to 1 MiB. A
// larger part gets a message of its own.
type Joiner struct {
	w    *writer
	name string
	id   string // begins the message ids

	mu     sync.Mutex
	queue  []part
	bytes  int // of the queue's parts
	closed bool
	change chan struct{} // closed and replaced at every change of the above
	done   chan struct{} // closed when run has ended
	stop   context.CancelFunc
}

type part struct {
	data []byte
	done func(seq uint64, err error)
}

// Joiner starts a joiner. Of one name there is one at a time. Close it.
func (l *Log) Joiner(ctx context.Context, name string) (*Joiner, error) {
	l.mu.Lock()
	taken := l.joiners[name]
	l.joiners[name] = true
	l.mu.Unlock()
	if taken {
		return nil, fmt.Errorf("joiner %q is open already", name)
	}
	j := &Joiner{
		w:      &writer{log: l, stream: inputs, subject: inputs + "." + token(name), adopt: true},
		name:   name,
		id:     rand.Text(),
		change: make(chan struct{}),
		done:   make(chan struct{}),
	}
	last, err := j.w.look(ctx)
	if err != nil && !errors.Is(err, ErrSick) {
		l.releaseJoiner(name)
		return nil, err
	}
	j.w.seq, j.w.doubt = last.seq, err != nil // a sick log is asked when it is well
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	j.stop = stop
	go j.run(run)
	return j, nil
}

func (l *Log) releaseJoiner(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.joiners, name)
}

// Add queues a part and returns; it waits, until ctx ends, while 4 MiB wait
// already. done is called once, from one goroutine, in the order of the parts:
// with the part's sequence in INPUTS when it is in the log, or with the error,
// after which the part may be in the log all the same and is to be added again.
// done must not call Add, Append or Close. When Add returns an error, done is
// not called. data must stay as it is until done.
func (j *Joiner) Add(ctx context.Context, data []byte, done func(seq uint64, err error)) error {
	if len(data) > MaxPart {
		return fmt.Errorf("part of %d bytes: %w", len(data), ErrTooLarge)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for !j.closed && len(j.queue) > 0 && j.bytes+partSize(len(data)) > waitBytes {
		if err := j.wait(ctx); err != nil {
			return err
		}
	}
	if j.closed {
		return ErrClosed
	}
	j.queue = append(j.queue, part{data, done})
	j.bytes += partSize(len(data))
	j.changed()
	return nil
}

// Append adds a part and waits until the log has it. When ctx ends before, the
// part may be written all the same.
func (j *Joiner) Append(ctx context.Context, data []byte) (uint64, error) {
	type answer struct {
		seq uint64
		err error
	}
	got := make(chan answer, 1)
	if err := j.Add(ctx, data, func(seq uint64, err error) { got <- answer{seq, err} }); err != nil {
		return 0, err
	}
	select {
	case a := <-got:
		return a.seq, a.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// Close writes what waits, until ctx ends; the rest is answered with ErrClosed.
func (j *Joiner) Close(ctx context.Context) error {
	j.mu.Lock()
	j.closed = true
	j.changed()
	j.mu.Unlock()
	var err error
	select {
	case <-j.done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	j.stop()
	<-j.done
	j.w.log.releaseJoiner(j.name)
	return err
}

func (j *Joiner) run(ctx context.Context) {
	defer close(j.done)
	var body []byte
	for n := uint64(1); ; n++ {
		group, ok := j.next()
		if !ok {
			return
		}
		if ctx.Err() != nil {
			finish(group, 0, ErrClosed)
			continue
		}
		body = body[:0]
		for _, p := range group {
			body = appendPart(body, p.data)
		}
		j.w.mu.Lock()
		seq, err := j.w.publish(ctx, frame{id: fmt.Sprintf("%s-%d", j.id, n), count: uint64(len(group)), payload: body})
		j.w.mu.Unlock()
		finish(group, seq, err)
		if cap(body) > 2*joinBytes {
			body = nil
		}
	}
}

// next takes what goes into one message, waiting for something; it is over when
// the joiner is closed and nothing waits.
func (j *Joiner) next() ([]part, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for len(j.queue) == 0 {
		if j.closed {
			return nil, false
		}
		_ = j.wait(context.Background())
	}
	size, n := 0, 0
	for n < len(j.queue) {
		s := partSize(len(j.queue[n].data))
		if n > 0 && size+s > joinBytes {
			break
		}
		size, n = size+s, n+1
	}
	group := append([]part(nil), j.queue[:n]...)
	rest := copy(j.queue, j.queue[n:])
	clear(j.queue[rest:])
	j.queue = j.queue[:rest]
	j.bytes -= size
	j.changed()
	return group, true
}

// wait gives the lock up until something has changed.
func (j *Joiner) wait(ctx context.Context) error {
	change := j.change
	j.mu.Unlock()
	defer j.mu.Lock()
	select {
	case <-change:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (j *Joiner) changed() {
	close(j.change)
	j.change = make(chan struct{})
}

func finish(group []part, seq uint64, err error) {
	for _, p := range group {
		p.done(seq, err)
	}
}
