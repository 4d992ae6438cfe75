package eventlog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Record is one message of EVENTS or REJECTED as it is listed. Of a rejected
// message Header has Count and Total only.
type Record struct {
	Seq    uint64
	Source string // the instance, or the source
	Time   time.Time
	Header
	Payload []byte
}

// Query says what to list: the newest messages first.
type Query struct {
	// Source restricts the list to one instance or source; empty lists all.
	Source string
	// Before restricts it to sequences below; 0 begins with the newest.
	Before uint64
	// Limit bounds the number of messages; 0 is 100.
	Limit int
}

// Page is a part of a list. Before asks for the next page; it is 0 at the end.
type Page struct {
	Records []Record
	Before  uint64
}

const (
	defaultLimit = 100
	pageBytes    = 64 << 20 // a page ends early rather than hold more
)

// ListEvents lists EVENTS, newest first.
func (l *Log) ListEvents(ctx context.Context, q Query) (Page, error) {
	return l.list(ctx, events, q)
}

// ListRejected lists REJECTED, newest first.
func (l *Log) ListRejected(ctx context.Context, q Query) (Page, error) {
	return l.list(ctx, rejected, q)
}

// GetEvent returns the EVENTS message with a sequence, or ErrNotFound.
func (l *Log) GetEvent(ctx context.Context, seq uint64) (Record, error) {
	return l.get(ctx, events, seq)
}

// GetRejected returns the REJECTED message with a sequence, or ErrNotFound.
func (l *Log) GetRejected(ctx context.Context, seq uint64) (Record, error) {
	return l.get(ctx, rejected, seq)
}

func (l *Log) get(ctx context.Context, stream string, seq uint64) (Record, error) {
	srv, err := l.server(ctx)
	if err != nil {
		return Record{}, err
	}
	if seq == 0 {
		return Record{}, fmt.Errorf("%s %d: %w", stream, seq, ErrNotFound)
	}
	msg, err := srv.streams[stream].GetMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		err = ErrNotFound
	}
	if err != nil {
		return Record{}, fmt.Errorf("%s %d: %w", stream, seq, err)
	}
	return record(stream, stored{seq: msg.Sequence, time: msg.Time, subject: msg.Subject, data: msg.Data}), nil
}

func (l *Log) list(ctx context.Context, stream string, q Query) (Page, error) {
	st, err := l.state(ctx, stream)
	if err != nil {
		return Page{}, err
	}
	limit := q.Limit
	if limit <= 0 {
		limit = defaultLimit
	}
	filter := ""
	if q.Source != "" {
		filter = stream + "." + token(q.Source)
		if stream == rejected {
			filter += ".>"
		}
	}
	end := st.LastSeq + 1
	if q.Before > 0 {
		end = min(end, q.Before)
	}
	var page Page
	bytes := 0
	// Only upwards can be read by subject, so windows that double are read from
	// the top down.
	for size := uint64(limit); end > st.FirstSeq; size *= 2 {
		begin := st.FirstSeq
		if end-begin > size {
			begin = end - size
		}
		found, err := l.window(ctx, stream, filter, begin, end, limit-len(page.Records))
		if err != nil {
			return Page{}, err
		}
		for i := len(found) - 1; i >= 0; i-- {
			m := found[i]
			page.Records = append(page.Records, record(stream, m))
			bytes += len(m.data)
			if len(page.Records) == limit || bytes >= pageBytes {
				if m.seq > st.FirstSeq {
					page.Before = m.seq
				}
				return page, nil
			}
		}
		end = begin
	}
	return page, nil
}

// window returns the last messages, at most limit, from begin to below end.
func (l *Log) window(ctx context.Context, stream, filter string, begin, end uint64, limit int) ([]stored, error) {
	s := &scan{log: l, stream: stream, filter: filter, next: begin}
	defer s.close()
	if err := s.start(ctx); err != nil {
		return nil, err
	}
	var found []stored
	if s.cons.CachedInfo().NumPending == 0 {
		return nil, nil
	}
	for {
		m, err := s.peek(ctx)
		if err != nil {
			return nil, err
		}
		s.advance()
		if m.seq >= end {
			return found, nil
		}
		if found = append(found, m); len(found) > limit {
			found[0] = stored{}
			found = found[1:]
		}
		if m.behind == 0 || m.seq == end-1 {
			return found, nil
		}
	}
}

func record(stream string, m stored) Record {
	r := Record{Seq: m.seq, Source: nameOf(m.subject), Time: m.time, Payload: m.data}
	if stream == rejected {
		if t, f, err := parseTally(m.seq, m.data); err == nil {
			r.Header, r.Payload = Header{Count: int(f.count), Total: t.events}, f.payload
		}
	} else if f, err := parseFrame(m.data); err == nil {
		r.Header, r.Payload = f.header(), f.payload
	}
	return r
}
