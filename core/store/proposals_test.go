package store

import (
	"strings"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/model"
)

// TestProposals are found by id, case and state, and keep their last state.
func TestProposals(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	one := model.Proposal{ID: "p-1", Kind: model.ProposeIgnore, State: model.ProposalOpen, Case: "c-1", Question: "q-1", By: "kim", At: epoch0}
	two := one
	two.ID, two.Case, two.At = "p-2", "c-2", epoch0.Add(time.Minute)
	mustCommit(t, s, decide.Changes{
		Position:  decide.Position{Seq: 1},
		Cases:     []model.Case{{ID: "c-1", FirstID: "c-1", State: model.CaseOpen}, {ID: "c-2", FirstID: "c-2", State: model.CaseOpen}},
		Proposals: []model.Proposal{one, two},
	})
	ended := one
	ended.State, ended.EndedBy = model.ProposalAccepted, "lee"
	mustCommit(t, s, decide.Changes{Position: decide.Position{Seq: 2}, Proposals: []model.Proposal{ended}})
	ctx := t.Context()
	ids := func(all []model.Proposal, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		var text []string
		for _, p := range all {
			text = append(text, p.ID)
		}
		return strings.Join(text, " ")
	}
	for name, c := range map[string][2]string{
		"all":       {ids(s.Proposals(ctx, "", 0)), "p-2 p-1"},
		"open":      {ids(s.Proposals(ctx, model.ProposalOpen, 0)), "p-2"},
		"accepted":  {ids(s.Proposals(ctx, model.ProposalAccepted, 0)), "p-1"},
		"at most":   {ids(s.Proposals(ctx, "", 1)), "p-2"},
		"of a case": {ids(s.CaseProposals(ctx, []string{"c-1", "c-9"})), "p-1"},
	} {
		if c[0] != c[1] {
			t.Errorf("%s: %s, want %s", name, c[0], c[1])
		}
	}
	if p, err := s.Proposal(ctx, "p-1"); err != nil || p.EndedBy != "lee" {
		t.Errorf("%+v %v", p, err)
	}
	if found, err := s.FindProposals(ctx, "p-", 8); err != nil || len(found) != 2 {
		t.Errorf("%v %v", found, err)
	}
}
