package api

import (
	"strings"
	"testing"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/model"
)

// TestProposalRequests: who may, and what becomes of it, is told.
func TestProposalRequests(t *testing.T) {
	w := newWorld(t)
	casesAndIntents(w)
	p := model.Proposal{ID: "p-aa1", Kind: model.ProposeIgnore, State: model.ProposalOpen, Case: "c-aa11", By: "kim", At: noon}
	over := p
	over.ID, over.State, over.EndedBy = "p-aa2", model.ProposalRefused, "lee"
	seq := uint64(200)
	commit := func(all ...model.Proposal) {
		seq++
		w.commit(decide.Changes{Position: decide.Position{Seq: seq}, At: noon, Proposals: all})
	}
	commit(p, over)
	w.engine.decide = func(c model.Command) {
		if c.Because == "not taken" {
			return
		}
		p.EndedBy, p.State, p.Text = c.By, model.ProposalAccepted, c.Text
		if c.Kind == model.RefuseProposal {
			p.State = model.ProposalRefused
		}
		commit(p)
		p.EndedBy, p.State, p.Text = "", model.ProposalOpen, ""
	}
	for _, c := range []struct {
		name, method, path, body string
		code                     int
		want                     string
	}{
		{"all", "GET", "/v1/proposals", "", 200, `"p-aa2"`},
		{"open", "GET", "/v1/proposals?state=open", "", 200, `[{"id":"p-aa1"`},
		{"of an odd state", "GET", "/v1/proposals?state=lost", "", 400, "state must be one of open, accepted, refused"},
		{"one", "GET", "/v1/proposals/aa1", "", 200, `"draft":{"name":"n"`},
		{"one that is over", "GET", "/v1/proposals/p-aa2", "", 200, `"state":"refused"`},
		{"several", "GET", "/v1/proposals/p-aa", "", 409, "more than one proposal begins with p-aa"},
		{"none", "GET", "/v1/proposals/p-zz", "", 404, "there is no proposal p-zz"},
		{"a day that is none", "GET", "/v1/proposals/p-aa1?expires=soon", "", 400, "a last day is written as"},
		{"a day that is over", "GET", "/v1/proposals/p-aa1?expires=2020-01-01", "", 400, "can't end before today"},
		{"too long", "GET", "/v1/proposals/p-aa1?expires=2036-01-01", "", 400, "at most 366 days"},
		{"by nobody", "POST", "/v1/proposals/p-aa1/accept", `{"by":" "}`, 400, "says by whom"},
		{"without the role", "POST", "/v1/proposals/p-aa1/accept", `{"by":"eve"}`, 403, "does not have the role engineer"},
		{"refused without the role", "POST", "/v1/proposals/p-aa1/refuse", `{"by":"eve","because":"no"}`, 403, "does not have the role engineer"},
		{"over already", "POST", "/v1/proposals/p-aa2/accept", `{"by":"lee"}`, 409, "was refused already, by lee"},
		{"refused without a reason", "POST", "/v1/proposals/p-aa1/refuse", `{"by":"lee"}`, 400, "say why it is refused"},
		{"not taken", "POST", "/v1/proposals/p-aa1/accept", `{"by":"lee","because":"not taken"}`, 409, "the order was not taken"},
		{"a rule", "GET", "/v1/cases/c-aa11/rule?name=mine", "", 200, `"text":"rule of c-aa11"`},
		{"a rule with a default name", "GET", "/v1/cases/c-aa11/rule", "", 200, `"name":"draft_aa11"`},
		{"a rule with an odd name", "GET", "/v1/cases/c-aa11/rule?name=A%22", "", 400, "small letters"},
		{"refused", "POST", "/v1/proposals/p-aa1/refuse", `{"by":"lee","because":"too wide"}`, 200, `"state":"refused"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.t = t
			code, body := w.do(c.method, c.path, strings.NewReader(c.body))
			if code != c.code || !strings.Contains(string(body), c.want) {
				t.Errorf("%d %.300s, want %d with %s", code, body, c.code, c.want)
			}
		})
	}
}
