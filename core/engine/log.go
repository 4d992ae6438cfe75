package engine

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/kelpie-sec/kelpie/core/detect"
	"github.com/kelpie-sec/kelpie/core/eventlog"
	"github.com/kelpie-sec/kelpie/core/match"
	"github.com/kelpie-sec/kelpie/core/model"
)

// detectLog is the log as detect sees it.
type detectLog struct{ log *eventlog.Log }

func (l detectLog) Begin(ctx context.Context, instance string) (detect.Writer, error) {
	return l.log.Source(ctx, instance)
}

// matchEvents is EVENTS as match sees it.
type matchEvents struct {
	consumer *eventlog.Consumer
	gate     *gate
	lead     *lead
}

func (e matchEvents) Next(ctx context.Context) (match.Message, match.Answer, error) {
	for _, pass := range []func(context.Context) error{e.lead.pass, e.gate.pass} {
		if err := pass(ctx); err != nil {
			return match.Message{}, nil, err
		}
	}
	m, err := e.consumer.Next(ctx)
	if errors.Is(err, eventlog.ErrClosed) {
		err = context.Canceled
	}
	if err != nil {
		return match.Message{}, nil, err
	}
	return match.Message{
		Seq: m.Seq, Source: m.Instance, Maker: m.Maker.Name(), Total: m.Total, Count: m.Count,
		Damaged: m.BatchID == "", Payload: m.Payload,
	}, answer{m}, nil
}

// answer ends a message. That a message was not taken out of EVENTS is no loss: it
// comes again, and decide knows it.
type answer struct{ message *eventlog.Message }

func (a answer) Done() { _ = a.message.Ack() }
func (a answer) Back() { _ = a.message.Nak() }

// matchInputs is INPUTS as match sees it.
type matchInputs struct {
	joiner *eventlog.Joiner
	lead   *lead
}

func (i matchInputs) Add(ctx context.Context, data []byte, done func(error)) error {
	i.lead.add(len(data))
	err := i.joiner.Add(ctx, data, func(seq uint64, err error) {
		if err != nil {
			i.lead.drop(len(data))
		} else {
			i.lead.wrote(seq, len(data))
		}
		done(err)
	})
	if err != nil {
		i.lead.drop(len(data))
	}
	return err
}

// rejects is REJECTED as match sees it.
type rejects struct{ log *eventlog.Log }

// maxRejectedPayload keeps one REJECTED message well below the log's largest.
const maxRejectedPayload = 4 << 20

func (r rejects) Reject(ctx context.Context, source string, seq uint64, all []model.Rejected) error {
	for len(all) > 0 {
		n, size := 0, 0
		for n < len(all) && (n == 0 || size+len(all[n].Raw)*4/3 < maxRejectedPayload) {
			size += len(all[n].Raw)*4/3 + 512
			n++
		}
		payload, err := json.Marshal(all[:n])
		if err != nil {
			return err
		}
		err = r.log.Reject(ctx, source, eventlog.Rejected{
			ID: rejectedID(seq, all[:n]), Count: n, Payload: payload,
		})
		if err != nil {
			return err
		}
		all = all[n:]
	}
	return nil
}

// rejectedID names what is set aside of a message by which events they are: tried
// again, other events may be set aside.
func rejectedID(seq uint64, all []model.Rejected) string {
	sum := sha256.New()
	for i := range all {
		fmt.Fprintf(sum, "%d,", all[i].Index)
	}
	return fmt.Sprintf("%d.%x", seq, sum.Sum(nil)[:8])
}

// reporter writes into INPUTS what one room has to say.
type reporter struct {
	joiner *eventlog.Joiner
	now    func() time.Time
}

func (r reporter) input(ctx context.Context, in model.Input) (uint64, error) {
	in.At = r.now()
	data, err := model.EncodeInput(in)
	if err != nil {
		return 0, err
	}
	return r.joiner.Append(ctx, data)
}

// enrichReporter is INPUTS as enrich sees it.
type enrichReporter struct{ reporter }

