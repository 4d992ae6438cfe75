package host

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

// slowDecode is what decodeFrame must equal: protobuf's own decoder, and a copy.
func slowDecode(data []byte) (response, error) {
	var wire pluginv1.DetectResponse
	if err := proto.Unmarshal(data, &wire); err != nil {
		return response{}, err
	}
	out := response{instance: wire.GetInstance()}
	if s := wire.GetStatus(); s != nil {
		out.status = &SessionStatus{
			State: stateModel(s.GetState()), Message: s.GetMessage(), Since: timeModel(s.GetSince()),
			Behind: s.GetBehind(), BehindUnit: s.GetBehindUnit(),
		}
	}
	if b := wire.GetBatch(); b != nil {
		out.batch = &SessionBatch{Number: b.GetNumber(), Cursor: b.GetCursor(), Events: []model.Event{}}
		for _, e := range b.GetEvents() {
			out.batch.Events = append(out.batch.Events, slowEvent(e))
			out.batch.Bytes += len(e.GetRaw())
		}
	}
	return out, nil
}

func slowEvent(e *pluginv1.Event) model.Event {
	out := model.Event{
		ID: e.GetId(), Revision: e.GetRevision(), Raw: e.GetRaw(), Time: timeModel(e.GetTime()), Title: e.GetTitle(),
		Techniques: e.GetTechniques(), Stopped: e.Stopped, Link: e.GetLink(), Problem: e.GetProblem(),
	}
	if e.Severity != nil {
		severity := int(min(100, max(0, e.GetSeverity())))
		out.Severity = &severity
	}
	for _, o := range e.GetObservables() {
		out.Observables = append(out.Observables, sdk.Observable{Kind: o.GetKind(), Value: o.GetValue(), Role: roleModel(o.GetRole())})
	}
	if o := e.GetOversize(); o != nil {
		out.Oversize = &sdk.Oversize{Place: o.GetPlace(), Length: o.GetLength()}
		copy(out.Oversize.SHA256[:], o.GetSha256())
	}
	if e.GetId() == "" {
		if out.Problem != "" {
			out.Problem += "; and "
		}
		out.Problem += "the plugin sent an event that has no id"
	}
	return out
}

func TestDecodersAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data, err := proto.Marshal(drawResponse(t))
		if err != nil {
			t.Fatal(err)
		}
		compareDecoders(t, data)
	})
}

func compareDecoders(t rapid.TB, data []byte) {
	want, wantErr := slowDecode(data)
	got, err := decodeFrame(data)
	if wantErr != nil {
		return // it also refuses a text that is not UTF-8, which we do not
	}
	if err != nil {
		t.Fatalf("%v, and protobuf reads it: %x", err, data)
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(response{})); diff != "" {
		t.Fatalf("%x (-protobuf +ours):\n%s", data, diff)
	}
}

func drawResponse(t *rapid.T) *pluginv1.DetectResponse {
	text := rapid.StringN(0, 8, 40)
	raw := rapid.SliceOfN(rapid.Byte(), 1, 40)
	at := func() *timestamppb.Timestamp {
		if !rapid.Bool().Draw(t, "has time") {
			return nil
		}
		return &timestamppb.Timestamp{
			Seconds: rapid.Int64Range(-1<<40, 1<<40).Draw(t, "seconds"), Nanos: rapid.Int32Range(-10, 1<<30).Draw(t, "nanos"),
		}
	}
	m := &pluginv1.DetectResponse{Instance: text.Draw(t, "instance")}
	if rapid.Bool().Draw(t, "is status") {
		m.Message = &pluginv1.DetectResponse_Status{Status: &pluginv1.DetectorStatus{
			State: pluginv1.DetectorState(rapid.Int32Range(-1, 5).Draw(t, "state")), Message: text.Draw(t, "message"),
			Since: at(), Behind: rapid.Int64().Draw(t, "behind"), BehindUnit: text.Draw(t, "unit"),
		}}
		return m
	}
	b := &pluginv1.Batch{Number: rapid.Int64().Draw(t, "number"), Cursor: raw.Draw(t, "cursor")}
	for range rapid.IntRange(0, 4).Draw(t, "events") {
		e := &pluginv1.Event{
			Id: text.Draw(t, "id"), Revision: text.Draw(t, "revision"), Raw: raw.Draw(t, "raw"), Time: at(),
			Title: text.Draw(t, "title"), Link: text.Draw(t, "link"), Problem: text.Draw(t, "problem"),
			Techniques: rapid.SliceOfN(text, 0, 3).Draw(t, "techniques"),
		}
		if rapid.Bool().Draw(t, "rated") {
			e.Severity = proto.Int32(rapid.Int32().Draw(t, "severity"))
			e.Stopped = proto.Bool(rapid.Bool().Draw(t, "stopped"))
		}
		for range rapid.IntRange(0, 3).Draw(t, "observables") {
			e.Observables = append(e.Observables, &pluginv1.Observable{
				Kind: text.Draw(t, "kind"), Value: text.Draw(t, "value"), Role: pluginv1.Role(rapid.Int32Range(0, 3).Draw(t, "role")),
			})
		}
		if rapid.Bool().Draw(t, "oversize") {
			e.Oversize = &pluginv1.Oversize{Place: text.Draw(t, "place"), Length: rapid.Int64().Draw(t, "length"), Sha256: make([]byte, 32)}
		}
		b.Events = append(b.Events, e)
	}
	m.Message = &pluginv1.DetectResponse_Batch{Batch: b}
	return m
}

