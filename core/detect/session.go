package detect

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/kelpie-sec/kelpie/core/eventlog"
	"github.com/kelpie-sec/kelpie/core/fault"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// session is one session under way. It is for one goroutine.
type session struct {
	d      *Detector
	in     Instance
	stay   context.Context // when it ends, what was on its way is still taken
	w      Writer
	plugin Session
	id     string
	total  uint64
	cursor []byte // durable, or where the session began
	number int64
	buf    []byte
}

var errEnded = errors.New("the plugin ended the session")

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
			return cmp.Or(s.stay.Err(), errEnded)
		case err != nil:
			return err
		}
		s.d.update(s.in.Address, func(r *Report) { r.Contact = s.d.Now() })
		switch {
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
	if len(b.Cursor) > eventlog.MaxCursor {
		return fmt.Errorf("the plugin sent a cursor of %d bytes; at most %d are allowed", len(b.Cursor), eventlog.MaxCursor)
	}
	if len(b.Events) > model.MaxBatchEvents {
		return fmt.Errorf("the plugin sent %d events in a batch; at most %d are allowed", len(b.Events), model.MaxBatchEvents)
	}
	s.number = b.Number
	tidy(b.Events)
	if len(b.Events) > 0 || !bytes.Equal(b.Cursor, s.cursor) {
		fault.Point(fault.BatchReceived)
		id := s.id + "." + strconv.FormatInt(b.Number, 10)
		batch := model.Batch{Source: s.in.Address, Events: b.Events, Received: s.d.Now()}
		if err := s.log(ctx, id, batch, b.Cursor); err != nil {
			return err
		}
		fault.Point(fault.BatchLogged)
	}
	if err := s.plugin.Ack(b.Number); err != nil {
		return err
	}
	if s.stay.Err() != nil {
		return nil
	}
	return s.plugin.Credit(1)
}

// maxBuffer is what is kept for the next batch of the room that one took.
const maxBuffer = 2 << 20

// log makes a batch durable. One that is larger than a message may be, as 512 events
// with very many observables are, goes in parts, of which all but the last carry the
// cursor before it: after a crash in between, the source sends the whole again, and
// what was logged of it is known as a repeat.
func (s *session) log(ctx context.Context, id string, batch model.Batch, cursor []byte) error {
	s.buf = model.AppendBatch(s.buf[:0], &batch)
	if len(s.buf)+len(cursor) > maxMessage {
		s.buf = nil
		all := batch.Events
		if len(all) == 1 {
			setAside(&all[0])
			return s.log(ctx, id+".s", batch, cursor)
		}
		batch.Events = all[:len(all)/2]
		if err := s.log(ctx, id+".a", batch, s.cursor); err != nil {
			return err
		}
		batch.Events = all[len(all)/2:]
		return s.log(ctx, id+".b", batch, cursor)
	}
	h := eventlog.Header{
		BatchID: id, Cursor: cursor, Maker: s.in.Maker,
		Total: s.total + uint64(len(batch.Events)), Count: len(batch.Events),
	}
	if err := s.publish(ctx, h); err != nil {
		return err
	}
	if cap(s.buf) > maxBuffer {
		s.buf = nil
	}
	s.total, s.cursor = h.Total, cursor
	s.d.update(s.in.Address, func(r *Report) {
		r.Total, r.LastBatch = s.total, batch.Received
		if r.State == NoRoom {
			r.State, r.Message = Running, ""
		}
	})
	return nil
}

// maxMessage bounds a batch in the log, with its cursor.
const maxMessage = eventlog.MaxPayload

// setAside leaves of an event that is larger than a message may be what is needed to
// say so.
func setAside(e *model.Event) {
	size := len(model.AppendBatch(nil, &model.Batch{Events: []model.Event{*e}}))
	problem := fmt.Sprintf("with its %d observables and %d techniques it takes %d bytes, more than the log takes in one message",
		len(e.Observables), len(e.Techniques), size)
	*e = model.Event{
		ID: head(e.ID), Revision: head(e.Revision), Raw: e.Raw, Time: e.Time,
		Title: head(e.Title), Problem: problem, Oversize: e.Oversize,
	}
	if e.Oversize != nil {
		e.Oversize.Place = head(e.Oversize.Place)
	}
}

// head of a text that is not to be trusted to be short.
func head(s string) string {
	const most = 4 << 10
	if len(s) <= most {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return strings.ToValidUTF8(s[:most], "") + "… " + hex.EncodeToString(sum[:8])
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

// tidy holds events to the contract: an event without id gets its payload's hash as
// one and is set aside later, with its bytes; one that is too large is cut.
func tidy(events []model.Event) {
	for i := range events {
		e := &events[i]
		if e.ID == "" {
			e.ID = "none:" + model.RevisionOf(e.Raw)
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