func (r enrichReporter) Report(ctx context.Context, replies []model.Reply) error {
	results := make(chan error, len(replies))
	for i := range replies {
		data, err := model.EncodeInput(model.Input{At: r.now(), Reply: &replies[i]})
		if err == nil {
			err = r.joiner.Add(ctx, data, func(_ uint64, err error) { results <- err })
		}
		if err != nil {
			results <- err
		}
	}
	var all []error
	for range replies {
		select {
		case err := <-results:
			all = append(all, err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return errors.Join(all...)
}

// respondReporter is INPUTS as respond sees it.
type respondReporter struct{ reporter }

func (r respondReporter) Report(ctx context.Context, o model.Outcome) error {
	_, err := r.input(ctx, model.Input{Outcome: &o})
	return err
}

// How often the log is looked after: whether it is well, and what can be trimmed.
const (
	healthInterval = time.Second
	trimInterval   = 10 * time.Second
	tellInterval   = time.Minute // of a trouble that lasts
)

// tend opens a sick log again, and trims what nobody needs, until ctx ends.
func (k *Kelpie) tend(ctx context.Context) {
	every := k.settings.trimEvery
	if every == 0 {
		every = trimInterval
	}
	var trimmed, told time.Time
	for {
		now := time.Now()
		since, reason := k.log.Sick()
		switch {
		case reason == nil && now.Sub(trimmed) >= every:
			trimmed = now
			k.trim(ctx)
		case reason != nil:
			if err := k.log.Reopen(ctx); err == nil {
				told = time.Time{}
				k.logger.Info("the log was opened again", "sick_since", since, "reason", reason)
			} else if now.Sub(told) >= tellInterval {
				told = now
				k.logger.Error("the log is sick and can't be opened again yet", "since", since, "reason", reason, "error", err)
			}
		}
		if !pause(ctx, min(healthInterval, every)) {
			return
		}
	}
}

// fullShare of INPUTS is where the older checkpoint is given up for room: without room
// nothing is decided any more, and so no further checkpoint is written.
const fullShare = 0.875

func (k *Kelpie) trim(ctx context.Context) {
	st, err := k.log.Stats(ctx)
	var at eventlog.Positions
	if err == nil {
		at, err = k.trimmable(ctx, float64(st.Inputs.Bytes) > fullShare*float64(st.Inputs.MaxBytes))
	}
	if err == nil {
		_, err = k.log.Trim(ctx, at)
	}
	if err == nil {
		err = k.forgetRecalls(ctx)
	}
	if err != nil && ctx.Err() == nil {
		k.logger.Warn("the log can't be trimmed", "error", err)
	}
}

// forgetRecalls takes out of the store what is needed only to replay inputs that the log
// has no more.
func (k *Kelpie) forgetRecalls(ctx context.Context) error {
	st, err := k.log.Stats(ctx)
	if err != nil {
		return err
	}
	return k.store.ForgetRecalls(ctx, st.Inputs.First)
}

// ErrLogShort means that the log ends before what the store has decided.
var ErrLogShort = errors.New("the log is shorter than the store")

// fill compares the log with the store before anything is read or written. With
// sync "interval" a power cut may have taken the log's end: what was lost is said, and
// the sequences of the lost messages are passed over. Otherwise it is an error.
func (k *Kelpie) fill(ctx context.Context) error {
	at, err := k.store.Position(ctx)
	if err != nil {
		return err
	}
	flags, err := k.store.Flags(ctx)
	if err != nil {
		return err
	}
	seen := flags.Events.High()
	st, err := k.log.Stats(ctx)
	if err != nil {
		return err
	}
	if st.Inputs.Last >= at.Seq && st.Events.Last >= seen {
		return nil
	}
	if k.settings.Sync != eventlog.SyncInterval && !k.settings.AcceptLoss {
		return fmt.Errorf("%w: INPUTS ends at %d of %d, EVENTS at %d of %d; was %s replaced by an older copy? Put the newer one back, or go on without what is lost: \"kelpie run --accept-loss\"",
			ErrLogShort, st.Inputs.Last, at.Seq, st.Events.Last, seen, filepath.Join(k.settings.DataDir, logDir))
	}
	missing, err := k.log.Fill(ctx, eventlog.Positions{Events: seen, Inputs: at.Seq})
	if err != nil {
		return err
	}
	k.logger.Error("the end of the log is lost, as a power cut may do; what was decided of it is kept, the rest is lost and is read again from sources that can",
		"events_messages", missing.Events, "inputs_messages", missing.Inputs)
	return nil
}
