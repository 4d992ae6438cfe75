package host

import (
	"errors"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

// decodeFrame and what it calls read kelpie.plugin.v1.DetectResponse as protobuf's
// own decoder would, with two differences: payloads are not copied, and a text that
// is not valid UTF-8 spoils its event, not its batch. The numbers are those of the
// .proto files; a test compares the two decoders.

// response is a DetectResponse.
type response struct {
	instance string
	batch    *SessionBatch
	status   *SessionStatus
}

var errWire = errors.New("it is cut short or malformed")

// decodeFrame reads a message, whose bytes the result refers to.
func decodeFrame(data []byte) (response, error) {
	var m response
	err := eachField(data, func(f field) error {
		switch {
		case f.is(1, protowire.BytesType):
			if m.batch == nil {
				m.batch, m.status = &SessionBatch{}, nil
			}
			return decodeBatch(m.batch, f.bytes)
		case f.is(2, protowire.BytesType):
			if m.status == nil {
				m.batch, m.status = nil, &SessionStatus{State: SessionRunning}
			}
			return decodeStatus(m.status, f.bytes)
		case f.is(3, protowire.BytesType):
			m.instance = string(f.bytes)
		}
		return nil
	})
	return m, err
}

func decodeBatch(b *SessionBatch, data []byte) error {
	if b.Events == nil {
		b.Events = make([]model.Event, 0, countEvents(data))
	}
	err := eachField(data, func(f field) error {
		switch {
		case f.is(1, protowire.VarintType):
			b.Number = int64(f.varint)
		case f.is(2, protowire.BytesType):
			b.Events = append(b.Events, model.Event{})
			return decodeEvent(&b.Events[len(b.Events)-1], f.bytes)
		case f.is(3, protowire.BytesType):
			b.Cursor = f.bytes
		}
		return nil
	})
	b.Bytes = 0
	for n := range b.Events {
		b.Bytes += len(b.Events[n].Raw)
	}
	return err
}

// countEvents in a batch, so that they are allocated once; no more than a batch may
// have, whatever the plugin claims.
func countEvents(data []byte) int {
	events := 0
	_ = eachField(data, func(f field) error {
		if f.is(2, protowire.BytesType) {
			events++
		}
		return nil
	})
	return min(events, model.MaxBatchEvents)
}

func decodeStatus(s *SessionStatus, data []byte) error {
	var since wireTime
	err := eachField(data, func(f field) error {
		switch {
		case f.is(1, protowire.VarintType):
			s.State = stateModel(pluginv1.DetectorState(int32(f.varint)))
		case f.is(2, protowire.BytesType):
			s.Message = string(f.bytes)
		case f.is(3, protowire.BytesType):
			return since.decode(f.bytes)
		case f.is(4, protowire.VarintType):
			s.Behind = int64(f.varint)
		case f.is(5, protowire.BytesType):
			s.BehindUnit = string(f.bytes)
		}
		return nil
	})
	s.Since = since.time()
	return err
}

func stateModel(s pluginv1.DetectorState) SessionState {
	switch s {
	case pluginv1.DetectorState_DETECTOR_STATE_TROUBLED:
		return SessionTroubled
	case pluginv1.DetectorState_DETECTOR_STATE_ENDED:
		return SessionEnded
	}
	return SessionRunning
}

// wireTime is a google.protobuf.Timestamp.
type wireTime struct {
	seconds int64
	nanos   int32
	set     bool
}

func (t *wireTime) decode(data []byte) error {
	t.set = true
	return eachField(data, func(f field) error {
		switch {
		case f.is(1, protowire.VarintType):
			t.seconds = int64(f.varint)
		case f.is(2, protowire.VarintType):
			t.nanos = int32(f.varint)
		}
		return nil
	})
}

// time is zero for a time that is absent or none.
func (t *wireTime) time() time.Time {
	if !t.set {
		return time.Time{}
	}
	return timeModel(&timestamppb.Timestamp{Seconds: t.seconds, Nanos: t.nanos})
}

// field is one field of a message: a varint or bytes, by its type.
type field struct {
	number protowire.Number
	kind   protowire.Type
	varint uint64
	bytes  []byte
}

func (f *field) is(number protowire.Number, kind protowire.Type) bool {
	return f.number == number && f.kind == kind
}

// eachField calls do for each field of a message in turn.
func eachField(data []byte, do func(field) error) error {
	for len(data) > 0 {
		number, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return errWire
		}
		data = data[n:]
		f := field{number: number, kind: kind}
		switch kind {
		case protowire.VarintType:
			f.varint, n = protowire.ConsumeVarint(data)
		case protowire.BytesType:
			f.bytes, n = protowire.ConsumeBytes(data)
			f.bytes = f.bytes[:len(f.bytes):len(f.bytes)]
		default:
			n = protowire.ConsumeFieldValue(number, kind, data)
		}
		if n < 0 {
			return errWire
		}
		data = data[n:]
		if err := do(f); err != nil {
			return err
		}
	}
	return nil
}
