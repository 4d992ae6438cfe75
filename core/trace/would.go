package trace

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/store"
	"github.com/kelpie-sec/kelpie/sdk"
)

// rehearsal is a machine of its own, which is given signals and what is stored of
// answers and outcomes, to see what it makes of them. Nothing comes of it.
type rehearsal struct {
	t       *Tracer
	machine *decide.Machine
	seq     uint64
	lookups []store.Lookup // what it asked, with the answers that there were
}

// maxRounds bounds how often answers and outcomes lead to further questions and steps.
const maxRounds = 8

// would says what the configuration makes of signals, and tells the cases of some of
// them, by their ids. What became of intents is taken for that of the steps that are
// planned again.
func (t *Tracer) would(ctx context.Context, signals []model.Signal, tell []string, intents []model.Intent) ([]Case, error) {
	r := &rehearsal{t: t, machine: decide.New(func(model.Config) (*decide.Settings, error) { return t.Decide, nil })}
	if err := r.apply(model.Input{Config: &model.Config{Hash: t.Hash}}); err != nil {
		return nil, err
	}
	signals = slices.SortedStableFunc(slices.Values(signals), func(a, b model.Signal) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.ID, b.ID))
	})
	for i := range signals {
		g := signals[i]
		g.Raw, g.Position = nil, model.Position{Seq: uint64(i + 1)}
		if err := r.apply(model.Input{Match: &model.MatchResult{
			Seq: g.Position.Seq, Source: g.Source, Count: 1, Config: t.Hash, Signals: []model.Signal{g},
		}}); err != nil {
			return nil, err
		}
	}
	if err := r.goOn(ctx, intents); err != nil {
		return nil, err
	}
	return r.told(tell, signals), nil
}

func (r *rehearsal) apply(in model.Input) error {
	r.seq++
	in.At = r.t.Now
	if err := r.machine.Apply(r.seq, 0, in); err != nil {
		return fmt.Errorf("rehearsal: %w", err)
	}
	return nil
}

// goOn gives the machine what is stored of answers to what it asks, and of outcomes of
// what it plans, until it wants nothing more.
func (r *rehearsal) goOn(ctx context.Context, intents []model.Intent) error {
	for range maxRounds {
		c := r.machine.Changes()
		known, err := r.answers(ctx, c.Asks)
		if err != nil {
			return err
		}
		for i := range known {
			if err := r.apply(model.Input{Reply: &known[i]}); err != nil {
				return err
			}
		}
		ended := outcomes(c.Planned(), intents)
		for i := range ended {
			if err := r.apply(model.Input{Outcome: &ended[i]}); err != nil {
				return err
			}
		}
		if len(known)+len(ended) == 0 {
			return nil
		}
	}
	return nil
}

// answers are what is stored of the answers to new questions.
func (r *rehearsal) answers(ctx context.Context, asks []model.Ask) ([]model.Reply, error) {
	if len(asks) == 0 {
		return nil, nil
	}
	var about []sdk.Observable
	for _, a := range asks {
		if o := plain(a.Observable); !slices.Contains(about, o) {
			about = append(about, o)
		}
	}
	var stored []store.Lookup
	if r.t.Store != nil {
		var err error
		if stored, err = r.t.Store.Lookups(ctx, about); err != nil {
			return nil, err
		}
	}
	var known []model.Reply
	for _, a := range asks {
		l := store.Lookup{Ask: a}
		at := slices.IndexFunc(stored, func(s store.Lookup) bool {
			return s.Ask.Enrichment == a.Enrichment && plain(s.Ask.Observable) == plain(a.Observable) && s.Reply != nil
		})
		if at >= 0 {
			reply := *stored[at].Reply
			reply.Ask = a.ID
			l.Ask.AskedAt, l.Reply = stored[at].Ask.AskedAt, &reply
			known = append(known, reply)
		}
		r.lookups = append(r.lookups, l)
	}
	return known, nil
}

func plain(o sdk.Observable) sdk.Observable {
	o.Role = sdk.NoRole
	return o
}

// outcomes are what became of the stored steps that are those that were planned again.
func outcomes(planned, stored []model.Intent) []model.Outcome {
	var all []model.Outcome
	for _, p := range planned {
		at := slices.IndexFunc(stored, func(s model.Intent) bool {
			return s.Undoes == "" && s.Preview == p.Preview && (s.Question == "") == (p.Question == "") && s.Response == p.Response && s.Step == p.Step && s.Verb == p.Verb && s.Round == p.Round &&
				s.Target.Kind == p.Target.Kind && s.Target.Value == p.Target.Value
		})
		if at < 0 || p.Undoes != "" || !stored[at].State.Final() {
			continue
		}
		s := &stored[at]
		state := s.State
		if state == model.IntentUndone {
			state = model.IntentDone
		}
		all = append(all, model.Outcome{Intent: p.ID, State: state, Attempts: s.Attempts, Message: s.Message})
	}
	return all
}

// told are the cases of these signals as the machine has them.
func (r *rehearsal) told(tell []string, signals []model.Signal) []Case {
	var cases []Case
	for _, id := range tell {
		in := r.machine.CaseOf(id)
		at := slices.IndexFunc(cases, func(c Case) bool { return c.ID == in })
		if at < 0 {
			traced, ok := r.machine.Trace(id, r.t.Why)
			if !ok {
				continue
			}
			at = len(cases)
			cases = append(cases, Case{Case: traced.Case, Would: true, Responses: traced.Responses, Intents: traced.Intents, Lookups: []store.Lookup{}})
		}
		cases[at].Own = append(cases[at].Own, id)
	}
	for i := range cases {
		c := &cases[i]
		for _, l := range r.lookups {
			if r.machine.CaseOf(l.Ask.Signal) == c.ID {
				c.Lookups = append(c.Lookups, l)
			}
		}
		members := slices.DeleteFunc(slices.Clone(signals), func(g model.Signal) bool { return r.machine.CaseOf(g.ID) != c.ID })
		c.Shared = r.t.shared(c.Own, members)
		r.t.showCase(c)
	}
	return cases
}
