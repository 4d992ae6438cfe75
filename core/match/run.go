package match

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/kelpie-sec/kelpie/core/fault"
	"github.com/kelpie-sec/kelpie/core/model"
)

// Message is one of EVENTS.
type Message struct {
	Seq     uint64
	Source  string // the detector's address
	Maker   string // the connector that reported it, by its label; empty: it is not known
	Total   uint64 // the source's running total
	Count   int    // of its events, by the header
	Damaged bool   // the header can't be read; Payload is the whole message
	Payload []byte
}

// Events hands out messages until they are answered.
type Events interface {
	// Next waits for a message. Done takes it out of EVENTS; Back hands it back.
	Next(ctx context.Context) (Message, Answer, error)
}

// Answer ends a message.
type Answer interface {
	Done()
	Back()
}

// Inputs takes results for decide.
type Inputs interface {
	// Add queues a part; done is called when it is durable, or has failed. It blocks
	// while too much waits.
	Add(ctx context.Context, data []byte, done func(error)) error
}

// Rejects keeps what is set aside; it is durable when Reject returns.
type Rejects interface {
	Reject(ctx context.Context, source string, seq uint64, all []model.Rejected) error
}

// Matcher moves EVENTS to INPUTS.
type Matcher struct {
	Settings *Settings
	Events   Events
	Inputs   Inputs
	Rejects  Rejects
	// Trial watches over what may end the process; workers share it. nil: nothing does.
	Trial *Trial
	// MaxResult bounds in bytes what becomes of one message; 0: nothing does. Events
	// whose signals do not fit are set aside.
	MaxResult int
	// Meter measures what rules take; workers share it. nil: nothing does.
	Meter *Meter
	Log   *slog.Logger
	Now   func() time.Time

	swapped atomic.Pointer[Settings] // nil: Settings hold
	failed  atomic.Pointer[error]    // why the last part was not taken
	told    time.Time                // when that was last logged
}

const (
	// retryWait after a message that could not be written on.
	retryWait = 500 * time.Millisecond
	// tellInterval is how often a trouble that lasts is logged.
	tellInterval = time.Minute
)

// Run matches messages until ctx ends or Events does.
func (m *Matcher) Run(ctx context.Context) error {
	w := NewWorker(m.settings())
	w.meter = m.Meter
	for {
		msg, answer, err := m.Events.Next(ctx)
		if s := m.settings(); s != w.settings {
			w = NewWorker(s)
			w.meter = m.Meter
		}
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		}
		err = m.one(ctx, w, msg, answer)
		if late := m.failed.Swap(nil); late != nil {
			err = errors.Join(err, *late)
		}
		if err != nil && ctx.Err() == nil {
			m.wait(ctx, msg, err)
		}
	}
}

// Swap has every message that is taken from now on matched by other settings, which
// must not change afterwards.
func (m *Matcher) Swap(s *Settings) { m.swapped.Store(s) }

func (m *Matcher) settings() *Settings {
	if s := m.swapped.Load(); s != nil {
		return s
	}
	return m.Settings
}

// wait keeps a log that takes nothing from being asked all the time.
func (m *Matcher) wait(ctx context.Context, msg Message, err error) {
	if now := time.Now(); now.Sub(m.told) >= tellInterval {
		m.told = now
		m.Log.Error("a batch can't be written on; trying again", "source", msg.Source, "seq", msg.Seq, "error", err)
	}
	t := time.NewTimer(retryWait)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

func (m *Matcher) one(ctx context.Context, w *Worker, msg Message, answer Answer) error {
	data, rejected, err := m.matched(ctx, w, msg)
	if err == nil && len(rejected) > 0 {
		err = m.Rejects.Reject(ctx, msg.Source, msg.Seq, rejected)
	}
	if err != nil {
		answer.Back()
		return err
	}
	fault.Point(fault.EventsMatched)
	err = m.Inputs.Add(ctx, data, func(err error) {
		if err != nil {
			m.failed.Store(&err)
			answer.Back()
			return
		}
		answer.Done()
	})
	if err != nil {
		answer.Back()
	}
	return err
}

// matched is what becomes of a message, encoded, and what is set aside of it.
func (m *Matcher) matched(ctx context.Context, w *Worker, msg Message) ([]byte, []model.Rejected, error) {
	watch, err := m.Trial.begin(ctx, msg.Seq)
	if err != nil {
		return nil, nil, err
	}
	if watch != nil {
		defer watch.end()
	}
	w.watch = watch
	res, rejected := m.result(w, msg)
	if watch != nil && watch.err != nil {
		return nil, nil, watch.err
	}
	at := m.Now()
	data, err := model.EncodeInput(model.Input{At: at, Match: &res})
	if err == nil && (m.MaxResult == 0 || len(data) <= m.MaxResult) {
		return data, rejected, nil
	}
	rejected = append(rejected, m.shrink(&res, msg)...)
	slices.SortFunc(rejected, func(a, b model.Rejected) int { return a.Index - b.Index })
	data, err = model.EncodeInput(model.Input{At: at, Match: &res})
	return data, rejected, err
}

// result matches a message. One that is no batch is set aside whole: its events are
// lost to matching and kept for people.
func (m *Matcher) result(w *Worker, msg Message) (model.MatchResult, []model.Rejected) {
	if len(msg.Payload) == 0 {
		return about(w, model.MatchResult{}, msg), nil
	}
	b, err := model.DecodeBatch(msg.Payload)
	switch {
	case w.watch.setAside():
		err = errors.New(whole)
	case err == nil && len(b.Events) != msg.Count:
		err = fmt.Errorf("%d events where its header says %d", len(b.Events), msg.Count)
	}
	if err != nil {
		const reason = "damaged in the log"
		res := model.MatchResult{}
		if msg.Count > 0 {
			res.Counts.Rejected = map[string]int{reason: msg.Count}
		}
		return about(w, res, msg), []model.Rejected{{
			Source: msg.Source, Seq: msg.Seq, Reason: reason + ": " + err.Error(),
			Received: m.Now(), Raw: msg.Payload,
		}}
	}
	b.Source, b.Maker = msg.Source, msg.Maker
	res, rejected := w.Match(&b, msg.Seq)
	return about(w, res, msg), rejected
}

// about fills in what the message's header says.
func about(w *Worker, res model.MatchResult, msg Message) model.MatchResult {
	res.Seq, res.Source, res.Total, res.Count, res.Damaged = msg.Seq, msg.Source, msg.Total, msg.Count, msg.Damaged
	res.Config = w.version(msg.Source, msg.Maker, msg.Seq)
	return res
}
