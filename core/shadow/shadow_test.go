package shadow

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"github.com/kelpie-sec/kelpie/core/enrich"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func verdict(d sdk.Disposition) *enrich.Said {
	state := model.Known
	if d == sdk.Benign {
		state = model.Clean
	}
	return &enrich.Said{State: state, Answers: []model.Answer{{Verdict: &model.Verdict{Disposition: d}, Details: []byte(`{"a":1}`)}}}
}

func asset(a model.Asset) *enrich.Said {
	return &enrich.Said{State: model.Known, Answers: []model.Answer{{Asset: &a}}}
}

func state(s model.AnswerState, reason string) *enrich.Said {
	return &enrich.Said{State: s, Reason: reason}
}

func ip(n int) sdk.Observable {
	return sdk.Observable{Kind: sdk.IP, Value: fmt.Sprintf("192.0.2.%d", n)}
}

func compared(pairs ...[2]*enrich.Said) Enrichment {
	var all []enrich.Pair
	for i, p := range pairs {
		all = append(all, enrich.Pair{Observable: ip(i), First: p[0], Shadow: p[1], At: noon})
	}
	var e Enrichment
	e.compare(all)
	return e
}

func TestWords(t *testing.T) {
	for _, c := range []struct {
		said *enrich.Said
		want string
	}{
		{verdict(sdk.Malicious), Malicious},
		{verdict(sdk.Suspicious), Suspicious},
		{verdict(sdk.Benign), Clean},
		{verdict("unknown"), Undecided},
		{verdict("a word of later"), Undecided},
		{asset(model.Asset{}), Known},
		{state(model.Unknown, ""), Unknown},
		{state(model.Failed, "x"), Failed},
		{state(model.Known, ""), Known},
		{&enrich.Said{State: model.Known, Answers: slices.Concat(verdict(sdk.Benign).Answers, verdict(sdk.Suspicious).Answers, asset(model.Asset{}).Answers)}, Suspicious},
	} {
		if got := word(c.said); got != c.want {
			t.Errorf("%+v is %s, want %s", c.said, got, c.want)
		}
	}
}

func TestAgreement(t *testing.T) {
	e := compared(
		[2]*enrich.Said{verdict(sdk.Malicious), verdict(sdk.Malicious)},
		[2]*enrich.Said{verdict(sdk.Malicious), verdict(sdk.Benign)},
		[2]*enrich.Said{verdict(sdk.Benign), state(model.Unknown, "")},
		[2]*enrich.Said{verdict(sdk.Benign), state(model.Failed, "denied")},
		[2]*enrich.Said{state(model.Failed, "slow"), state(model.Failed, "denied")},
		[2]*enrich.Said{verdict(sdk.Benign), nil},
		[2]*enrich.Said{nil, verdict(sdk.Benign)},
	)
	want := Enrichment{
		Observables: 5, Failed: 2, Same: 1, Waiting: 1,
		Words:  []Words{{Malicious, Malicious, 1}, {Malicious, Clean, 1}, {Clean, Unknown, 1}, {Clean, Failed, 1}, {Failed, Failed, 1}},
		Fields: []Field{}, Failures: []Failure{{"denied", 2}},
	}
	if diff := cmp.Diff(want, e, cmpopts.IgnoreFields(Enrichment{}, "Disagreements")); diff != "" {
		t.Error(diff)
	}
	if d := e.Disagreements; len(d) != 2 || d[0].Observable != ip(1) || d[1].Observable != ip(2) || d[0].First.Answers[0].Details != nil {
		t.Errorf("disagreements %+v", d)
	}
}

// TestTellingDisagreements are not all of one kind.
func TestTellingDisagreements(t *testing.T) {
	var pairs [][2]*enrich.Said
	for range 50 {
		pairs = append(pairs, [2]*enrich.Said{verdict(sdk.Malicious), verdict(sdk.Benign)})
	}
	pairs = append(pairs, [2]*enrich.Said{verdict(sdk.Benign), state(model.Unknown, "")})
	d := compared(pairs...).Disagreements
	if len(d) != mostDisagreements || d[0].Observable != ip(0) || d[mostDisagreements-1].Observable != ip(50) {
		t.Errorf("%+v", d)
	}
}

