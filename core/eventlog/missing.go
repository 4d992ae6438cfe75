package eventlog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"

	"github.com/nats-io/nats.go/jetstream"
)

// Run is the messages From to To of a stream, both included.
type Run struct{ From, To uint64 }

// Missing are the messages that a stream gave out sequences for and does not have,
// though it was not trimmed so far. So each was taken out by somebody, or is damaged
// beyond reading.
type Missing struct {
	// Messages is how many they are.
	Messages uint64
	// Runs of them, the lowest first, at most mostRuns.
	Runs []Run
	// Accepted is the sequence up to which their loss was accepted.
	Accepted uint64
}

const (
	// mostRuns bounds what is named of a stream that is full of holes.
	mostRuns = 1000
	// mostMissing bounds what the server is asked to list, since its answer has to fit
	// into one message.
	mostMissing = 200_000
)

// Missing returns what EVENTS and INPUTS miss between their first and last messages.
// It is cheap where nothing is missing.
func (l *Log) Missing(ctx context.Context) (inEvents, inInputs Missing, err error) {
	srv, err := l.server(ctx)
	if err != nil {
		return Missing{}, Missing{}, err
	}
	if inEvents, err = l.missingOf(ctx, srv, events); err != nil {
		return Missing{}, Missing{}, err
	}
	inInputs, err = l.missingOf(ctx, srv, inputs)
	return inEvents, inInputs, err
}

func (l *Log) missingOf(ctx context.Context, srv *server, stream string) (Missing, error) {
	m := Missing{Accepted: l.mark.accepted(stream)}
	info, err := srv.streams[stream].Info(ctx)
	if err != nil {
		return m, fmt.Errorf("stream %s: %w", stream, err)
	}
	deleted := uint64(info.State.NumDeleted)
	if deleted > 0 && deleted <= mostMissing {
		if info, err = srv.streams[stream].Info(ctx, jetstream.WithDeletedDetails(true)); err != nil {
			return m, fmt.Errorf("stream %s: %w", stream, err)
		}
		deleted = uint64(len(info.State.Deleted))
	}
	m.Messages = deleted
	// What is trimmed was noted before.
	if floor, first := l.mark.floorOf(stream), info.State.FirstSeq; floor > 0 && first > floor {
		m.Messages += first - floor
		m.Runs = append(m.Runs, Run{floor, first - 1})
	}
	for _, seq := range slices.Sorted(slices.Values(info.State.Deleted)) {
		if n := len(m.Runs); n > 0 && m.Runs[n-1].To+1 == seq {
			m.Runs[n-1].To = seq
		} else if n < mostRuns {
			m.Runs = append(m.Runs, Run{seq, seq})
		}
	}
	return m, nil
}

// Instances lists the detector instances that EVENTS has messages of, sorted.
func (l *Log) Instances(ctx context.Context) ([]string, error) {
	srv, err := l.server(ctx)
	if err != nil {
		return nil, err
	}
	info, err := srv.streams[events].Info(ctx, jetstream.WithSubjectFilter(events+".>"))
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", events, err)
	}
	var all []string
	for subject := range info.State.Subjects {
		if name := nameOf(subject); name != "" { // else it is what Fill wrote
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all, nil
}

// NextOf returns the first message of an instance at a sequence or after it, or
// ErrNotFound.
func (l *Log) NextOf(ctx context.Context, instance string, seq uint64) (Record, error) {
	srv, err := l.server(ctx)
	if err != nil {
		return Record{}, err
	}
	return srv.nextOf(ctx, instance, seq)
}

func (s *server) nextOf(ctx context.Context, instance string, seq uint64) (Record, error) {
	subject := events + "." + token(instance)
	msg, err := s.streams[events].GetMsg(ctx, max(seq, 1), jetstream.WithGetMsgSubject(subject))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		err = ErrNotFound
	}
	if err != nil {
		return Record{}, fmt.Errorf("%s from %d: %w", subject, seq, err)
	}
	return record(events, stored{seq: msg.Sequence, time: msg.Time, subject: msg.Subject, data: msg.Data}), nil
}

// LastOf returns the last message of an instance before a sequence, or ErrNotFound. It
// looks at a few messages for each time that the stream doubles.
func (l *Log) LastOf(ctx context.Context, instance string, before uint64) (Record, error) {
	srv, err := l.server(ctx)
	if err != nil {
		return Record{}, err
	}
	st, err := l.state(ctx, events)
	if err != nil {
		return Record{}, err
	}
	none := fmt.Errorf("%s before %d: %w", instance, before, ErrNotFound)
	if before <= st.FirstSeq {
		return Record{}, none
	}
	// The first sequence from which there is none before: one below it is the last.
	var found Record
	n := sort.Search(int(before-st.FirstSeq), func(i int) bool {
		if err != nil {
			return true
		}
		var r Record
		r, err = srv.nextOf(ctx, instance, st.FirstSeq+uint64(i))
		switch {
		case errors.Is(err, ErrNotFound):
			err = nil
			return true
		case err != nil || r.Seq >= before:
			return true
		}
		if r.Seq > found.Seq {
			found = r
		}
		return false
	})
	switch {
	case err != nil:
		return Record{}, err
	case n == 0:
		return Record{}, none
	}
	return found, nil
}

// Advance brings an instance's running total to at least total, with an empty message
// that has the cursor of its last one: so that events which a power cut has taken, and
// which were decided, do not give their numbers to others. It returns what the total
// was. No session may be open.
func (l *Log) Advance(ctx context.Context, instance string, total uint64) (was uint64, err error) {
	w := &writer{log: l, stream: events, subject: events + "." + token(instance), adopt: true}
	w.mu.Lock()
	defer w.mu.Unlock()
	last, err := w.look(ctx)
	if err != nil || last.total >= total {
		return last.total, err
	}
	w.seq = last.seq
	_, err = w.publish(ctx, frame{id: fmt.Sprintf("advance-%d-%d", last.seq, total), cursor: last.cursor, maker: last.maker, total: total})
	return last.total, err
}
