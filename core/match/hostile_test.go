package match

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

var noContext = context.Background()

// connector has no map: all that it says is taken as far as it can be.
func connector(t testing.TB) *Settings {
	s := suricata(t)
	s.Sources[0].Pipelines = append(s.Sources[0].Pipelines, Pipeline{
		Address: "pipeline.plain", Alerts: true,
		Rules: []Rule{{Address: "rule.title", When: program(t, `event.time != null && event.severity >= 0`, false), Title: program(t, `"${event.title}, ${event.link}"`, false)}},
	})
	return s
}

// checkResult holds what match made of a batch to its promises.
func checkResult(t interface{ Fatalf(string, ...any) }, b *model.Batch, in model.Input, rejected []model.Rejected) {
	c := in.Match.Counts
	n := c.Matched + c.Fact + c.Passed
	for _, k := range c.Ignored {
		n += k
	}
	aside := 0
	for kind, k := range c.Rejected {
		if len(kind) > maxKind {
			t.Fatalf("a reason to count by has %d bytes", len(kind))
		}
		aside += k
	}
	if n+aside != len(b.Events) || aside != len(rejected) {
		t.Fatalf("%d events: %+v, and %d are set aside", len(b.Events), c, len(rejected))
	}
	out := map[int]bool{}
	for _, r := range rejected {
		if out[r.Index] || string(r.Raw) != string(b.Events[r.Index].Raw) {
			t.Fatalf("event %d is set aside twice, or not whole", r.Index)
		}
		out[r.Index] = true
	}
	matched := map[int]bool{}
	for _, s := range in.Match.Signals {
		matched[s.Position.Index] = true
		switch {
		case out[s.Position.Index]:
			t.Fatalf("event %d is set aside and has a signal", s.Position.Index)
		case s.Time.Before(earliest) && !s.Receipt, s.Time.Sub(b.Received) > maxAhead:
			t.Fatalf("a signal of %s", s.Time)
		case s.Severity < 0, s.Severity > 100, len(s.Title) > maxTitle, len(s.Link) > maxTitle,
			len(s.Observables) > maxObservables, len(s.Techniques) > maxObservables, len(s.Notes) > maxNotes:
			t.Fatalf("a signal out of bounds: %+v", s)
		}
	}
	if len(matched) != c.Matched {
		t.Fatalf("%d events have signals, %d are counted", len(matched), c.Matched)
	}
}

// through takes a batch the whole way into INPUTS.
func through(t interface{ Fatalf(string, ...any) }, m *Matcher, out *sink, msg Message) model.Input {
	if err := m.one(noContext, NewWorker(m.Settings), msg, out); err != nil {
		t.Fatalf("%v", err)
	}
	if len(out.parts) != 1 || out.done != 1 || out.back != 0 {
		t.Fatalf("%d parts, %d done, %d back", len(out.parts), out.done, out.back)
	}
	if m.MaxResult > 0 && len(out.parts[0]) > m.MaxResult {
		t.Fatalf("a part of %d bytes, at most %d are allowed", len(out.parts[0]), m.MaxResult)
	}
	in, err := model.DecodeInput(out.parts[0])
	if err != nil {
		t.Fatalf("%v", err)
	}
	return in
}

func TestEveryEventOfAHostileBatchIsCountedOnce(t *testing.T) {
	settings := connector(t)
	raw := rapid.OneOf(
		rapid.SampledFrom([]string{
			`{"event_type":"alert","src_ip":"10.1.1.1","alert":{"severity":1,"signature":"\ud800"}}`,
			`{"event_type":"alert","src_ip":["10.9.0.1"],"alert":{"severity":-1e300}}`,
			`{"event_type":"alert","src_ip":"10.9.0.7","alert":{"severity":2,"signature":"s"}}`,
			`{"event_type":"alert","timestamp":-1,"alert":{"severity":1}}`,
			`{"event_type":"alert","timestamp":"0001-01-01T00:00:00Z","alert":{"severity":1}}`,
			`{"event_type":"alert","timestamp":"9999-12-31T23:59:59Z","alert":{"severity":1}}`,
			`{"event_type":"alert","timestamp":1e400,"alert":{"severity":1}}`,
			`{"a":{"a":1,"a":2}}`, `[]`, `null`, ``, ` `, "\x00", "\ufeff{}", `{"event_type":"alert"`,
			strings.Repeat(`[`, 20_000), `{"alert":` + strings.Repeat(`{"a":`, 9_999) + `1` + strings.Repeat(`}`, 10_000),
		}),
		rapid.String(),
	)
	text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"\xff\xfe", strings.Repeat("é", 2000), ": ", "a: b"}))
	event := rapid.Custom(func(t *rapid.T) model.Event {
		e := model.Event{
			ID: text.Draw(t, "id"), Revision: text.Draw(t, "revision"), Raw: []byte(raw.Draw(t, "raw")),
			Title: text.Draw(t, "title"), Link: text.Draw(t, "link"),
			Techniques: rapid.SliceOfN(text, 0, 300).Draw(t, "techniques"),
		}
		if rapid.Bool().Draw(t, "timed") {
			e.Time = time.Unix(rapid.Int64().Draw(t, "time"), 0).UTC()
		}
		if rapid.Bool().Draw(t, "rated") {
			n := rapid.Int32().Draw(t, "severity")
			e.Severity = ptr(int(n))
		}
		if rapid.IntRange(0, 9).Draw(t, "problem") == 0 {
			e.Problem = text.Draw(t, "why")
		}
		for range rapid.IntRange(0, 5).Draw(t, "observables") {
			e.Observables = append(e.Observables, sdk.Observable{
				Kind: rapid.SampledFrom([]string{"ip", "host", "url", "nonsense", ""}).Draw(t, "kind"), Value: text.Draw(t, "value"),
				Role: rapid.SampledFrom([]sdk.Role{sdk.Subject, sdk.Indicator, sdk.NoRole, "king"}).Draw(t, "role"),
			})
		}
		return e
	})
	rapid.Check(t, func(rt *rapid.T) {
		b := &model.Batch{Source: "detector.eve", Received: received, Events: rapid.SliceOfN(event, 0, 12).Draw(rt, "events")}
		m, out := matcher(t, settings)
		in := through(rt, m, out, message(b, 1))
		checkResult(rt, b, in, out.rejected)
	})
}

