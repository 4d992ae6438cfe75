package eventlog

import (
	"context"
	"fmt"

	"github.com/kelpie-sec/kelpie/core/model"
)

// Header is what the log knows about a detector's batch.
type Header struct {
	// BatchID is unique to the batch, in every session; 1 to 256 bytes. A batch
	// that is tried again keeps it.
	BatchID string
	// Cursor is where the source goes on after this batch, at most MaxCursor.
	Cursor []byte
	// Maker is the connector that made the cursor; nobody else can read it.
	Maker Maker
	// Total counts the instance's events up to and with this batch.
	Total uint64
	// Count is the number of events in this batch; 0 in a batch that only
	// carries the cursor on, as the trimmer writes them.
	Count int
}

// Maker is a connector of a plugin, and the version of the cursors that it makes. It is
// zero in messages that were written before makers were noted.
type Maker struct {
	Plugin        string
	Connector     string // empty for the only one of its kind
	CursorVersion int
}

// Same tells whether two makers are one connector, whatever their versions.
func (m Maker) Same(other Maker) bool {
	return m.Plugin == other.Plugin && m.Connector == other.Connector
}

// Name of the connector as a block's label has it: "aws", or "aws/guardduty".
func (m Maker) Name() string { return model.Label(m.Plugin, m.Connector) }

func (f frame) header() Header {
	return Header{BatchID: f.id, Cursor: f.cursor, Maker: f.maker, Total: f.total, Count: int(f.count)}
}

// Source is one session of one detector instance. It publishes one batch at a
// time.
type Source struct {
	w     *writer
	last  Header // guarded by w.mu
	ended bool   // guarded by w.mu
}

// Source begins a session for an instance and ends the one before it, whose
// publishes then fail with ErrFenced. It waits for a publish that is under way.
func (l *Log) Source(ctx context.Context, instance string) (*Source, error) {
	l.mu.Lock()
	before := l.sources[instance]
	l.mu.Unlock()
	if before != nil {
		before.w.mu.Lock()
		before.ended = true
		before.w.mu.Unlock()
	}
	s := &Source{w: &writer{log: l, stream: events, subject: events + "." + token(instance)}}
	last, err := s.w.look(ctx)
	if err != nil {
		return nil, err
	}
	s.w.seq, s.last = last.seq, last.header()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sources[instance] != before {
		return nil, fmt.Errorf("%s: two sessions begin at once: %w", instance, ErrFenced)
	}
	l.sources[instance] = s
	return s, nil
}

// Last returns the header of the instance's last batch as far as this session
// knows, which is the source's cursor; it is zero when there is none.
func (s *Source) Last() Header {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	return s.last
}

// Publish writes a batch and returns its sequence in EVENTS when the log has
// it. h.Total must be the last total plus h.Count. It fails with ErrFull,
// ErrTooLarge, ErrFenced, ErrSick or ctx's error. After ErrSick, or the end of
// ctx, the batch may be in the log all the same: the same batch may be published
// again, or a new session begun. payload is not kept.
func (s *Source) Publish(ctx context.Context, h Header, payload []byte) (uint64, error) {
	if err := s.w.log.Room(); err != nil {
		return 0, err
	}
	if h.Count < 0 {
		return 0, fmt.Errorf("%s: batch of %d events", s.w.subject, h.Count)
	}
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if s.ended {
		return 0, fmt.Errorf("%s: %w", s.w.subject, ErrFenced)
	}
	if h.BatchID == s.last.BatchID && h.Total == s.last.Total && s.w.seq > 0 && !s.w.doubt {
		return s.w.seq, nil // a repeat of what is there
	}
	if want := s.last.Total + uint64(h.Count); h.Total != want {
		return 0, fmt.Errorf("%s: total %d does not follow the log's %d with %d events: %w",
			s.w.subject, h.Total, s.last.Total, h.Count, ErrFenced)
	}
	seq, err := s.w.publish(ctx, frame{
		id: h.BatchID, cursor: h.Cursor, maker: h.Maker, total: h.Total, count: uint64(h.Count), payload: payload,
	})
	if err != nil {
		return 0, err
	}
	h.Cursor = append([]byte(nil), h.Cursor...)
	s.last = h
	return seq, nil
}

// Last returns the header and the sequence of the last batch of an instance,
// both zero when there is none.
func (l *Log) Last(ctx context.Context, instance string) (Header, uint64, error) {
	w := writer{log: l, stream: events, subject: events + "." + token(instance)}
	last, err := w.look(ctx)
	return last.header(), last.seq, err
}