func TestFields(t *testing.T) {
	eighty, ninety := 80, 90
	e := compared(
		[2]*enrich.Said{asset(model.Asset{Name: "ws-1", Owner: "kim", Roles: []string{"b", "a"}, SeenAt: noon}), asset(model.Asset{Name: "ws-1", Owner: "lee", Roles: []string{"a", "b"}, Team: "x"})},
		[2]*enrich.Said{asset(model.Asset{Name: "ws-2", Criticality: &eighty}), asset(model.Asset{Name: "ws-2", Criticality: &ninety, Owner: "kim"})},
		[2]*enrich.Said{asset(model.Asset{Name: "ws-3"}), verdict(sdk.Benign)},
	)
	want := []Field{
		{"asset.criticality", 0, 1, 0, 0}, {"asset.owner", 0, 1, 0, 1}, {"asset.name", 2, 0, 0, 0}, {"asset.roles", 1, 0, 0, 0}, {"asset.team", 0, 0, 0, 1},
	}
	if diff := cmp.Diff(want, e.Fields); diff != "" {
		t.Error(diff)
	}
	if d := e.Disagreements; len(d) != 3 || d[1].Observable != ip(0) || !slices.Equal(d[1].Fields, []string{"asset.owner"}) || e.Same != 2 {
		t.Errorf("%d the same, %+v", e.Same, d)
	}
}

func at(minute int, values ...int) event {
	e := event{title: fmt.Sprint("at ", minute), time: noon.Add(time.Duration(minute) * time.Minute), counts: true}
	e.received = e.time
	for _, v := range values {
		e.keys = append(e.keys, ip(v))
	}
	return e
}

func TestPairing(t *testing.T) {
	before := at(-3, 9) // of before the time that is asked about, and so in no count
	before.counts = false
	late := at(21, 3)
	late.received = late.time.Add(5 * time.Minute)
	early := at(40, 4)
	early.received = early.time.Add(-5 * time.Minute)
	ones := []event{at(0, 1), at(0, 1), at(20, 3), at(40, 4, 5), at(60, 6), at(5, 9)}
	others := []event{at(10, 1, 2), late, early, at(60, 7), at(80, 6), before}
	var d Detector
	d.pair(ones, others, 10*time.Minute)
	first, other := d.Sides.First, d.Sides.Shadow
	if first.Both != 5 || first.Only != 1 || first.OnlyTitles[0].Title != "at 60" {
		t.Errorf("first %+v", first)
	}
	if other.Both != 3 || other.Only != 2 || len(other.OnlyTitles) != 2 || len(other.BothTitles) != 3 {
		t.Errorf("shadow %+v", other)
	}
	// The lags: 10, 10, 6, -5 and -8 minutes.
	if d.Lag.Sooner != 2 || d.Lag.P50 != 360 || d.Lag.P99 != 600 {
		t.Errorf("lag %+v", d.Lag)
	}
	d = Detector{}
	d.pair(ones, others, 10*time.Minute-1)
	if d.Sides.First.Both != 3 || d.Sides.Shadow.Both != 2 {
		t.Errorf("within less than ten minutes: first %+v, shadow %+v", d.Sides.First, d.Sides.Shadow)
	}
	d = Detector{}
	d.pair(nil, nil, time.Minute)
	if d.Lag.P50 != 0 || d.Sides.First.OnlyTitles == nil {
		t.Errorf("of nothing %+v", d)
	}
}

func TestQueryNames(t *testing.T) {
	for name, want := range map[string]bool{"": true, "b": true, "enrichment.b": true, "a": true, "enrichment.a": true, "detector.b": false, "c": false} {
		if got := (&Query{Name: name}).wants("enrichment.b", "enrichment.a"); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}