func FuzzDecode(f *testing.F) {
	severity := int32(7)
	for _, m := range []*pluginv1.DetectResponse{
		{},
		{Message: &pluginv1.DetectResponse_Batch{Batch: &pluginv1.Batch{Number: 1, Cursor: []byte("c"), Events: []*pluginv1.Event{
			{Id: "1", Raw: []byte(`{"a":1}`), Severity: &severity, Time: timestamppb.New(time.Unix(1, 2)), Techniques: []string{"T1071"}},
		}}}},
		{Message: &pluginv1.DetectResponse_Status{Status: &pluginv1.DetectorStatus{State: 2, Message: "m"}}},
	} {
		data, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := decodeFrame(data)
		if err != nil || m.batch == nil {
			return
		}
		for n := range m.batch.Events {
			e := &m.batch.Events[n]
			if e.ID == "" && e.Problem == "" {
				t.Error("an event without id has no problem")
			}
			if len(e.Observables) > maxCount || len(e.Techniques) > maxCount || len(e.Raw) > sdk.MaxEvent {
				t.Error("an event is larger than its bounds")
			}
		}
	})
}

// Bounds that the generator does not reach.
func TestEventBounds(t *testing.T) {
	many := &pluginv1.Event{Id: "1", Raw: []byte("{}")}
	for range maxCount + 1 {
		many.Observables = append(many.Observables, &pluginv1.Observable{Kind: "ip", Value: "10.0.0.1"})
		many.Techniques = append(many.Techniques, "T1")
	}
	short := &pluginv1.Event{Id: "1", Problem: "is no JSON", Oversize: &pluginv1.Oversize{Sha256: []byte{1}}}
	for _, c := range []struct {
		event *pluginv1.Event
		want  string
	}{
		{many, "the plugin sent an event that has more than 1024 observables"},
		{short, "is no JSON; and the plugin sent an event that has a sha256 of 1 bytes"},
	} {
		data, err := proto.Marshal(c.event)
		if err != nil {
			t.Fatal(err)
		}
		var e model.Event
		if err := decodeEvent(&e, data); err != nil || e.Problem != c.want {
			t.Errorf("problem %q, %v; want %q", e.Problem, err, c.want)
		}
	}
}

// What a batch of the usual kind may allocate: each event's id, which is a copy, and
// nothing else that grows with it.
func TestDecodeAllocations(t *testing.T) {
	const events = 512
	b := &pluginv1.Batch{Number: 1, Cursor: []byte("c")}
	for range events {
		b.Events = append(b.Events, &pluginv1.Event{Id: "eve.json+123456789", Raw: make([]byte, 1300)})
	}
	data, err := proto.Marshal(&pluginv1.DetectResponse{Instance: "detector.eve", Message: &pluginv1.DetectResponse_Batch{Batch: b}})
	if err != nil {
		t.Fatal(err)
	}
	n := testing.AllocsPerRun(20, func() {
		if m, err := decodeFrame(data); err != nil || len(m.batch.Events) != events {
			t.Fatal(err)
		}
	})
	if n > events+8 {
		t.Errorf("%v allocations for %d events, want one each", n, events)
	}
}
