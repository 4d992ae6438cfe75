package decide

import (
	"context"
	"fmt"

	"github.com/kelpie-sec/kelpie/core/model"
)

// recaller brings back into memory what an input needs of what has left it.
type recaller struct {
	store  Store
	filter filter
	// replayed are recalls that were made before, and are to be made again as they were
	// then although the store is ahead: those after from, as far as they were read.
	replayed []Recall
	from     Position
	read     bool // there are no more in the store
}

// start reads what has left memory.
func (r *recaller) start(ctx context.Context, from Position) error {
	r.filter, r.replayed, r.from, r.read = filter{}, nil, from, false
	if err := r.store.Away(ctx, r.filter.add); err != nil {
		return fmt.Errorf("what is settled: %w", err)
	}
	return nil
}

// maxRounds bounds how often one input's needs are asked for: a case needs what is
// known of its values, these of the values that they name, and so on.
const maxRounds = 16

// need is what an input needs, round after round, until all of it is there.
func need(m *Machine, in *model.Input, maybe func(uint64) bool, find func(Wanted) (Recalled, error)) ([]Recalled, error) {
	r := recall{m: m, maybe: maybe, asked: map[string]bool{}}
	var rounds []Recalled
	for range maxRounds {
		w := r.next(in)
		if w.empty() {
			break
		}
		found, err := find(w)
		if err != nil {
			return nil, err
		}
		if found.empty() {
			continue
		}
		if err := m.Bring(found); err != nil {
			return nil, err
		}
		rounds = append(rounds, found)
	}
	return rounds, nil
}

// again makes the recall that was made before an input.
func (r *recaller) again(ctx context.Context, m *Machine, at Position) error {
	for len(r.replayed) == 0 && !r.read {
		var err error
		if r.replayed, err = r.store.Recalls(ctx, r.from, recallsRead); err != nil {
			return fmt.Errorf("recalls after %d.%d: %w", r.from.Seq, r.from.Part, err)
		}
		r.read = len(r.replayed) < recallsRead
		if n := len(r.replayed); n > 0 {
			r.from = r.replayed[n-1].Position
		}
	}
	for len(r.replayed) > 0 && !r.replayed[0].Position.After(at) {
		next := r.replayed[0]
		r.replayed = r.replayed[1:]
		if next.Position != at {
			continue // of before the checkpoint
		}
		for _, round := range next.Rounds {
			if err := m.Bring(round); err != nil {
				return err
			}
		}
	}
	return nil
}

// recallsRead is how many recalls are read at once.
const recallsRead = 64

// recall brings back what an input needs.
func (l *Loop) recall(ctx context.Context, at Position, in *model.Input) error {
	r := &l.recaller
	if !at.After(l.committed) {
		return r.again(ctx, l.machine, at)
	}
	if r.filter.empty() {
		return nil // nothing ever left
	}
	rounds, err := need(l.machine, in, r.filter.has, func(w Wanted) (Recalled, error) {
		if l.machine.Left() { // the store has to know of it first
			if err := l.commit(ctx); err != nil {
				return Recalled{}, err
			}
		}
		found, err := l.Store.Recall(ctx, w)
		if err != nil {
			return found, fmt.Errorf("recall for input %d.%d: %w", at.Seq, at.Part, err)
		}
		return found, nil
	})
	if err == nil && len(rounds) > 0 {
		l.machine.changed.recalls = append(l.machine.changed.recalls, Recall{at, rounds})
	}
	return err
}
