package decide

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/kelpie-sec/kelpie/core/model"
)

// propose opens a proposal. Where too many wait already it is refused at once, so that what
// waits is bounded and nothing is lost unseen.
func (m *Machine) propose(p model.Proposal) {
	if len(m.proposals) >= model.MostProposals {
		p.State, p.EndedAt = model.ProposalRefused, m.at
		p.Because = fmt.Sprintf("%d proposals wait already", len(m.proposals))
	} else {
		m.proposals[p.ID] = &p
	}
	m.changed.proposals[p.ID] = p
	m.record(model.Record{
		Kind: model.RecordProposal, Subject: p.ID, Case: p.Case, To: string(p.State), Message: string(p.Kind),
		By: p.By, Because: p.Reason, Reference: p.Question,
	})
}

// endProposal takes what an engineer decided of a proposal. It changes nothing of one that
// does not wait, nor by who has not the role for it.
func (m *Machine) endProposal(c *model.Command) {
	p := m.proposals[c.Proposal]
	if p == nil || m.settings == nil || len(c.Text) > model.MostProposalText || m.settings.Plan.MayConfigure(c.By) != "" {
		return
	}
	ended := *p
	ended.State = model.ProposalAccepted
	if c.Kind == model.RefuseProposal {
		ended.State = model.ProposalRefused
	}
	ended.EndedBy, ended.Because, ended.EndedAt, ended.Text = clip(c.By), clip(c.Because), m.at, c.Text
	if user := m.settings.Plan.Person(c.By); user != nil {
		ended.EndedBy = user.Name
	}
	delete(m.proposals, p.ID)
	m.changed.proposals[p.ID] = ended
	r := model.Record{
		Kind: model.RecordProposal, Subject: p.ID, Case: p.Case, From: string(p.State), To: string(ended.State), Message: string(p.Kind),
		By: ended.EndedBy, Because: ended.Because, Reference: p.Question,
	}
	if c.Text != "" {
		sum := sha256.Sum256([]byte(c.Text))
		r.Parameters = hex.EncodeToString(sum[:])
	}
	m.record(r)
}
