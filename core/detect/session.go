package detect

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/kelpie-sec/kelpie/core/eventlog"
	"github.com/kelpie-sec/kelpie/core/fault"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// session is one session under way. It is for one goroutine.
type session struct {
	d      *Detector
	in     Instance
	w      Writer
	plugin Session
	id     string
	total  uint64
	number int64
	buf    []byte
}

func (s *session) run(ctx context.Context) error {
	if err := s.plugin.Credit(credit); err != nil {
		return err
	}
	for {
		m, err := s.plugin.Recv()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, io.EOF):
			return errors.New("the plugin ended the session")
		case err != nil:
			return err
		case m.Status != nil:
			if s.status(*m.Status) {
				return nil
			}
		case m.Batch != nil:
			if err := s.batch(ctx, m.Batch); err != nil {
				return err
			}
		}
	}
}

// status keeps what the plugin told, and says whether the source has ended.
func (s *session) status(st Status) bool {
	s.d.update(s.in.Address, func(r *Report) {
		r.State, r.Message = Running, ""
		if st.Trouble != "" {
			r.State, r.Message = Troubled, st.Trouble
		}
		r.Behind, r.BehindUnit = st.Behind, st.BehindUnit
	})
	return st.Ended && s.d.Settings.Once
}

// batch makes one batch durable and acknowledges it.
func (s *session) batch(ctx context.Context, b *Batch) error {
	if b.Number != s.number+1 {
		return fmt.Errorf("the plugin sent batch %d after %d", b.Number, s.number)
	}
	if len(b.Events) > model.MaxBatchEvents {
		return fmt.Errorf("the plugin sent %d events in a batch; at most %d are allowed", len(b.Events), model.MaxBatchEvents)
	}
	s.number = b.Number
	id := s.id + "." + strconv.FormatInt(b.Number, 10)
	tidy(b.Events, id)
	batch := model.Batch{Source: s.in.Address, Events: b.Events, Received: s.d.Now()}
	s.buf = model.AppendBatch(s.buf[:0], &batch)
	h := eventlog.Header{
		BatchID: id, Cursor: b.Cursor,
		Total: s.total + uint64(len(b.Events)), Count: len(b.Events),
	}
	fault.Point(fault.BatchReceived)
	if err := s.publish(ctx, h); err != nil {
		return err
	}
	fault.Point(fault.BatchLogged)
	s.total = h.Total
	s.d.update(s.in.Address, func(r *Report) {
		r.Total, r.LastBatch = s.total, batch.Received
		if r.State == NoRoom {
			r.State, r.Message = Running, ""
		}
	})
	if err := s.plugin.Ack(b.Number); err != nil {
		return err
	}
	return s.plugin.Credit(1)
}

// publish tries until the log has the batch, the session is not ours any more, or
// ctx ends. A full or sick log is waited for: meanwhile the plugin has no credit.
func (s *session) publish(ctx context.Context, h eventlog.Header) error {
	for {
		_, err := s.w.Publish(ctx, h, s.buf)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, eventlog.ErrFull), errors.Is(err, eventlog.ErrSick):
			s.d.state(s.in.Address, NoRoom, err.Error())
		default:
			return err
		}
		if !pause(ctx, roomRetry) {
			return ctx.Err()
		}
	}
}

// tidy holds events to the contract: an event without id gets its place in the
// batch as one and is set aside later, with its bytes; one that is too large is cut.
func tidy(events []model.Event, batch string) {
	for i := range events {
		e := &events[i]
		if e.ID == "" {
			e.ID = batch + "/" + strconv.Itoa(i)
			if e.Problem == "" {
				e.Problem = "no id"
			}
		}
		if len(e.Raw) > sdk.MaxEvent {
			if e.Oversize == nil {
				e.Oversize = &sdk.Oversize{Place: e.ID, Length: int64(len(e.Raw)), SHA256: sha256.Sum256(e.Raw)}
			}
			e.Raw = e.Raw[:sdk.OversizeHead]
		}
	}
}
