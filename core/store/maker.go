package store

import (
	"context"
	"errors"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/respond"
)

// Maker is an instance that is needed at the address of an action.
type Maker struct {
	Action string
	respond.Maker
}

// attemptsInDoubt are those of pending steps of which nobody knows what became of them.
const attemptsInDoubt = `SELECT a.doc FROM intents i INDEXED BY intents_pending JOIN attempts a ON a.intent = i.number
	WHERE i.state = 'pending' AND a.state IN ('claimed', 'unknown') ORDER BY i.number, a.number`

// Makers lists, each once, the action instances that did what is held, or may have done
// what is pending.
func (s *Store) Makers(ctx context.Context) ([]Maker, error) {
	attempts, err := queryDocs[respond.Attempt](ctx, s, attemptsInDoubt)
	if err != nil {
		return nil, err
	}
	holds, err := s.Holds(ctx, false)
	if err != nil {
		return nil, err
	}
	for _, h := range holds {
		of, err := s.Attempts(ctx, h.Intent)
		if err != nil {
			return nil, err
		}
		if len(of) > 0 {
			attempts = append(attempts, of[len(of)-1])
		}
	}
	var all []Maker
	known := map[string]bool{}
	for _, a := range attempts {
		in, err := s.Intent(ctx, a.Intent)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if in.Undoes != "" || in.DryRun {
			continue // whom an undo is for, the hold tells; what was only tried nobody has to tell of
		}
		if key := in.Action + " " + a.Maker.Instance; !known[key] {
			known[key] = true
			all = append(all, Maker{in.Action, a.Maker})
		}
	}
	return all, nil
}

// attemptsCalled are those of an action's pending steps that are not known to have done
// nothing.
const attemptsCalled = `SELECT a.doc FROM intents i INDEXED BY intents_pending JOIN attempts a ON a.intent = i.number
	WHERE i.state = 'pending' AND i.action = ? AND a.state != 'failed' ORDER BY i.number, a.number`

// Called lists the attempts of an action's pending steps that took effect, or may have.
func (s *Store) Called(ctx context.Context, action string) ([]respond.Attempt, error) {
	return queryDocs[respond.Attempt](ctx, s, attemptsCalled, action)
}

// ConfigVersion returns a configuration that was in force, by its hash.
func (s *Store) ConfigVersion(ctx context.Context, hash string) (decide.ConfigVersion, error) {
	return getDoc[decide.ConfigVersion](ctx, s, `SELECT doc FROM config_versions WHERE hash = ?`, hash)
}

// TablesSince are the hashes of the tables of all configurations that were in force at a
// sequence of INPUTS, or came into force after it.
func (s *Store) TablesSince(ctx context.Context, seq uint64) ([]string, error) {
	versions, err := queryDocs[decide.ConfigVersion](ctx, s, `SELECT doc FROM config_versions
		WHERE seq >= coalesce((SELECT max(seq) FROM config_versions WHERE seq <= ?), 0)`, int64(seq))
	var hashes []string
	for _, v := range versions {
		for _, hash := range v.Tables {
			hashes = append(hashes, hash)
		}
	}
	return hashes, err
}
