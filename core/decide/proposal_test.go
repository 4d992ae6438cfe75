package decide

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kelpie-sec/kelpie/core/model"
)

// proposed is a feed in which somebody has chosen to ignore, and what that proposes.
func proposed(t *testing.T) (*asking, model.Proposal) {
	t.Helper()
	f := newAsking(t, "base asks")
	f.alert(0)
	f.choose(model.Command{By: "kim", Option: "ignore", Because: "expected: patch day"})
	return f, f.tables.proposals[model.ProposalID(model.ProposeIgnore, f.question(0).ID)]
}

func TestProposalEnds(t *testing.T) {
	for name, c := range map[string]struct {
		order model.Command
		state model.ProposalState
	}{
		"accepted":         {model.Command{Kind: model.AcceptProposal, By: "lee", Because: "so it is", Text: "ignore {}\n"}, model.ProposalAccepted},
		"accepted by mail": {model.Command{Kind: model.AcceptProposal, By: "lee@example.org", Text: "ignore {}\n"}, model.ProposalAccepted},
		"refused":          {model.Command{Kind: model.RefuseProposal, By: "lee", Because: "too wide"}, model.ProposalRefused},
		"without the role": {model.Command{Kind: model.AcceptProposal, By: "ann", Text: "x"}, model.ProposalOpen},
		"refused without":  {model.Command{Kind: model.RefuseProposal, By: "kim"}, model.ProposalOpen},
		"by nobody known":  {model.Command{Kind: model.AcceptProposal, By: "eve"}, model.ProposalOpen},
		"another":          {model.Command{Kind: model.AcceptProposal, By: "lee", Proposal: "p-1"}, model.ProposalOpen},
		"a text too long":  {model.Command{Kind: model.AcceptProposal, By: "lee", Text: strings.Repeat("x", model.MostProposalText+1)}, model.ProposalOpen},
	} {
		t.Run(name, func(t *testing.T) {
			f, p := proposed(t)
			if p.State != model.ProposalOpen {
				t.Fatalf("%+v", p)
			}
			if c.order.Proposal == "" {
				c.order.Proposal = p.ID
			}
			f.restored(t)
			changes := f.apply(model.Input{Command: &c.order})
			got := f.tables.proposals[p.ID]
			if got.State != c.state {
				t.Fatalf("it is %s, want %s", got.State, c.state)
			}
			if c.state == model.ProposalOpen {
				if len(changes.Proposals)+len(changes.Records) > 0 {
					t.Errorf("changes %+v", changes)
				}
				return
			}
			want := p
			want.State, want.EndedBy, want.Because, want.EndedAt, want.Text = c.state, "lee", c.order.Because, f.now, c.order.Text
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if len(changes.Records) != 1 || changes.Records[0].To != string(c.state) || changes.Records[0].By != "lee" || changes.Records[0].Subject != p.ID || (changes.Records[0].Parameters == "") != (c.order.Text == "") {
				t.Errorf("records %+v", changes.Records)
			}
			f.restored(t)
			again := f.apply(model.Input{Command: &c.order}) // it is over
			if len(again.Proposals)+len(again.Records) > 0 || f.tables.proposals[p.ID].State != c.state {
				t.Errorf("changes %+v", again)
			}
		})
	}
}

// restored has the machine go on from its snapshot, which is the same again.
func (f *asking) restored(t *testing.T) {
	t.Helper()
	var first, second bytes.Buffer
	if err := f.m.Snapshot(&first); err != nil {
		t.Fatal(err)
	}
	m := New(f.m.compile)
	if err := m.Restore(bytes.NewReader(first.Bytes())); err != nil {
		t.Fatal(err)
	}
	if err := m.Snapshot(&second); err != nil || !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Fatal("another snapshot", err)
	}
	f.m = m
}

func TestProposalsAreBounded(t *testing.T) {
	f, p := proposed(t)
	for len(f.m.proposals) < model.MostProposals {
		f.m.proposals[strings.Repeat("x", len(f.m.proposals))] = &p
	}
	p.ID = "p-more"
	f.m.propose(p)
	if got := f.m.changed.proposals["p-more"]; got.State != model.ProposalRefused || !strings.Contains(got.Because, "10000 proposals wait") || len(f.m.proposals) != model.MostProposals {
		t.Errorf("%+v", got)
	}
}
