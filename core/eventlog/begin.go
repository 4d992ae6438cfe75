package eventlog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// begin checks the log's files, and starts the server over them.
func (l *Log) begin(ctx context.Context) (err error) {
	interval := l.set.SyncInterval
	if l.set.Sync == SyncAlways {
		interval = 0
	}
	if l.mark, err = openMark(l.set.Dir, interval, l.set.Logger); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.mark.close(false))
		}
	}()
	c, err := check(l.set.Dir, l.mark, l.set.Needed)
	if err != nil {
		return err
	}
	if err := l.accept(c.damages, len(c.bad) == 0); err != nil {
		return err
	}
	if len(c.damages) > 0 {
		if err := mend(l.set.Dir, c.bad); err != nil {
			return err
		}
	}
	if l.set.Sync == SyncAlways && !l.mark.clean {
		if err := rewrite(l.set.Dir); err != nil {
			return err
		}
	}
	if l.srv, err = startServer(ctx, l.set, l.dial); err != nil {
		return err
	}
	if err := l.settle(ctx); err != nil {
		return errors.Join(err, l.srv.stop())
	}
	return nil
}

// accept refuses damage, unless it is what a power cut may do to a log that is
// written at intervals, or it is to be accepted; or looked at, where that is safe.
func (l *Log) accept(all []Damage, safe bool) error {
	certain := slices.ContainsFunc(all, func(d Damage) bool { return d.Certain })
	if certain && !l.set.AcceptLoss && !(l.set.Look && safe) {
		return &DamageError{Dir: l.set.Dir, Damages: all}
	}
	for _, d := range all {
		l.missing(d)
	}
	return nil
}

// maxLost bounds how much is listed of what was lost.
const maxLost = 1000

// missing tells of a loss, and lists it.
func (l *Log) missing(d Damage) {
	if !l.set.Look {
		l.set.Logger.Error("the log has lost what it had acknowledged", "lost", d.String())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lost) < maxLost {
		l.lost = append(l.lost, d)
	}
}

// Lost lists what was found lost when the log was opened, and accepted, and what could
// not be read since.
func (l *Log) Lost() []Damage {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.lost)
}

// start starts the server again, and sees that it has all that was acknowledged.
func (l *Log) start(ctx context.Context) (*server, error) {
	if l.set.Sync == SyncAlways {
		if err := rewrite(l.set.Dir); err != nil {
			return nil, err
		}
	}
	srv, err := startServer(ctx, l.set, l.dial)
	if err != nil {
		return nil, err
	}
	all, err := l.mark.verify(ctx, srv)
	if err == nil && len(all) > 0 {
		err = &DamageError{Dir: l.set.Dir, Damages: all}
	}
	if err != nil {
		return nil, errors.Join(err, srv.stop())
	}
	return srv, nil
}

// settle sees that the server has all that was acknowledged, and, of what was lost and
// accepted, brings the mark down to what there is.
func (l *Log) settle(ctx context.Context) error {
	if l.mark.fresh {
		return l.mark.adopt(ctx, l.srv)
	}
	all, err := l.mark.verify(ctx, l.srv)
	if err != nil {
		return err
	}
	if len(l.Lost()) == 0 {
		if err := l.accept(all, true); err != nil {
			return err
		}
	}
	if len(l.Lost()) > 0 && !l.set.Look {
		return l.mark.adopt(ctx, l.srv)
	}
	return nil
}

// verify compares what the server has with what was acknowledged.
func (m *mark) verify(ctx context.Context, srv *server) ([]Damage, error) {
	var all []Damage
	for _, s := range m.all() {
		stream, _, subject := strings.Cut(s.name, ".")
		if !subject || stream != events {
			continue
		}
		last, err := srv.lastOf(ctx, stream, s.name)
		if err != nil {
			return nil, err
		}
		if last.seq < s.seq {
			all = append(all, Damage{
				Stream: stream, First: last.seq + 1, Last: s.seq, Reason: "the last batch that is there is an older one",
				Sources: []SourceLoss{{nameOf(s.name), s.total - min(s.total, last.total)}}, Certain: last.seq < s.settled,
			})
		}
	}
	for _, stream := range []string{events, inputs, rejected} {
		d, err := m.verifyStream(ctx, srv, stream)
		if err != nil {
			return nil, err
		}
		all = append(all, d...)
	}
	return all, nil
}

