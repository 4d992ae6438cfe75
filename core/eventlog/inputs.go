package eventlog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	readMessages = 64
	readBytes    = inFlightBytes
	readWait     = 5 * time.Second
)

// Input is one message of INPUTS: the parts that were joined, in their order.
type Input struct {
	Seq   uint64
	Time  time.Time // when the log took it; it takes no part in deciding
	Parts [][]byte
}

// Reader reads INPUTS in order and without a gap. It keeps no position in the
// log. It is for one goroutine.
type Reader struct {
	scan *scan
	lost uint64 // what is below is missing, and that was accepted
}

// Inputs starts a reader whose first input has the sequence from, which is at
// least 1. It fails with a PositionError that matches ErrShort when the log ends
// before from-1, and ErrGap when it begins after from. For messages whose loss was
// accepted it returns inputs without parts. Where the log is sick, Next waits until it is
// well. Close it.
func (l *Log) Inputs(ctx context.Context, from uint64) (*Reader, error) {
	if from == 0 {
		return nil, errors.New("inputs are read from sequence 1 at least")
	}
	s := &scan{log: l, stream: inputs, next: from, strict: true}
	r := &Reader{scan: s}
	if err := s.restart(ctx); err != nil && !r.accepted(err) {
		return nil, err
	}
	return r, nil
}

// accepted tells whether an error says that messages are missing whose loss was
// accepted. They are passed over then.
func (r *Reader) accepted(err error) bool {
	var gap *PositionError
	if !errors.Is(err, ErrGap) || !errors.As(err, &gap) || gap.Have-1 > r.scan.log.mark.accepted(inputs) {
		return false
	}
	r.lost = gap.Have
	r.scan.log.set.Logger.Error("lost inputs are passed over", "from", gap.Want, "to", gap.Have-1)
	return true
}

// Next returns the next input, waiting for it until ctx ends. It fails with
// ErrGap when messages are missing and with ErrDamaged when one cannot be taken
// apart; it then fails again and skips nothing.
func (r *Reader) Next(ctx context.Context) (Input, error) {
	if seq := r.scan.next; seq < r.lost {
		r.scan.next++
		return Input{Seq: seq}, nil
	}
	msg, err := r.scan.peek(ctx)
	if err != nil && r.accepted(err) {
		return r.Next(ctx)
	} else if err != nil {
		return Input{}, err
	}
	in := Input{Seq: msg.seq, Time: msg.time}
	f, err := parseFrame(msg.data)
	if err == nil {
		in.Parts, err = splitParts(f.payload)
	}
	if err != nil {
		return Input{}, fmt.Errorf("%s %d: %w", inputs, msg.seq, err)
	}
	r.scan.advance()
	return in, nil
}

// Ready tells whether Next would return without waiting.
func (r *Reader) Ready() bool { return r.scan.next < r.lost || r.scan.ready() }

// Close ends the reader.
func (r *Reader) Close() { r.scan.close() }

// InputsEnd returns the last sequence of INPUTS now, 0 when there was none ever.
func (l *Log) InputsEnd(ctx context.Context) (uint64, error) {
	st, err := l.state(ctx, inputs)
	return st.LastSeq, err
}

func (l *Log) state(ctx context.Context, stream string) (jetstream.StreamState, error) {
	srv, err := l.server(ctx)
	if err != nil {
		return jetstream.StreamState{}, err
	}
	info, err := srv.streams[stream].Info(ctx)
	if err != nil {
		return jetstream.StreamState{}, srv.sick(fmt.Errorf("stream %s: %w", stream, err))
	}
	return info.State, nil
}

// scan reads a stream upwards. A consumer that is lost, as when the log is
// opened again, is replaced. It is for one goroutine.
type scan struct {
	log    *Log
	stream string
	filter string // a subject, or empty for all
	next   uint64 // the sequence to come; without strict, the lowest
	strict bool   // no sequence may be missing

	srv    *server
	cons   jetstream.Consumer
	batch  jetstream.MessageBatch
	msgs   <-chan jetstream.Msg // of batch
	cancel context.CancelFunc   // of batch
	peeked *stored
	again  bool // the consumer was made because of a gap
	failed bool // the last batch ended with an error
}

// stored is one message of a stream.
type stored struct {
	seq     uint64
	time    time.Time
	subject string
	data    []byte
	behind  uint64 // how many more match, when it was delivered
}

