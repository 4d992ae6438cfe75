package eventlog

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// maxRejected bounds the messages that REJECTED keeps of one source, since each
// costs memory as well as room.
const maxRejected = 20_000

// Rejected is what one batch of a source had that could not be processed.
type Rejected struct {
	// ID names it within the source, for ever: setting the same aside again
	// changes nothing while it is kept.
	ID string
	// Count is the number of events in Payload.
	Count int
	// Payload holds the events and the reasons.
	Payload []byte
}

// RejectedStats tell what REJECTED holds of one source.
type RejectedStats struct {
	Messages, Bytes, Events uint64
	// Dropped counts the events that went for the quota or to make room.
	Dropped uint64
}

// tally counts what was ever rejected of a source. Each message of REJECTED
// begins with it, itself included, so that the first and the last one that are
// kept tell what is kept and what was dropped.
type tally struct {
	seq                     uint64 // of the message, 0 when there is none
	messages, bytes, events uint64
	ownBytes, ownEvents     uint64
}

func (t tally) append(payload []byte) []byte {
	b := make([]byte, 0, 2*binary.MaxVarintLen64+len(payload))
	b = binary.AppendUvarint(b, t.messages)
	b = binary.AppendUvarint(b, t.bytes)
	return append(b, payload...)
}

func parseTally(seq uint64, body []byte) (tally, frame, error) {
	f, err := parseFrame(body)
	if err != nil {
		return tally{}, f, err
	}
	messages, b, ok1 := cutUvarint(f.payload)
	bytes, b, ok2 := cutUvarint(b)
	if !ok1 || !ok2 {
		return tally{}, f, fmt.Errorf("tally is cut short: %w", ErrDamaged)
	}
	f.payload = b
	return tally{seq, messages, bytes, f.total, uint64(len(b)), f.count}, f, nil
}

// held tells what is kept from first to last.
func held(first, last tally) RejectedStats {
	if last.seq == 0 {
		return RejectedStats{}
	}
	dropped := first.events - first.ownEvents
	return RejectedStats{
		Messages: last.messages - first.messages + 1,
		Bytes:    last.bytes - first.bytes + first.ownBytes,
		Events:   last.events - dropped,
		Dropped:  dropped,
	}
}

// Reject sets aside what could not be processed. When the source's quota is used
// up its oldest messages are dropped; when REJECTED is full, the oldest of all.
// It fails with ErrFull, below the reserve, and ErrTooLarge, ErrSick or ctx's
// error.
func (l *Log) Reject(ctx context.Context, source string, r Rejected) error {
	if err := l.Room(); err != nil {
		return err
	}
	if r.Count < 0 || len(r.Payload) > MaxPart {
		return fmt.Errorf("%s: %d events, %d bytes rejected: %w", source, r.Count, len(r.Payload), ErrTooLarge)
	}
	l.rejecting.Lock()
	defer l.rejecting.Unlock()
	all := rejected + "." + token(source)
	sum := sha256.Sum256([]byte(r.ID))
	id := hex.EncodeToString(sum[:16])
	w := writer{log: l, stream: rejected, subject: all + "." + id}
	if last, err := w.look(ctx); err != nil || last.seq > 0 {
		return err
	}
	srv, err := l.server(ctx)
	if err != nil {
		return err
	}
	last, err := srv.makeRoom(ctx, all+".>", uint64(len(r.Payload)), uint64(l.set.RejectedQuota))
	if err != nil {
		return err
	}
	t := tally{
		messages: last.messages + 1,
		bytes:    last.bytes + uint64(len(r.Payload)),
		events:   last.events + uint64(r.Count),
	}
	f := frame{id: id, total: t.events, count: uint64(r.Count), payload: t.append(r.Payload)}
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err = w.publish(ctx, f)
	for try := 0; errors.Is(err, ErrFull) && try < 32; try++ {
		if dropErr := l.dropOldest(ctx); dropErr != nil {
			return errors.Join(err, dropErr)
		}
		_, err = w.publish(ctx, f)
	}
	return err
}

// RejectedStats returns what REJECTED holds of a source.
func (l *Log) RejectedStats(ctx context.Context, source string) (RejectedStats, error) {
	srv, err := l.server(ctx)
	if err != nil {
		return RejectedStats{}, err
	}
	first, last, err := srv.tallies(ctx, rejected+"."+token(source)+".>")
	return held(first, last), err
}

// tallies returns the first and the last tally of a subject filter.
func (s *server) tallies(ctx context.Context, filter string) (first, last tally, err error) {
	if last, err = s.tally(s.last(ctx, rejected, filter)); err != nil || last.seq == 0 {
		return tally{}, last, err
	}
	first, err = s.nextTally(ctx, filter, 1)
	return first, last, err
}

// nextTally returns the first tally of a subject filter at or above seq.
func (s *server) nextTally(ctx context.Context, filter string, seq uint64) (tally, error) {
	return s.tally(s.streams[rejected].GetMsg(ctx, seq, jetstream.WithGetMsgSubject(filter)))
}

func (*server) tally(msg *jetstream.RawStreamMsg, err error) (tally, error) {
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return tally{}, nil
	} else if err != nil {
		return tally{}, fmt.Errorf("stream %s: %w", rejected, err)
	}
	t, _, err := parseTally(msg.Sequence, msg.Data)
	if err != nil {
		return t, fmt.Errorf("%s %d: %w", rejected, msg.Sequence, err)
	}
	return t, nil
}

// makeRoom drops a source's oldest messages until bytes more fit into the quota.
// It returns the tally of the last one.
func (s *server) makeRoom(ctx context.Context, filter string, bytes, quota uint64) (tally, error) {
	first, last, err := s.tallies(ctx, filter)
	if err != nil || last.seq == 0 {
		return last, err
	}
	low := first.seq
	for {
		h := held(first, last)
		if first.seq == 0 || first.seq == last.seq || h.Messages < maxRejected && h.Bytes+bytes <= quota {
			break
		}
		if first, err = s.nextTally(ctx, filter, first.seq+1); err != nil {
			return last, err
		}
	}
	if first.seq == low {
		return last, nil
	}
	err = s.streams[rejected].Purge(ctx, jetstream.WithPurgeSubject(filter), jetstream.WithPurgeSequence(first.seq))
	if err != nil {
		return last, fmt.Errorf("stream %s: %w", rejected, err)
	}
	return last, nil
}

// dropOldest drops the oldest part of all that was rejected.
func (l *Log) dropOldest(ctx context.Context) error {
	srv, err := l.server(ctx)
	if err != nil {
		return err
	}
	info, err := srv.streams[rejected].Info(ctx)
	if err != nil {
		return fmt.Errorf("stream %s: %w", rejected, err)
	}
	st := info.State
	if st.Msgs == 0 {
		return fmt.Errorf("stream %s is too small: %w", rejected, ErrFull)
	}
	below := st.FirstSeq + (st.LastSeq-st.FirstSeq)/32 + 1
	if err := srv.streams[rejected].Purge(ctx, jetstream.WithPurgeSequence(below)); err != nil {
		return fmt.Errorf("stream %s: %w", rejected, err)
	}
	l.set.Logger.Warn("rejected events were dropped to make room", "below", below)
	return nil
}
