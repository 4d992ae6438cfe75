package sdk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

// What a batch holds at most, and how long the SDK waits for more to come into it.
const (
	MaxBatchEvents = 512
	MaxBatchBytes  = 1 << 20
	JoinDelay      = 2 * time.Millisecond
)

// statusEvery is how often a change of a source's backlog alone is reported.
const statusEvery = time.Second

// ErrSessionOver is what Send and Receipt.Wait return when the session has ended:
// whether the events are durable is not known, and a source that can wait offers them
// again in the next session.
var ErrSessionOver = errors.New("the detector's session is over")

// session joins what a detector sends into batches, and holds them back until there
// is credit. One goroutine pumps batches out; any number put events in.
type session struct {
	maxEvents, maxBytes int
	scrub               *secrets

	over    chan struct{} // closed when nothing more can be sent
	turn    chan struct{} // held by the Send whose events are being put in
	wake    chan struct{} // for pump: there may be something to do
	room    chan struct{} // for the Send that waits: the pending batch was taken
	acksDue chan struct{} // for the Acknowledged hook: durable has moved

	mu      sync.Mutex
	closed  bool
	pending *batch
	flush   bool // nothing more is taken: send pending as it is
	hurry   bool // … unless there is no credit for it now
	credit  int64
	sent    []*batch // not acknowledged: the batches acked+1 to number
	number  int64    // of the last batch sent
	acked   int64
	cursor  []byte // after the last complete Send
	durable []byte // of the last acknowledged batch
	last    *receipt

	pulse time.Duration // how often the core wants a sign of life; 0: it does not. Constant
	alive time.Time     // until when the detector is taken to be; zero: for ever

	status sourceStatus
	report bool // the status has not been sent
	urgent bool // … and is to be sent at once
	told   time.Time
}

// batch is what is sent at once.
type batch struct {
	events  []*pluginv1.Event
	bytes   int
	cursor  []byte
	receipt *receipt
	since   time.Time // when it was begun
	full    bool
}

// sourceStatus is what the detector last said about its source.
type sourceStatus struct {
	trouble string
	since   time.Time
	behind  int64
	unit    string
}

// newSession begins at a cursor; bounds that are not positive or above the SDK's are
// the SDK's.
func newSession(cursor []byte, maxEvents, maxBytes int, scrub *secrets) *session {
	if maxEvents <= 0 || maxEvents > MaxBatchEvents {
		maxEvents = MaxBatchEvents
	}
	if maxBytes <= 0 || maxBytes > MaxBatchBytes {
		maxBytes = MaxBatchBytes
	}
	nothing := newReceipt()
	nothing.settle(nil)
	return &session{
		maxEvents: maxEvents,
		maxBytes:  maxBytes,
		scrub:     scrub,
		over:      make(chan struct{}),
		turn:      make(chan struct{}, 1),
		wake:      make(chan struct{}, 1),
		room:      make(chan struct{}, 1),
		acksDue:   make(chan struct{}, 1),
		cursor:    cursor,
		durable:   cursor,
		last:      nothing,
		status:    sourceStatus{since: time.Now()},
		report:    true,
		urgent:    true,
	}
}

// Send implements Sender.
func (s *session) Send(ctx context.Context, events []Event, cursor []byte) (Receipt, error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-s.over:
		return nil, ErrSessionOver
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for len(events) > s.maxEvents {
		if _, err := s.put(ctx, events[:s.maxEvents], nil); err != nil {
			return nil, err
		}
		events = events[s.maxEvents:]
	}
	return s.put(ctx, events, cursor)
}

