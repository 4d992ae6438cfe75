package eventlog

import (
	"context"
	"errors"
	"fmt"
	"sort"

	"github.com/nats-io/nats.go/jetstream"
)

// Positions are sequences of EVENTS and INPUTS.
type Positions struct{ Events, Inputs uint64 }

// Trimmed counts the messages that Trim removed.
type Trimmed struct{ Events, Inputs uint64 }

// slack is the room that a full stream gets for the cursors which trimming must
// carry on before it can make room.
const slack = 4 << 20

// Trim removes messages that nobody needs: those up to done, which is what both
// the store and the checkpoint no longer need, of EVENTS also only what match
// has acknowledged, and of these the ones that are older than Settings.Keep or
// that a stream which is three quarters full has no room for. The last message
// of INPUTS stays, and so does every detector's cursor: where its last batch
// would go, an empty one with the same header is written first.
func (l *Log) Trim(ctx context.Context, done Positions) (Trimmed, error) {
	srv, err := l.healthy(ctx)
	if err != nil {
		return Trimmed{}, err
	}
	var t Trimmed
	if t.Inputs, err = l.trimInputs(ctx, srv, done.Inputs+1); err != nil {
		return t, err
	}
	t.Events, err = l.trimEvents(ctx, srv, done.Events+1)
	return t, err
}

func (l *Log) trimInputs(ctx context.Context, srv *server, below uint64) (uint64, error) {
	info, err := srv.streams[inputs].Info(ctx)
	if err != nil {
		return 0, fmt.Errorf("stream %s: %w", inputs, err)
	}
	old, err := l.oldBelow(ctx, srv, info)
	if err != nil {
		return 0, err
	}
	return l.purge(ctx, srv, info, min(below, old, info.State.LastSeq))
}

func (l *Log) trimEvents(ctx context.Context, srv *server, below uint64) (uint64, error) {
	// The stream first: what is acknowledged is then no further than its end.
	info, err := srv.streams[events].Info(ctx, jetstream.WithSubjectFilter(events+".>"))
	if err != nil {
		return 0, fmt.Errorf("stream %s: %w", events, err)
	}
	match, err := srv.match.Info(ctx)
	if err != nil {
		return 0, fmt.Errorf("consumer %s: %w", matchName, err)
	}
	old, err := l.oldBelow(ctx, srv, info)
	if err != nil {
		return 0, err
	}
	below = min(below, match.AckFloor.Stream+1, old, info.State.LastSeq)
	if below <= info.State.FirstSeq {
		return 0, nil
	}
	if below, err = l.carry(ctx, srv, info, below); err != nil {
		return 0, err
	}
	return l.purge(ctx, srv, info, below)
}

// oldBelow returns the sequence below which a stream's messages may go for their
// age or for room.
func (l *Log) oldBelow(ctx context.Context, srv *server, info *jetstream.StreamInfo) (uint64, error) {
	st := info.State
	if st.Msgs == 0 {
		return st.FirstSeq, nil
	}
	below := st.FirstSeq
	if limit := uint64(info.Config.MaxBytes) / 4 * 3; st.Bytes > limit {
		below += (st.Bytes - limit) / (st.Bytes/st.Msgs + 1)
	}
	before := l.now().Add(-l.set.Keep)
	if st.LastTime.Before(before) {
		return st.LastSeq + 1, nil
	}
	if !st.FirstTime.Before(before) {
		return below, nil
	}
	// The first message that is young enough.
	var err error
	n := sort.Search(int(st.LastSeq-st.FirstSeq), func(i int) bool {
		if err != nil {
			return true
		}
		var msg *jetstream.RawStreamMsg
		msg, err = srv.streams[info.Config.Name].GetMsg(ctx, st.FirstSeq+uint64(i))
		return err != nil || !msg.Time.Before(before)
	})
	if err != nil {
		return 0, fmt.Errorf("stream %s: %w", info.Config.Name, err)
	}
	return max(below, st.FirstSeq+uint64(n)), nil
}