func (m *mark) verifyStream(ctx context.Context, srv *server, stream string) ([]Damage, error) {
	info, err := srv.streams[stream].Info(ctx)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", stream, err)
	}
	st := info.State
	acked, settled := m.end(stream)
	if acked == 0 {
		// The server gives no sequence twice, also when the first write has failed.
		return nil, m.begins(stream, max(st.FirstSeq, 1))
	}
	var all []Damage
	missing := func(s span) {
		all = append(all, Damage{
			Stream: stream, First: s.first, Last: s.last, Reason: "missing", Certain: s.first <= settled,
		})
	}
	floor := m.floorOf(stream)
	if stream != rejected && floor > 0 && st.FirstSeq > floor {
		missing(span{floor, min(st.FirstSeq-1, acked)})
	}
	if stream != rejected && st.NumDeleted > 0 {
		if info, err = srv.streams[stream].Info(ctx, jetstream.WithDeletedDetails(true)); err != nil {
			return nil, fmt.Errorf("stream %s: %w", stream, err)
		}
		for _, s := range spans(info.State.Deleted) {
			s.first, s.last = max(s.first, floor), min(s.last, acked)
			if s.first <= s.last {
				missing(s)
			}
		}
	}
	if st.LastSeq < acked {
		missing(span{st.LastSeq + 1, acked})
	}
	return all, nil
}

// spans joins ascending sequences that follow each other.
func spans(all []uint64) []span {
	var joined []span
	for _, seq := range all {
		if n := len(joined); n > 0 && joined[n-1].last+1 == seq {
			joined[n-1].last = seq
			continue
		}
		joined = append(joined, span{seq, seq})
	}
	return joined
}

// lastOf returns where a subject ends, zero if there is no message of it.
func (s *server) lastOf(ctx context.Context, stream, subject string) (entryEnd, error) {
	msg, err := s.last(ctx, stream, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return entryEnd{}, nil
	} else if err != nil {
		return entryEnd{}, fmt.Errorf("last message of %s: %w", subject, err)
	}
	f, err := parseFrame(msg.Data)
	if err != nil {
		return entryEnd{}, fmt.Errorf("%s %d: %w", subject, msg.Sequence, err)
	}
	return entryEnd{msg.Sequence, f.total}, nil
}

// adopt takes the log as it is for what was acknowledged.
func (m *mark) adopt(ctx context.Context, srv *server) error {
	for _, stream := range []string{events, inputs, rejected} {
		info, err := srv.streams[stream].Info(ctx, jetstream.WithSubjectFilter(stream+".>"))
		if err != nil {
			return fmt.Errorf("stream %s: %w", stream, err)
		}
		// What is lost in the middle stays so; it is not told again.
		floor, lost := info.State.FirstSeq, uint64(0)
		if !m.fresh || info.State.NumDeleted > 0 {
			floor, lost = info.State.LastSeq+1, info.State.LastSeq
		}
		if err := m.slot(floorPrefix+stream).replace(max(floor, 1), lost); err != nil {
			return err
		}
		if err := m.adoptSubjects(ctx, srv, stream, info.State); err != nil {
			return err
		}
	}
	return m.f.Sync()
}

func (m *mark) adoptSubjects(ctx context.Context, srv *server, stream string, st jetstream.StreamState) error {
	if stream == rejected {
		return m.slot(stream).replace(st.LastSeq, 0)
	}
	for subject := range st.Subjects {
		s := m.slotOf(stream, subject)
		if s == nil {
			continue
		}
		last, err := srv.lastOf(ctx, stream, subject)
		if err != nil {
			return err
		}
		if err := s.replace(last.seq, last.total); err != nil {
			return err
		}
	}
	// Of which nothing is left.
	for _, s := range m.all() {
		if strings.HasPrefix(s.name, stream+".") && st.Subjects[s.name] == 0 {
			if err := s.replace(0, 0); err != nil {
				return err
			}
		}
	}
	return nil
}