// put adds events to the pending batch, waiting each time that it is full, and then
// moves the cursor behind them, if there is one. Until then the batches that take some
// of them carry the cursor from before: the events of a Send that was split are read
// again from its beginning if the session ends in between. So what fits into one batch
// is not split.
func (s *session) put(ctx context.Context, events []Event, cursor []byte) (*receipt, error) {
	slab := make([]pluginv1.Event, len(events))
	sizes, all := make([]int, len(events)), 0
	for i := range events {
		sizes[i] = eventToProto(&events[i], &slab[i])
		all += sizes[i]
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	defer nudge(s.wake)
	for len(slab) <= s.maxEvents && all <= s.maxBytes && !s.closed && s.pending != nil && !s.pending.takes(len(slab), all, s) {
		s.pending.full = true
		if err := s.waitForRoom(ctx); err != nil {
			return nil, err
		}
	}
	for i := range slab {
		for !s.closed && s.pending != nil && !s.pending.fits(sizes[i], s) {
			s.pending.full = true
			if err := s.waitForRoom(ctx); err != nil {
				return nil, err
			}
		}
		if s.closed || s.flush {
			return nil, ErrSessionOver
		}
		b := s.begin(len(slab) - i)
		b.events = append(b.events, &slab[i])
		b.bytes += sizes[i]
	}
	if s.closed || s.flush {
		return nil, ErrSessionOver
	}
	if cursor != nil && !bytes.Equal(cursor, s.cursor) {
		s.cursor = bytes.Clone(cursor)
		s.begin(0).cursor = s.cursor
	}
	if s.pending == nil {
		return s.last, nil
	}
	return s.pending.receipt, nil
}

func (b *batch) fits(size int, s *session) bool { return b.takes(1, size, s) }

// takes tells whether so many events of so many bytes go in, beside what is there.
func (b *batch) takes(events, size int, s *session) bool {
	return len(b.events) == 0 || len(b.events)+events <= s.maxEvents && b.bytes+size <= s.maxBytes
}

// begin returns the pending batch, a new one if there is none.
func (s *session) begin(events int) *batch {
	if s.pending == nil {
		s.pending = &batch{
			events:  make([]*pluginv1.Event, 0, min(events, s.maxEvents)),
			cursor:  s.cursor,
			receipt: newReceipt(),
			since:   time.Now(),
		}
	}
	return s.pending
}

// waitForRoom is called with the lock, and gives it away while it waits.
func (s *session) waitForRoom(ctx context.Context) error {
	s.mu.Unlock()
	defer s.mu.Lock()
	nudge(s.wake)
	select {
	case <-s.room:
	case <-s.over:
		return ErrSessionOver
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// Status implements Sender.
func (s *session) Status(trouble error, behind int64, unit string) {
	now := sourceStatus{behind: behind, unit: cut(unit, textLimit)}
	if trouble != nil {
		now.trouble = cut(s.scrub.scrub(trouble.Error()), textLimit)
		if now.trouble == "" {
			now.trouble = "the source cannot be read"
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now.since = s.status.since
	if (now.trouble == "") != (s.status.trouble == "") {
		now.since = time.Now()
	}
	if now == s.status {
		return
	}
	s.report = true
	s.urgent = s.urgent || now.trouble != s.status.trouble
	s.status = now
	nudge(s.wake)
}

// livesUntil says by when the detector will have said so again, if it is not stuck.
// Nobody else's signs of life are sent after that.
func (s *session) livesUntil(t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.alive = t
	nudge(s.wake)
}

// pump sends what is ready until the session is to end (ctx), what it waits for has
// come (until), or, once flush is set, nothing is left.
func (s *session) pump(ctx context.Context, until <-chan struct{}, send func(*pluginv1.DetectResponse) error) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		message, wait, drained := s.next()
		if drained {
			return nil
		}
		if message != nil {
			if err := send(message); err != nil {
				return err
			}
			continue
		}
		timer.Reset(wait)
		select {
		case <-s.wake:
		case <-timer.C:
		case <-until:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// next returns what is to be sent now, or else for how long there is nothing to do
// unless pump is woken.
func (s *session) next() (message *pluginv1.DetectResponse, wait time.Duration, drained bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	wait = time.Hour
	if s.report && (s.urgent || s.flush || now.Sub(s.told) >= statusEvery) {
		s.report, s.urgent, s.told = false, false, now
		return statusToProto(s.status, false), 0, false
	}
	if s.report {
		wait = statusEvery - now.Sub(s.told)
	}
	if s.pulse > 0 && (s.alive.IsZero() || now.Before(s.alive)) {
		due := s.pulse - now.Sub(s.told)
		if due <= 0 {
			s.report, s.told = false, now
			return statusToProto(s.status, false), 0, false
		}
		wait = min(wait, due)
	}
	b := s.pending
	if b == nil {
		return nil, wait, s.flush
	}
	if s.credit == 0 {
		return nil, wait, s.hurry
	}
	due := b.since.Add(JoinDelay).Sub(now)
	if due > 0 && !s.flush && !b.full && len(b.events) < s.maxEvents && b.bytes < s.maxBytes {
		return nil, min(wait, due), false
	}
	s.credit--
	s.number++
	s.sent = append(s.sent, b)
	s.last = b.receipt
	s.pending = nil
	nudge(s.room)
	return batchToProto(s.number, b), 0, false
}

// finish lets what is pending go without waiting for more events; with hurry also not
// for credit.
func (s *session) finish(hurry bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flush, s.hurry = true, hurry
}

// farewell is the status that tells that there is no more.
func (s *session) farewell() *pluginv1.DetectResponse {
	s.mu.Lock()
	defer s.mu.Unlock()
	return statusToProto(s.status, true)
}

// grant adds credit, as much as anybody needs.
func (s *session) grant(batches int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.credit = min(s.credit+max(batches, 0), 1<<20)
	nudge(s.wake)
}

// acknowledge settles the receipts of all batches up to one.
func (s *session) acknowledge(number int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if number > s.number {
		return fmt.Errorf("batch %d is acknowledged and was not sent", number)
	}
	if s.closed {
		return nil // the session is over, and its receipts are settled
	}
	for s.acked < number {
		b := s.sent[0]
		s.sent[0] = nil
		s.sent = s.sent[1:]
		s.acked++
		s.durable = b.cursor
		b.receipt.settle(nil)
		b.events = nil
	}
	nudge(s.acksDue)
	return nil
}

// close ends the session: nothing more is taken, and no receipt is waited for.
func (s *session) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	close(s.over)
	for _, b := range s.sent {
		b.receipt.settle(ErrSessionOver)
	}
	if s.pending != nil {
		s.pending.receipt.settle(ErrSessionOver)
	}
	s.sent, s.pending = nil, nil
}

// notify tells the hook which cursor is durable, from the one that the session began
// with: what an earlier session was told may have been lost on the way. Of several
// that are new it hears the last. It returns when the session has ended and the hook
// knows all.
func (s *session) notify(ctx context.Context, hook Acknowledged, log *slog.Logger) {
	var told []byte
	for ended := false; ; {
		s.mu.Lock()
		durable := s.durable
		s.mu.Unlock()
		if len(durable) > 0 && !bytes.Equal(durable, told) {
			if err := hook.Acknowledged(ctx, bytes.Clone(durable)); err != nil {
				log.Warn("the source cannot be told what is durable", "error", err)
			}
			told = durable
			continue
		}
		if ended {
			return
		}
		select {
		case <-s.acksDue:
		case <-s.over:
			ended = true
		}
	}
}

// receipt is shared by the sends whose last events are in one batch.
type receipt struct {
	done chan struct{}
	err  error // read after done
}

func newReceipt() *receipt { return &receipt{done: make(chan struct{})} }

// Wait implements Receipt.
func (r *receipt) Wait(ctx context.Context) error {
	select {
	case <-r.done:
		return r.err
	default:
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *receipt) settle(err error) {
	r.err = err
	close(r.done)
}

// nudge wakes the one who waits on a channel of capacity 1, now or when it next does.
func nudge(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
