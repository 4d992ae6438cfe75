package engine

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/store"
)

// TestProposals: an ignore is tried on the past, and one that would have hidden a true
// positive can't be accepted; what is written is put back if the configuration is refused.
func TestProposals(t *testing.T) {
	w := newWorld(t, standard)
	var feed strings.Builder
	for _, from := range []string{"198.51.100.7", "198.51.100.8"} {
		fmt.Fprintf(&feed, `{"kind":"alert","time":%q,"from":%q}`+"\n", time.Now().UTC().Format(time.RFC3339), from)
	}
	w.write("feed.json", feed.String())
	r := w.live(nil)
	ctx := context.Background()
	var cases []model.Case
	r.until("two cases", func() bool {
		var err error
		cases, err = r.k.store.Cases(ctx, store.CaseQuery{})
		w.check(err)
		return len(cases) == 2
	})
	p := model.Proposal{
		ID: "p-12345678", Kind: model.ProposeIgnore, State: model.ProposalOpen, Case: cases[0].ID, Rules: cases[0].Rules, By: "kim", Reason: "expected",
	}
	expires := time.Now().AddDate(0, 0, 30)
	d, err := r.k.Draft(ctx, p, expires)
	w.check(err)
	if d.Problem != "" || d.Own != 1 || d.Recent != 1 || d.Looked != 2 || d.File != w.path("config.hcl") || !strings.Contains(d.Text, `event.raw.from == "198.51.100.`) {
		t.Fatalf("%+v", d)
	}

	before := w.readFile("config.hcl")
	broken := before + "\nnonsense {}\n"
	w.configure(broken)
	if _, err := r.k.AcceptProposal(ctx, p, "kim", "", expires); err == nil || !strings.Contains(err.Error(), "is as it was") {
		t.Errorf("with a configuration that is refused: %v", err)
	}
	if w.readFile("config.hcl") != broken {
		t.Errorf("the file is not as it was:\n%s", w.readFile("config.hcl"))
	}
	w.configure(before)
	d, err = r.k.AcceptProposal(ctx, p, "kim", "", expires)
	w.check(err)
	if got := w.readFile("config.hcl"); got != before+"\n"+d.Text {
		t.Errorf("the file is\n%s", got)
	}
	again, err := r.k.Draft(ctx, p, expires.AddDate(0, 0, 1)) // as after an end before the order was written
	w.check(err)
	if !again.Written || again.Text != d.Text || again.Problem != "" {
		t.Errorf("%+v", again)
	}
	r.end()

	// The other case was a true positive.
	k := w.open()
	defer k.Close()
	other := cases[1]
	other.Finding = &model.Finding{Kind: model.TruePositive, By: "lee"}
	w.check(k.store.Commit(ctx, decide.Changes{Cases: []model.Case{other}}))
	p.ID, p.Case, p.Rules = "p-87654321", other.ID, other.Rules
	d, err = k.Draft(ctx, p, expires)
	w.check(err)
	if len(d.Hides) != 1 || d.Hides[0].Case != other.ID || !strings.Contains(d.Problem, "would have hidden a signal of case "+other.ID) {
		t.Errorf("%+v", d)
	}
	if _, err := k.AcceptProposal(ctx, p, "kim", "", expires); err == nil {
		t.Error("accepted where Kelpie does not run")
	}
}