// start makes a consumer at the next sequence.
func (s *scan) start(ctx context.Context) error {
	s.stop()
	srv, err := s.log.server(ctx)
	if err != nil {
		return err
	}
	if s.strict {
		info, err := srv.streams[s.stream].Info(ctx)
		if err != nil {
			return fmt.Errorf("stream %s: %w", s.stream, err)
		}
		if last := info.State.LastSeq; last+1 < s.next {
			return &PositionError{s.stream, s.next, last, ErrShort}
		}
		if first := info.State.FirstSeq; first > s.next {
			return &PositionError{s.stream, s.next, first, ErrGap}
		}
	}
	s.cons, err = srv.js.CreateConsumer(ctx, s.stream, jetstream.ConsumerConfig{
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       max(s.next, 1),
		AckPolicy:         jetstream.AckNonePolicy,
		FilterSubject:     s.filter,
		MemoryStorage:     true,
		Replicas:          1,
		InactiveThreshold: time.Minute,
	})
	if err != nil {
		return fmt.Errorf("stream %s: %w", s.stream, err)
	}
	s.srv = srv
	return nil
}

// peek returns the next message, waiting for it.
func (s *scan) peek(ctx context.Context) (stored, error) {
	for s.peeked == nil {
		if err := ctx.Err(); err != nil {
			return stored{}, err
		}
		if s.cons == nil {
			if err := s.restart(ctx); err != nil {
				return stored{}, err
			}
			continue // it may have failed, and is tried again
		}
		if s.batch == nil {
			if err := s.fetch(); err != nil {
				s.fail(err)
				continue
			}
		}
		select {
		case msg, ok := <-s.msgs:
			if !ok {
				s.endBatch()
				continue
			}
			if err := s.accept(msg); err != nil {
				return stored{}, err
			}
		case <-s.srv.stopped:
			s.stop()
		case <-ctx.Done():
			return stored{}, ctx.Err()
		}
	}
	return *s.peeked, nil
}

// restart makes a consumer again; after a failure it waits a little.
func (s *scan) restart(ctx context.Context) error {
	if s.failed {
		s.failed = false
		t := time.NewTimer(retryWait)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	err := s.start(ctx)
	if err == nil || errors.Is(err, ErrShort) || errors.Is(err, ErrGap) || errors.Is(err, ErrClosed) || ctx.Err() != nil {
		return err
	}
	s.fail(err)
	return nil
}

func (s *scan) fail(err error) {
	s.log.set.Logger.Debug("event log read", "stream", s.stream, "error", err)
	s.stop()
	s.failed = true
}

func (s *scan) fetch() error {
	ctx, cancel := context.WithTimeout(context.Background(), readWait)
	batch, err := s.cons.Fetch(readMessages, jetstream.FetchMaxBytes(readBytes), jetstream.FetchContext(ctx))
	if err != nil {
		cancel()
		return err
	}
	s.batch, s.msgs, s.cancel = batch, batch.Messages(), cancel
	return nil
}

func (s *scan) accept(msg jetstream.Msg) error {
	meta, err := msg.Metadata()
	if err != nil {
		return fmt.Errorf("stream %s: %w", s.stream, err)
	}
	seq := meta.Sequence.Stream
	switch {
	case seq < s.next:
		return nil
	case s.strict && seq > s.next && s.again:
		s.stop()
		return &PositionError{s.stream, s.next, seq, ErrGap}
	case s.strict && seq > s.next:
		// The message may only have been lost on its way here.
		s.stop()
		s.again = true
		return nil
	}
	s.again = false
	s.peeked = &stored{seq, meta.Timestamp, msg.Subject(), msg.Data(), meta.NumPending}
	return nil
}

func (s *scan) advance() {
	if s.peeked != nil {
		s.next, s.peeked = s.peeked.seq+1, nil
	}
}

func (s *scan) ready() bool { return s.peeked != nil || len(s.msgs) > 0 }

func (s *scan) endBatch() {
	err := s.batch.Error()
	s.cancel()
	s.batch, s.msgs, s.cancel = nil, nil, nil
	if err != nil {
		s.fail(err)
	}
}

// stop forgets the consumer.
func (s *scan) stop() {
	if s.cancel != nil {
		s.cancel()
	}
	s.batch, s.msgs, s.cancel, s.cons, s.srv = nil, nil, nil, nil, nil
}

// close also removes the consumer from the server, which would do so itself
// after a while.
func (s *scan) close() {
	if s.cons != nil {
		ctx, cancel := context.WithTimeout(context.Background(), lookTimeout)
		defer cancel()
		_ = s.srv.js.DeleteConsumer(ctx, s.stream, s.cons.CachedInfo().Name)
	}
	s.stop()
}
