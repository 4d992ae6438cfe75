package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/measure"
	"github.com/kelpie-sec/kelpie/core/model"
)

// endedCase is a case of some rules; kind empty: it is open.
func endedCase(id string, opened time.Time, kind model.FindingKind, rules ...string) model.Case {
	k := model.Case{ID: id, FirstID: id, State: model.CaseOpen, OpenedAt: opened, Rules: rules, Size: 1}
	if kind != "" {
		k.State = model.CaseClosed
		k.Finding = &model.Finding{Kind: kind, By: "kim", At: opened.Add(time.Hour), Minutes: 10, Loss: 100}
		k.Worked = &model.Worked{Steps: 1, Told: 2}
	}
	return k
}

func outcomesOf(t *testing.T, s *Store, since time.Time, rules ...string) measure.Outcomes {
	t.Helper()
	o, err := s.Outcomes(t.Context(), rules, since)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// TestOutcomes: cases are counted by rule, each once, and go with what becomes of them.
func TestOutcomes(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	seq := uint64(0)
	commit := func(cases ...model.Case) {
		seq++
		mustCommit(t, s, decide.Changes{Position: decide.Position{Seq: seq}, At: epoch0, Cases: cases})
	}
	day := 24 * time.Hour
	commit(endedCase("c-1", epoch0, "", "rule.a"), endedCase("c-2", epoch0.Add(day), "", "rule.a", "rule.b"), endedCase("c-3", epoch0.Add(2*day), "", "rule.b"))
	short := func(o measure.Outcomes) [6]int {
		return [6]int{o.Cases, o.None, o.TruePositive, o.Benign, o.FalsePositive, o.Looked}
	}
	want := func(what string, since time.Time, rules []string, numbers ...int) {
		t.Helper()
		if got := short(outcomesOf(t, s, since, rules...)); got != [6]int(numbers) {
			t.Errorf("%s: %v, want %v", what, got, numbers)
		}
	}
	a, b, both := []string{"rule.a"}, []string{"rule.b"}, []string{"rule.a", "rule.b"}
	want("open", time.Time{}, a, 2, 2, 0, 0, 0, 0)
	commit(endedCase("c-1", epoch0, model.TruePositive, "rule.a"), endedCase("c-2", epoch0.Add(day), model.Benign, "rule.a", "rule.b"))
	commit(endedCase("c-1", epoch0, model.TruePositive, "rule.a")) // again
	want("a", time.Time{}, a, 2, 0, 1, 1, 0, 2)
	want("b", time.Time{}, b, 2, 1, 0, 1, 0, 1)
	want("for each, looked at once", time.Time{}, both, 4, 1, 1, 2, 0, 2)
	want("since", epoch0.Add(25*time.Hour), both, 3, 1, 0, 2, 0, 1)
	want("none", time.Time{}, []string{"rule.c"}, 0, 0, 0, 0, 0, 0)
	o := outcomesOf(t, s, time.Time{}, a...)
	if o.Decided == nil || o.Decided.Median != time.Hour || o.Minutes != 20 || o.Loss != 200 || o.Told != 4 || o.Automated.Is != 2 {
		t.Errorf("%+v", o)
	}
	again := endedCase("c-1", epoch0, "", "rule.a")
	again.Reopened = &model.Reopening{}
	commit(again)
	want("opened again", time.Time{}, a, 2, 1, 0, 1, 0, 1)
	merged := model.Case{ID: "c-2", FirstID: "c-2", State: model.CaseMerged}
	commit(merged, endedCase("c-0", epoch0, model.FalsePositive, "rule.a", "rule.b"))
	want("merged", time.Time{}, both, 4, 2, 0, 0, 2, 1)
	if rules, err := s.ReportedBy(t.Context()); err != nil || !cmp.Equal(rules, both) {
		t.Errorf("%q, %v", rules, err)
	}
}

// TestALostRule: a case that loses the signals of a rule is no case of it any more.
func TestALostRule(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	signal := func(id string) model.Signal { return model.Signal{ID: id, Rule: "rule.a", Time: epoch0} }
	mustCommit(t, s, decide.Changes{
		Position: decide.Position{Seq: 1}, Signals: []model.Signal{signal("s-1"), signal("s-2")},
		Cases:   []model.Case{endedCase("c-1", epoch0, "", "rule.a", "rule.b")},
		Members: []decide.Member{{Signal: "s-1", Case: "c-1"}, {Signal: "s-2", Case: "c-1"}},
	})
	mustCommit(t, s, decide.Changes{
		Position: decide.Position{Seq: 2},
		Cases:    []model.Case{endedCase("c-1", epoch0, "", "rule.a"), endedCase("c-2", epoch0, "", "rule.b")},
		Members:  []decide.Member{{Signal: "s-2", Case: "c-2"}},
	})
	if a, b := outcomesOf(t, s, time.Time{}, "rule.a"), outcomesOf(t, s, time.Time{}, "rule.b"); a.Cases != 1 || b.Cases != 1 {
		t.Errorf("%d and %d cases", a.Cases, b.Cases)
	}
}

// BenchmarkOutcomes of a rule with 200,000 cases, of which one in ten has ended.
func BenchmarkOutcomes(b *testing.B) {
	s := mustOpen(b, b.TempDir())
	for i := range 20 {
		c := decide.Changes{Position: decide.Position{Seq: uint64(i + 1)}}
		for j := range 10_000 {
			kind := model.FindingKind("")
			if j%10 == 0 {
				kind = model.FindingKinds()[j/10%3]
			}
			n := i*10_000 + j
			c.Cases = append(c.Cases, endedCase(fmt.Sprintf("c-%07d", n), epoch0.Add(time.Duration(n)*time.Minute), kind, "rule.a", fmt.Sprintf("rule.b%d", n%20)))
		}
		mustCommit(b, s, c)
	}
	for name, rules := range map[string][]string{"one": {"rule.a"}, "two": {"rule.a", "rule.b1"}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if o, err := s.Outcomes(b.Context(), rules, time.Time{}); err != nil || o.Cases < 200_000 {
					b.Fatal(o, err)
				}
			}
		})
	}
}

// TestOutcomesOfNewCasesTakeFewStatements: what each case costs goes with the writes of a
// commit, and nearly all cases are new and open.
func TestOutcomesOfNewCasesTakeFewStatements(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	c := decide.Changes{Position: decide.Position{Seq: 1}, At: epoch0}
	for n := range 128 {
		c.Cases = append(c.Cases, endedCase(fmt.Sprintf("c-%03d", n), epoch0, "", "rule.a", fmt.Sprint("rule.", n%2)))
	}
	of := func() (writes int) {
		err := s.transact(t.Context(), func(w *writer) error {
			n := numbers{cases: map[string]int64{}}
			w.cases(c, n)
			before := w.writes
			w.outcomes(c, n)
			writes = w.writes - before
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return writes
	}
	if n := of(); n > 3+2*128/atOnce {
		t.Errorf("%d statements for 128 new cases", n)
	}
	of() // the same again
	if o := outcomesOf(t, s, time.Time{}, "rule.a"); o.Cases != 128 || o.None != 128 {
		t.Errorf("%+v", o)
	}
	if o := outcomesOf(t, s, time.Time{}, "rule.1"); o.Cases != 64 {
		t.Errorf("%+v", o)
	}
}
