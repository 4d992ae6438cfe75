package eventlog

import (
	"context"
	"fmt"
	"time"
)

// StreamStats describe one stream.
type StreamStats struct {
	Messages, Bytes uint64
	MaxBytes        int64
	First, Last     uint64 // sequences; First is Last+1 when there is no message
	FirstTime       time.Time
	LastTime        time.Time
}

// Stats describe the log.
type Stats struct {
	Events, Inputs, Rejected StreamStats
	// EventsAcked is the low mark: every EVENTS message up to it was
	// acknowledged.
	EventsAcked uint64
	// Waiting counts the EVENTS messages that were not acknowledged yet.
	Waiting uint64
	// Free and Reserve are in bytes; EVENTS refuses while Free is below Reserve.
	Free, Reserve int64
}

// Stats returns the log's figures now.
func (l *Log) Stats(ctx context.Context) (Stats, error) {
	srv, err := l.server(ctx)
	if err != nil {
		return Stats{}, err
	}
	st := Stats{Reserve: l.set.Reserve}
	for name, to := range map[string]*StreamStats{events: &st.Events, inputs: &st.Inputs, rejected: &st.Rejected} {
		info, err := srv.streams[name].Info(ctx)
		if err != nil {
			return Stats{}, srv.sick(fmt.Errorf("stream %s: %w", name, err))
		}
		s := info.State
		*to = StreamStats{
			Messages: s.Msgs, Bytes: s.Bytes, MaxBytes: info.Config.MaxBytes,
			First: s.FirstSeq, Last: s.LastSeq, FirstTime: s.FirstTime, LastTime: s.LastTime,
		}
	}
	info, err := srv.match.Info(ctx)
	if err != nil {
		return Stats{}, srv.sick(fmt.Errorf("consumer %s: %w", matchName, err))
	}
	st.EventsAcked = info.AckFloor.Stream
	st.Waiting = info.NumPending + uint64(info.NumAckPending)
	d, err := statDisk(l.set.Dir)
	st.Free = d.free
	return st, err
}

// Room returns nil when more is free on the file system than the reserve, else
// an error that matches ErrFull and gives the figures.
func (l *Log) Room() error {
	d, err := statDisk(l.set.Dir)
	if err != nil {
		return err
	}
	if d.free < l.set.Reserve {
		return fmt.Errorf("%d bytes are free where %d are kept in reserve: %w", d.free, l.set.Reserve, ErrFull)
	}
	return nil
}

// Sick tells since when and why the log takes no writes; the reason is nil when
// it does. Reopen ends it.
func (l *Log) Sick() (since time.Time, reason error) {
	l.mu.Lock()
	srv, sick := l.srv, l.sick
	l.mu.Unlock()
	if srv == nil {
		return sick.since, sick.reason
	}
	if srv.broken.Err() == nil {
		return time.Time{}, nil
	}
	return srv.since(), context.Cause(srv.broken)
}