// carry writes the cursors on that are below the sequence. It returns the
// sequence below which nothing is needed any more.
func (l *Log) carry(ctx context.Context, srv *server, info *jetstream.StreamInfo, below uint64) (uint64, error) {
	for subject := range info.State.Subjects {
		if nameOf(subject) == "" {
			continue // what Fill wrote
		}
		w := l.sourceWriter(subject)
		w.mu.Lock()
		seq, err := w.carry(ctx, below)
		if errors.Is(err, ErrFull) {
			if err = srv.resize(ctx, info.Config.MaxBytes+slack); err == nil {
				seq, err = w.carry(ctx, below)
				err = errors.Join(err, srv.resize(ctx, info.Config.MaxBytes))
			}
		}
		w.mu.Unlock()
		if err != nil {
			return 0, err
		}
		if seq > 0 {
			below = min(below, seq)
		}
	}
	return below, nil
}

// sourceWriter returns the writer of a subject's session, or a new one.
func (l *Log) sourceWriter(subject string) *writer {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.sources[nameOf(subject)]; s != nil {
		return s.w
	}
	return &writer{log: l, stream: events, subject: subject, adopt: true}
}

func (s *server) resize(ctx context.Context, bytes int64) error {
	_, err := s.js.UpdateStream(ctx, streamConfig(events, bytes))
	if err != nil {
		return fmt.Errorf("stream %s: %w", events, err)
	}
	return nil
}

// purge removes what is below a sequence and returns how many messages that was.
func (l *Log) purge(ctx context.Context, s *server, info *jetstream.StreamInfo, below uint64) (uint64, error) {
	first := info.State.FirstSeq
	if below <= first {
		return 0, nil
	}
	name := info.Config.Name
	if err := l.mark.floor(name, below); err != nil {
		return 0, fmt.Errorf("stream %s: %w", name, err)
	}
	if err := s.streams[name].Purge(ctx, jetstream.WithPurgeSequence(below)); err != nil {
		return 0, fmt.Errorf("stream %s: %w", name, err)
	}
	return below - first, nil
}

// Fill brings the streams to the positions at least, with empty messages, when
// the log has lost its tail and goes on from the store: no sequence is given
// twice. It returns how many messages were missing. The empty EVENTS messages
// have no instance and no events; the empty INPUTS have no parts.
func (l *Log) Fill(ctx context.Context, to Positions) (missing Positions, err error) {
	if missing.Events, err = l.fill(ctx, events, to.Events); err != nil {
		return missing, err
	}
	missing.Inputs, err = l.fill(ctx, inputs, to.Inputs)
	return missing, err
}

func (l *Log) fill(ctx context.Context, stream string, to uint64) (uint64, error) {
	st, err := l.state(ctx, stream)
	if err != nil || st.LastSeq >= to {
		return 0, err
	}
	w := writer{log: l, stream: stream, subject: stream + "." + token(""), adopt: true, doubt: true}
	w.mu.Lock()
	defer w.mu.Unlock()
	for seq := st.LastSeq; seq < to; {
		if seq, err = w.publish(ctx, frame{id: fmt.Sprintf("fill-%d", seq+1)}); err != nil {
			return 0, err
		}
	}
	l.set.Logger.Error("event log had lost its tail; empty messages were put in its place",
		"stream", stream, "from", st.LastSeq+1, "to", to)
	return to - st.LastSeq, nil
}

// Rematch has EVENTS handed out again from a sequence on, also what was acknowledged.
// Nobody may be consuming.
func (l *Log) Rematch(ctx context.Context, from uint64) error {
	srv, err := l.server(ctx)
	if err != nil {
		return err
	}
	if _, err := srv.js.ResetConsumerToSequence(ctx, events, matchName, from); err != nil {
		return fmt.Errorf("consumer %s: %w", matchName, err)
	}
	return nil
}