func FuzzMatch(f *testing.F) {
	settings := connector(f)
	b := batch(`{"event_type":"alert","timestamp":"2026-11-01T11:00:00Z","src_ip":"10.1.1.1","alert":{"severity":1,"signature":"x"}}`, `{}`, `[`)
	b.Events[0].Time = time.Unix(-1<<40, 0)
	f.Add(model.AppendBatch(nil, b))
	f.Add([]byte{})
	f.Add([]byte("nonsense"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		m, out := matcher(t, settings)
		m.MaxResult = 1 << 20
		b, err := model.DecodeBatch(payload)
		msg := Message{Seq: 1, Source: "detector.eve", Total: 9, Count: len(b.Events), Payload: payload}
		in := through(t, m, out, msg)
		if err == nil {
			checkResult(t, &b, in, out.rejected)
		}
	})
}

// A message that holds other than what its header says, or nothing that can be read, is
// set aside whole, and counted by its header.
func TestADamagedMessageCountsAsItsHeaderSays(t *testing.T) {
	whole := model.AppendBatch(nil, batch(`{}`, `{}`))
	for name, c := range map[string]struct {
		payload        []byte
		count, counted int
		damaged        bool
	}{
		"more than it holds": {whole, 3, 3, false},
		"less":               {whole, 1, 1, false},
		"not readable":       {[]byte("nonsense"), 256, 256, false},
		"nor its header":     {[]byte("nonsense"), 0, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			m, out := matcher(t, connector(t))
			in := through(t, m, out, Message{
				Seq: 4, Source: "detector.eve", Total: 300, Count: c.count, Damaged: c.damaged, Payload: c.payload,
			})
			r := in.Match
			if r.Seq != 4 || r.Total != 300 || r.Count != c.count || r.Damaged != c.damaged || r.Counts.Rejected["damaged in the log"] != c.counted {
				t.Errorf("result %+v", r)
			}
			if len(out.rejected) != 1 || string(out.rejected[0].Raw) != string(c.payload) {
				t.Errorf("set aside: %+v", out.rejected)
			}
		})
	}
}

// Many rules and many observables make of a batch far more than it was.
func TestWhatIsTooLargeForTheLogIsSetAside(t *testing.T) {
	settings := connector(t)
	p := &settings.Sources[0].Pipelines[1]
	for range 20 {
		p.Rules = append(p.Rules, p.Rules[0])
	}
	b := batch(`{"n":1}`, `{"n":2}`, `{"n":3}`, `{"n":4}`)
	for i := range b.Events {
		b.Events[i].Severity = ptr(50)
		b.Events[i].Time = received
		for n := range 10 + 60*i {
			b.Events[i].Observables = append(b.Events[i].Observables, sdk.Observable{
				Kind: sdk.URL, Value: "https://example.org/" + strings.Repeat("x", 100+n), Role: sdk.Indicator,
			})
		}
	}
	m, out := matcher(t, settings)
	m.MaxResult = resultRoom + 800_000
	in := through(t, m, out, message(b, 1))
	checkResult(t, b, in, out.rejected)
	if n := len(out.rejected); n == 0 || n == len(b.Events) || out.rejected[n-1].Index != 3 || !strings.HasPrefix(out.rejected[0].Reason, "too large: ") {
		t.Errorf("%d of %d set aside, want the largest", n, len(b.Events))
	}
}

func TestAFullLogIsNotAskedAllTheTime(t *testing.T) {
	m, out := matcher(t, suricata(t))
	out.err = errors.New("the log is full")
	if err := m.one(noContext, NewWorker(m.Settings), message(batch(`{}`), 1), out); err != nil {
		t.Fatal(err)
	}
	if late := m.failed.Load(); out.back != 1 || late == nil || !errors.Is(*late, out.err) {
		t.Errorf("%d handed back, and the worker is told %v", out.back, late)
	}
}
