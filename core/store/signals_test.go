package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/model"
)

func tried(rule string, n int) model.Signal {
	return model.Signal{
		ID: fmt.Sprintf("s-%s-%05d", rule, n), Rule: rule, Source: "detector.a", Experimental: true,
		Position: model.Position{Seq: uint64(n/10 + 1), Index: n % 10}, Time: time.Unix(int64(n), 0).UTC(), Raw: []byte(`{}`),
	}
}

// TestExperimental: the newest signals of each experimental rule are kept, however they
// were grouped and in whatever order they came.
func TestExperimental(t *testing.T) {
	const n = MostExperimental + 205
	one, many := mustOpen(t, t.TempDir()), mustOpen(t, t.TempDir())
	whole := decide.Changes{Position: decide.Position{Seq: 100}}
	for i := range n {
		whole.Experimental = append(whole.Experimental, tried("rule.a", i))
	}
	whole.Experimental = append(whole.Experimental, tried("rule.b", 3))
	mustCommit(t, one, whole)
	for from := len(whole.Experimental); from > 0; from -= min(from, 100) {
		mustCommit(t, many, decide.Changes{
			Position: decide.Position{Seq: uint64(200 - from/100)}, Experimental: whole.Experimental[from-min(from, 100) : from],
		})
	}
	mustCommit(t, many, decide.Changes{Position: decide.Position{Seq: 300}})
	for name, s := range map[string]*Store{"in one": one, "in many, backwards": many} {
		all, err := s.Signals(t.Context(), SignalQuery{Rule: "rule.a", Experimental: true, Limit: 2 * n})
		if err != nil || len(all) != MostExperimental || all[0].ID != "s-rule.a-01204" || all[len(all)-1].ID != "s-rule.a-00205" {
			t.Errorf("%s: %d, %v", name, len(all), err)
		}
		all, err = s.Signals(t.Context(), SignalQuery{Limit: 5})
		if err != nil || len(all) != 5 || all[0].ID != "s-rule.a-01204" {
			t.Errorf("%s, of all: %v, %v", name, all, err)
		}
		if all, err = s.Signals(t.Context(), SignalQuery{Rule: "rule.b", Limit: 5}); err != nil || len(all) != 1 || !all[0].Experimental {
			t.Errorf("%s, of the other rule: %v, %v", name, all, err)
		}
	}
	earlier := tried("rule.b", 3)
	earlier.Position.Seq, earlier.Title = 0, "earlier"
	mustCommit(t, one, decide.Changes{Position: decide.Position{Seq: 301}, Experimental: []model.Signal{earlier}})
	if all, err := one.Signals(t.Context(), SignalQuery{Rule: "rule.b", Limit: 5}); err != nil || all[0].Title != "" {
		t.Errorf("an earlier revision took the place of a later one: %v, %v", all, err)
	}
}
