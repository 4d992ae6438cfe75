package store

import (
	"context"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/model"
)

func (w *writer) proposals(c decide.Changes) {
	for i := range c.Proposals {
		p := &c.Proposals[i]
		w.exec(`INSERT INTO proposals (id, case_number, state, made, doc)
			VALUES (?, (SELECT number FROM cases WHERE id = ?), ?, ?, ?)
			ON CONFLICT (id) DO UPDATE SET state = excluded.state, doc = excluded.doc`,
			p.ID, p.Case, string(p.State), p.At.UnixNano(), w.json(p))
	}
}

// MostProposals is how many a list of proposals has at most.
const MostProposals = 1000

// Proposals lists proposals in a state, or all, the latest first.
func (s *Store) Proposals(ctx context.Context, state model.ProposalState, limit int) ([]model.Proposal, error) {
	if limit <= 0 || limit > MostProposals {
		limit = MostProposals
	}
	return queryDocs[model.Proposal](ctx, s, `SELECT doc FROM proposals WHERE ?1 = '' OR state = ?1 ORDER BY made DESC, id LIMIT ?2`, string(state), limit)
}

// Proposal returns one.
func (s *Store) Proposal(ctx context.Context, id string) (model.Proposal, error) {
	return getDoc[model.Proposal](ctx, s, `SELECT doc FROM proposals WHERE id = ?`, id)
}

// CaseProposals lists the proposals of a case under all its ids, in the order in which
// they were made.
func (s *Store) CaseProposals(ctx context.Context, ids []string) ([]model.Proposal, error) {
	return queryDocs[model.Proposal](ctx, s, `SELECT doc FROM proposals WHERE case_number IN
		(SELECT number FROM cases WHERE id IN (SELECT value FROM json_each(?))) ORDER BY made, id`, list(ids))
}

// FindProposals lists the ids of proposals that begin with prefix.
func (s *Store) FindProposals(ctx context.Context, prefix string, limit int) ([]string, error) {
	return queryRows(ctx, s, func(scan scanner) (id string, err error) {
		return id, scan(&id)
	}, `SELECT id FROM proposals WHERE id >= ? AND id < ? ORDER BY id LIMIT ?`, prefix, prefix+"~", limit)
}

// PastSignals calls each with the newest signals and their payloads, at most limit of them,
// the newest first, with the cases that they are in now, until it fails.
func (s *Store) PastSignals(ctx context.Context, limit int, each func(g model.Signal, in string) error) error {
	rows, err := s.read.QueryContext(ctx, `SELECT s.doc, s.raw, c.id FROM signals s
		JOIN members m ON m.signal = s.number JOIN cases c ON c.number = m.case_number ORDER BY s.number DESC LIMIT ?`, limit)
	if err != nil {
		return classify(err)
	}
	defer rows.Close()
	for rows.Next() {
		var g model.Signal
		var in string
		var doc, raw []byte
		if err := rows.Scan(&doc, &raw, &in); err != nil {
			return err
		}
		if err := unmarshal(doc, &g); err != nil {
			return err
		}
		g.Raw = raw
		if err := each(g, in); err != nil {
			return err
		}
	}
	return classify(rows.Err())
}
