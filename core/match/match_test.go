package match

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/examples/suricata/eve"
	"github.com/kelpie-sec/kelpie/sdk"
)

// index of all programs, as a configuration has one.
var index = NewIndex()

func program(t testing.TB, text string, strict bool) *expr.Program {
	t.Helper()
	if text == "" {
		return nil
	}
	e, diags := hclsyntax.ParseExpression([]byte(text), "test.hcl", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	p, diags := expr.Compile(e, expr.Env{Roots: map[string]*expr.Shape{"event": nil}, Strict: strict, Index: index})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return p
}

var received = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// suricata is what an operator would write for eve.json.
func suricata(t testing.TB) *Settings {
	return &Settings{Version: "v1", Sources: []Source{{Detector: "detector.eve", Pipelines: []Pipeline{{
		Address: "pipeline.ids",
		When:    []*expr.Program{program(t, `event.raw.event_type == "alert"`, false), program(t, `event.raw.alert.severity <= 2`, false)},
		Alerts:  true,
		Map: Mapping{
			Title:      program(t, `event.raw.alert.signature`, false),
			Time:       program(t, `event.raw.timestamp`, false),
			Severity:   program(t, `lookup({ "1" = 90, "2" = 60 }, event.raw.alert.severity, 10)`, false),
			Stopped:    program(t, `event.raw.alert.action == "blocked"`, false),
			Subjects:   program(t, `{ ip = event.raw.src_ip }`, false),
			Indicators: program(t, `{ ip = event.raw.dest_ip, domain = event.raw.tls.sni, hash = event.raw.hashes }`, false),
		},
		Ignores: []Ignore{{
			Address: "ignore.scanner", When: program(t, `cidr_contains("10.9.0.0/24", event.raw.src_ip)`, true),
			Expires: received.Add(time.Hour),
		}},
		Rules: []Rule{{Address: "rule.beacon", When: program(t, `contains(event.title, "Beacon")`, false), Severity: ptr(99)}},
	}}}}}
}

func ptr[T any](v T) *T { return &v }

func batch(raws ...string) *model.Batch {
	b := &model.Batch{Source: "detector.eve", Received: received}
	for i, raw := range raws {
		b.Events = append(b.Events, model.Event{ID: string(rune('a' + i)), Raw: []byte(raw)})
	}
	return b
}

func TestMatchCountsEveryEventOnce(t *testing.T) {
	b := batch(
		`{"event_type":"alert","timestamp":"2026-11-01T11:00:00.5+0000","src_ip":"10.1.1.1","dest_ip":"2001:DB8::1","alert":{"severity":1,"signature":"ET Beacon","action":"allowed"}}`,
		`{"event_type":"alert","src_ip":"10.9.0.7","alert":{"severity":1,"signature":"scan"}}`,
		`{"event_type":"dns"}`,
		`{"event_type":"alert","alert":{"severity":3}}`,
		`{"event_type":"alert","event_type":"alert"}`,
		`not json`,
		"{\"event_type\":\"\xff\"}",
		`["event_type"]`,
		`{"event_type":"alert","timestamp":"2099-01-01T00:00:00Z","alert":{"severity":1}}`,
		`{"event_type":"alert","src_ip":"not an address","timestamp":"yesterday","alert":{"severity":2,"signature":"odd"}}`,
	)
	b.Events = append(b.Events,
		model.Event{ID: "y", Raw: []byte("head"), Oversize: &sdk.Oversize{Place: "eve.json+7", Length: 20 << 20}},
		model.Event{ID: "z", Raw: []byte("\x00"), Problem: "half a line"})
	res, rejected := NewWorker(suricata(t)).Match(b, 7)

	wantCounts := model.Counts{
		Matched: 2, Passed: 2, Ignored: map[string]int{"ignore.scanner": 1},
		Rejected: map[string]int{"not an event": 4, "time in the future": 1, "too large": 1, "not read": 1},
	}
	if d := cmp.Diff(wantCounts, res.Counts); d != "" {
		t.Errorf("counts (-want +got):\n%s", d)
	}
	var reasons []string
	for _, r := range rejected {
		reasons = append(reasons, r.ID+" "+r.Reason)
		if want := b.Events[r.Index]; r.Seq != 7 || r.Source != b.Source || string(r.Raw) != string(want.Raw) || r.ID != want.ID {
			t.Errorf("set aside %+v, want event %+v of message 7", r, want)
		}
	}
	for i, want := range []string{
		"e not an event: ", "f not an event: ", "g not an event: ", "h not an event: not a JSON object",
		"i time in the future: 2099-01-01T00:00:00Z is ", "y too large: 20971520 bytes at eve.json+7", "z not read: half a line",
	} {
		if i >= len(reasons) || !strings.HasPrefix(reasons[i], want) {
			t.Fatalf("reasons are %q, want number %d to begin with %q", reasons, i, want)
		}
	}
}

func TestMatchReadsByTheMap(t *testing.T) {
	raw := `{"event_type":"alert","timestamp":"2026-11-01T11:00:00.5+0000","src_ip":"10.1.1.1","dest_ip":"2001:DB8:0::1","tls":{"sni":"Bad.Example."},"hashes":["D41D8CD98F00B204E9800998ECF8427E","nonsense"],"alert":{"severity":1,"signature":"ET Beacon","action":"allowed"}}`
	res, _ := NewWorker(suricata(t)).Match(batch(raw), 3)
	want := model.Signal{
		ID: model.SignalID("pipeline.ids", "detector.eve", "", "a"), Rule: "pipeline.ids", Source: "detector.eve",
		EventID: "a", Revision: model.RevisionOf([]byte(raw)), Position: model.Position{Seq: 3},
		Time: time.Date(2026, 11, 1, 11, 0, 0, 5e8, time.UTC), Title: "ET Beacon", Severity: 90, Stopped: ptr(false),
		Observables: []sdk.Observable{
			{Kind: "ip", Value: "10.1.1.1", Role: sdk.Subject},
			{Kind: "domain", Value: "bad.example", Role: sdk.Indicator},
			{Kind: "hash", Value: "d41d8cd98f00b204e9800998ecf8427e", Role: sdk.Indicator},
			{Kind: "ip", Value: "2001:db8::1", Role: sdk.Indicator},
		},
		Raw: []byte(raw),
	}
	rule := want
	rule.ID, rule.Rule, rule.Severity = model.SignalID("rule.beacon", "detector.eve", "", "a"), "rule.beacon", 99
	opt := cmp.FilterPath(func(p cmp.Path) bool { return p.String() == "Notes" }, cmp.Ignore())
	if d := cmp.Diff([]model.Signal{want, rule}, res.Signals, opt); d != "" {
		t.Errorf("signals (-want +got):\n%s", d)
	}
	if n := res.Signals[0].Notes; len(n) != 1 || !strings.Contains(n[0], "nonsense") {
		t.Errorf("notes are %q, want one about the hash that is none", n)
	}
}

func TestMatchKeepsAnEventWhoseFieldsAreOdd(t *testing.T) {
	raw := `{"event_type":"alert","src_ip":"not an address","timestamp":"yesterday","alert":{"severity":2,"signature":"odd"}}`
	res, rejected := NewWorker(suricata(t)).Match(batch(raw), 1)
	if len(rejected) != 0 || len(res.Signals) != 1 {
		t.Fatalf("%d signals and %d set aside, want 1 and 0", len(res.Signals), len(rejected))
	}
	s := res.Signals[0]
	if !s.Time.Equal(received) || !s.Receipt {
		t.Errorf("time %v (receipt %v), want the receipt's", s.Time, s.Receipt)
	}
	if len(s.Observables) != 0 || len(s.Notes) != 2 {
		t.Errorf("observables %v, notes %q; want none, and a note for each that could not be read", s.Observables, s.Notes)
	}
}

func TestExpiredIgnoreHidesNothing(t *testing.T) {
	raw := `{"event_type":"alert","src_ip":"10.9.0.7","alert":{"severity":1,"signature":"scan"}}`
	b := batch(raw)
	b.Received = received.Add(time.Hour)
	res, _ := NewWorker(suricata(t)).Match(b, 1)
	if res.Counts.Matched != 1 || res.Counts.Ignored != nil {
		t.Errorf("counts %+v, want the event matched", res.Counts)
	}
}

func BenchmarkMatch(b *testing.B) {
	g, err := eve.New(eve.Options{Seed: 1, AlertRatio: 1000})
	if err != nil {
		b.Fatal(err)
	}
	bt := &model.Batch{Source: "detector.eve", Received: time.Now().Add(24 * 365 * time.Hour)}
	size := 0
	for range 512 {
		raw := g.Append(nil)
		size += len(raw)
		bt.Events = append(bt.Events, model.Event{ID: "eve+1", Raw: raw})
	}
	s := suricata(b)
	s.Sources[0].Pipelines[0].When = append(s.Sources[0].Pipelines[0].When, program(b, `event.raw.alert.severity == 1`, false))
	w := NewWorker(s)
	b.ReportAllocs()
	b.SetBytes(int64(size))
	for b.Loop() {
		res, rejected := w.Match(bt, 1)
		if len(rejected) > 0 || res.Counts.Passed == 0 {
			b.Fatal(rejected[0].Reason, res.Counts)
		}
	}
	b.ReportMetric(float64(b.N*512)/b.Elapsed().Seconds(), "events/s")
}

func TestMatchSetsAsideWhatIsTooMuchWork(t *testing.T) {
	s := suricata(t)
	raw := `{"event_type":"alert","alert":{"severity":1},"list":[` + strings.Repeat(`"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab",`, 3000) + `"c"]}`
	s.Sources[0].Pipelines[0].Rules[0].When = program(t, `length([for a in event.raw.list : length([for b in event.raw.list : a if a == b])]) < 0`, false)
	res, rejected := NewWorker(s).Match(batch(raw), 1)
	if len(rejected) != 1 || !strings.HasPrefix(rejected[0].Reason, "too much work") || len(res.Signals) != 0 {
		t.Errorf("%d set aside, %d signals; want the event set aside for too much work", len(rejected), len(res.Signals))
	}
}

// Two vendors at one address, one after the other, may call different alerts by one id.
func TestAnotherMakersIDIsAnotherEvent(t *testing.T) {
	raw := `{"event_type":"alert","alert":{"severity":1,"signature":"x"}}`
	ids := map[string]string{}
	for _, maker := range []string{"", "north", "south", "south/edr"} {
		b := batch(raw)
		b.Maker = maker
		res, _ := NewWorker(suricata(t)).Match(b, 3)
		if len(res.Signals) == 0 {
			t.Fatal("no signal")
		}
		if other, twice := ids[res.Signals[0].ID]; twice {
			t.Errorf("the same id of %q and %q", maker, other)
		}
		ids[res.Signals[0].ID] = maker
	}
}

// TestExperimental: a pipeline and each of its rules say for themselves whether they are.
func TestExperimental(t *testing.T) {
	s := suricata(t)
	p := &s.Sources[0].Pipelines[0]
	p.Alerts, p.Experimental, p.When, p.Ignores = true, true, nil, nil
	p.Rules = []Rule{{Address: "rule.a", When: program(t, "true", false)}, {Address: "rule.b", When: program(t, "true", false), Experimental: true}}
	res, rejected := NewWorker(s).Match(batch(`{"event_type": "alert"}`), 1)
	got := map[string]bool{}
	for _, g := range res.Signals {
		got[g.Rule] = g.Experimental
	}
	want := map[string]bool{p.Address: true, "rule.a": false, "rule.b": true}
	if len(rejected) > 0 || !maps.Equal(got, want) {
		t.Errorf("%v, want %v; %v", got, want, rejected)
	}
}
