package store

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func mustOpen(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(context.Background(), Settings{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func mustCommit(t testing.TB, s *Store, c decide.Changes) {
	t.Helper()
	if err := s.Commit(context.Background(), c); err != nil {
		t.Fatal(err)
	}
}

func dumpOf(t testing.TB, s *Store) string {
	t.Helper()
	var b bytes.Buffer
	if err := s.Dump(context.Background(), &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

var epoch0 = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

var payload = bytes.Repeat([]byte(`{"k":"v"}`), 1300/9)

// changes are what decide makes of n signals, numbered from first: for each one a
// signal with its payload, its case with a score, a member, two asks of which one is
// answered, and an intent.
func changes(first, n int) decide.Changes {
	at := epoch0.Add(time.Duration(first) * time.Second)
	c := decide.Changes{Position: decide.Position{Seq: uint64(first/n + 1)}, At: at}
	var counted uint64
	for i := first; i < first+n; i++ {
		ip := sdk.Observable{Kind: sdk.IP, Value: fmt.Sprintf("10.%d.%d.%d", i>>16&255, i>>8&255, i&255)}
		signal := model.SignalID("pipeline.ids", "detector.eve", "", fmt.Sprint(i))
		id := model.CaseID(signal)
		c.Signals = append(c.Signals, model.Signal{
			ID: signal, Rule: "pipeline.ids", Source: "detector.eve", EventID: fmt.Sprint(i), Revision: "1",
			Position: model.Position{Seq: c.Position.Seq, Index: i - first}, Time: at, Title: "ET SCAN something",
			Severity: i % 100, Observables: []sdk.Observable{ip, {Kind: sdk.Domain, Value: "d.example", Role: sdk.Indicator}},
			Techniques: []string{"T1071"}, Raw: payload,
		})
		c.Cases = append(c.Cases, model.Case{
			ID: id, FirstID: id, State: model.CaseOpen, Title: "ET SCAN something", Severity: i % 100, Size: 1, Pending: 1,
			Rules: []string{"pipeline.ids"}, Subjects: []sdk.Observable{ip}, FirstAt: at, LastAt: at, OpenedAt: at, UpdatedAt: at,
			Score: model.Score{Total: model.Hundredths(i % 10000), Factors: []model.Factor{{
				Name: "threat", Combine: "max", Weight: "0.8",
				Lines: []model.Line{{Evidence: "detector", Points: 5000, Counted: 5000, Because: "reported at 50"}},
			}}},
		})
		c.Members = append(c.Members, decide.Member{Signal: signal, Case: id})
		for _, e := range []string{"enrichment.assets", "enrichment.reputation"} {
			c.Asks = append(c.Asks, model.Ask{ID: model.ID("a", e, ip.Value), Enrichment: e, Observable: ip, At: at, AskedAt: at})
		}
		c.Answers = append(c.Answers, model.Reply{
			Ask: model.ID("a", "enrichment.assets", ip.Value), State: model.Known, AnsweredAt: at, Expires: at.Add(time.Hour),
			Answers: []model.Answer{{Asset: &model.Asset{Name: "ws-17", Owner: "kim"}}},
		})
		c.Intents = append(c.Intents, anIntent(i, id, at))
		counted++
	}
	all := uint64(first + n)
	c.Sums = &decide.Sums{
		Asks:    map[model.AnswerState]uint64{model.Pending: all, model.Known: all},
		Intents: map[model.IntentState]uint64{model.IntentPending: all},
	}
	c.Ledger = []decide.Ledger{{Source: "detector.eve", Hour: at.Truncate(time.Hour), Tally: decide.Tally{Received: counted, Matched: counted}}}
	c.Sources = []decide.SourceState{{Source: "detector.eve", Total: uint64(first + n), Counted: uint64(first + n), LastSeq: c.Position.Seq}}
	return c
}

// inACase adds the case that intents are of.
func inACase(c decide.Changes) decide.Changes {
	c.Cases = append(c.Cases, model.Case{ID: "c-1", FirstID: "c-1", State: model.CaseOpen})
	for i := range c.Intents {
		c.Intents[i].Case = "c-1"
	}
	return c
}

func anIntent(i int, caseID string, at time.Time) model.Intent {
	target := model.Target{Kind: "address", Value: fmt.Sprintf("soc-%d@example.org", i)}
	return model.Intent{
		ID: model.IntentID(caseID, "response.tell", "mail", "notify", target, 1), Case: caseID, Response: "response.tell", Step: "mail",
		Action: "action.mail", Verb: "notify", Target: target, Round: 1, Because: "score 80.00", PlannedAt: at, State: model.IntentPending,
	}
}
