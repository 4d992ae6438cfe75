package match

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/kelpie-sec/kelpie/core/fault"
	"github.com/kelpie-sec/kelpie/core/model"
)

// Message is one of EVENTS.
type Message struct {
	Seq     uint64
	Source  string // the detector's address
	Total   uint64 // the source's running total
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
	Log      *slog.Logger
	Now      func() time.Time
}

// retryWait before a message that could not be written on is handed back.
const retryWait = 500 * time.Millisecond

// Run matches messages until ctx ends or Events does.
func (m *Matcher) Run(ctx context.Context) error {
	w := NewWorker(m.Settings)
	for {
		msg, answer, err := m.Events.Next(ctx)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		}
		if err := m.one(ctx, w, msg, answer); err != nil && ctx.Err() == nil {
			m.Log.Error("a batch can't be written on; trying again", "source", msg.Source, "seq", msg.Seq, "error", err)
			t := time.NewTimer(retryWait)
			select {
			case <-ctx.Done():
			case <-t.C:
			}
			t.Stop()
		}
	}
}

func (m *Matcher) one(ctx context.Context, w *Worker, msg Message, answer Answer) error {
	res, rejected := m.result(w, msg)
	if len(rejected) > 0 {
		if err := m.Rejects.Reject(ctx, msg.Source, msg.Seq, rejected); err != nil {
			answer.Back()
			return err
		}
	}
	data, err := model.EncodeInput(model.Input{At: m.Now(), Match: &res})
	if err != nil {
		answer.Back()
		return err
	}
	fault.Point(fault.EventsMatched)
	err = m.Inputs.Add(ctx, data, func(err error) {
		if err != nil {
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

// result matches a message. One that is no batch is set aside whole: its events are
// lost to matching and kept for people.
func (m *Matcher) result(w *Worker, msg Message) (model.MatchResult, []model.Rejected) {
	if len(msg.Payload) == 0 {
		return model.MatchResult{Seq: msg.Seq, Source: msg.Source, Total: msg.Total, Config: m.Settings.Version}, nil
	}
	b, err := model.DecodeBatch(msg.Payload)
	if err != nil {
		const reason = "damaged in the log"
		return model.MatchResult{
			Seq: msg.Seq, Source: msg.Source, Total: msg.Total, Config: m.Settings.Version,
			Counts: model.Counts{Rejected: map[string]int{reason: 1}},
		}, []model.Rejected{{
			Source: msg.Source, Seq: msg.Seq, Reason: reason + ": " + err.Error(),
			Received: m.Now(), Raw: msg.Payload,
		}}
	}
	b.Source = msg.Source
	res, rejected := w.Match(&b, msg.Seq)
	res.Total = msg.Total
	return res, rejected
}
