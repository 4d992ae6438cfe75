package decide

import (
	"context"
	"fmt"
	"slices"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// recaller brings back into memory what an input needs of what has left it.
type recaller struct {
	store  Store
	filter filter
	// replayed are recalls that were made before, and are to be made again as they were
	// then although the store is ahead: those after from, as far as they were read.
	replayed []Recall
	from     Position
	read     bool   // there are no more in the store
	now      Recall // of the input that is being applied again
}

// start reads what has left memory.
func (r *recaller) start(ctx context.Context, from Position) error {
	r.filter, r.replayed, r.from, r.read, r.now = filter{}, nil, from, false, Recall{}
	if err := r.store.Away(ctx, r.filter.add); err != nil {
		return fmt.Errorf("what is settled: %w", err)
	}
	return nil
}

// maxRounds bounds how often one input's needs are asked for: a case needs what is
// known of its values, these of the values that they name, and so on.
const maxRounds = 16

// need is what an input needs, or its next step if in is nil, round after round, until all of it is there.
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

// again makes the recall that was made before an input, or before a further step of it.
func (r *recaller) again(ctx context.Context, m *Machine, at Position, step int) error {
	if step == 0 {
		if err := r.find(ctx, at); err != nil {
			return err
		}
	}
	return r.now.bring(m, step)
}

// find makes the recall of an input that of now. Inputs come in their order.
func (r *recaller) find(ctx context.Context, at Position) error {
	r.now = Recall{}
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
		if r.replayed[0].Position == at { // else it is of before the checkpoint
			r.now = r.replayed[0]
		}
		r.replayed = r.replayed[1:]
	}
	return nil
}

// bring brings what was brought before one step of an input.
func (r *Recall) bring(m *Machine, step int) error {
	for _, round := range r.Rounds {
		if round.Step != step {
			continue
		}
		if err := m.Bring(round); err != nil {
			return err
		}
	}
	return nil
}

// recallsRead is how many recalls are read at once.
const recallsRead = 64

// recall brings back what an input needs, or a further step of it, and then in is nil.
func (l *Loop) recall(ctx context.Context, at Position, in *model.Input, step int) error {
	r := &l.recaller
	if !at.After(l.committed) {
		return r.again(ctx, l.machine, at, step)
	}
	if r.filter.empty() {
		return nil // nothing ever left
	}
	rounds, err := need(l.machine, in, r.filter.has, func(w Wanted) (Recalled, error) {
		if err := l.known(ctx, &w); err != nil {
			return Recalled{}, err
		}
		back := l.backAlready()
		found, err := l.Store.Recall(ctx, w)
		if err != nil {
			return found, fmt.Errorf("recall for input %d.%d: %w", at.Seq, at.Part, err)
		}
		found.without(back)
		return found, nil
	})
	if err == nil {
		l.machine.recalled(at, step, rounds)
	}
	return err
}

// without takes out the rows of some numbers.
func (r *Recalled) without(numbers []int64) {
	has := func(b Back) bool { return slices.Contains(numbers, b.Number) }
	r.Cases, r.Plans = slices.DeleteFunc(r.Cases, has), slices.DeleteFunc(r.Plans, has)
}

// recalled notes what was brought back for a step of an input.
func (m *Machine) recalled(at Position, step int, rounds []Recalled) {
	for i := range rounds {
		rounds[i].Step = step
	}
	all := m.changed.recalls
	switch n := len(all); {
	case len(rounds) == 0:
	case n > 0 && all[n-1].Position == at:
		all[n-1].Rounds = append(all[n-1].Rounds, rounds...)
	default:
		m.changed.recalls = append(all, Recall{at, rounds})
	}
}

// Wanted is what an input needs of what is not in memory.
type Wanted struct {
	// Signals by id: the cases that have them.
	Signals []string
	// Names are first ids: the cases that they are of now. Of those of Plans nothing but
	// what was planned.
	Names, Plans []string
	// Intents by id: the cases that they were planned for.
	Intents []string
	// Questions by id: the cases that they were asked about.
	Questions []string
	// Values by hash: the cases that are not over and have them. A case is over if its
	// Last is before Horizon and its Changed not after Quiet.
	Values         []uint64
	Horizon, Quiet int64
	// Lookups are values, and Asks ids of asks about values: what Enrichments have
	// said of them.
	Lookups     []sdk.Observable
	Asks        []string
	Enrichments []string
}

func (w *Wanted) empty() bool {
	return len(w.Signals)+len(w.Names)+len(w.Plans)+len(w.Intents)+len(w.Questions)+len(w.Values)+len(w.Lookups)+len(w.Asks) == 0
}

// recall finds out what an input needs, round after round: what comes back may need
// more.
type recall struct {
	m     *Machine
	maybe func(hash uint64) bool // may be away; false: surely not
	asked map[string]bool
	w     Wanted
}

func (r *recall) want(kind, key string) bool {
	k := kind + key
	if r.asked[k] {
		return false
	}
	r.asked[k] = true
	return true
}

// next is what is wanted now.
func (r *recall) next(in *model.Input) Wanted {
	m := r.m
	r.w = Wanted{Horizon: m.horizon, Quiet: m.quietSince()}
	switch {
	case in == nil:
		r.step()
	case in.Match != nil:
		r.match(in.Match)
	case in.Reply != nil:
		r.reply(in.Reply)
	case in.Outcome != nil:
		r.intent(in.Outcome.Intent)
	case in.Command != nil:
		r.command(in.Command)
	}
	for _, n := range m.brought {
		for _, ref := range m.index.Refs(n) {
			r.lookups(m.index.Observable(ref.Value), maxDepth+1)
		}
		if cs := m.cases[m.index.Group(n)]; cs.earliest == n {
			for _, name := range cs.names {
				// What was planned under a name that another case has as well.
				if _, there := m.firsts[name]; !there && r.maybe(hashOf(name)) && r.want("p", name) {
					r.w.Plans = append(r.w.Plans, name)
				}
			}
		}
	}
	if len(r.w.Lookups)+len(r.w.Asks) > 0 && m.settings != nil {
		for i := range m.settings.Sources {
			r.w.Enrichments = append(r.w.Enrichments, m.settings.Sources[i].Address)
		}
	}
	return r.w
}

func (r *recall) match(in *model.MatchResult) {
	if in.Source == "" || r.m.events.Has(in.Seq) {
		return
	}
	for i := range in.Signals {
		s := &in.Signals[i]
		r.whole(s)
	}
}

// whole wants all that a signal has to do with.
func (r *recall) whole(s *model.Signal) {
	r.signal(s.ID)
	if s.Experimental {
		return // it joins nothing
	}
	for _, o := range s.Observables {
		if r.m.index.NeverJoins(o) {
			r.lookups(o, maxDepth+1)
			continue
		}
		r.value(o)
		r.lookups(o, maxDepth+1)
	}
	for _, o := range r.m.same(s.Observables, s.Time) {
		r.value(o)
	}
}

// step wants what the next step of the input that is being applied needs.
func (r *recall) step() {
	s := &r.m.several
	for _, report := range r.m.reportsInOrder() {
		in := r.m.signalOf(&report)
		r.whole(&in)
	}
	for i := range s.singles {
		r.whole(&s.singles[i])
	}
	for _, w := range s.ready {
		r.signal(w.ID)
	}
}

// value wants the cases that are not over and have a value, if it joins.
func (r *recall) value(o sdk.Observable) {
	if !r.m.index.NeverJoins(o) {
		r.having(o)
	}
}

func (r *recall) having(o sdk.Observable) {
	if h := hashOf(o.Key()); r.maybe(h) && r.want("v", o.Key()) {
		r.w.Values = append(r.w.Values, h)
	}
}

func (r *recall) command(c *model.Command) {
	if c.Intent != "" {
		r.intent(c.Intent)
	}
	if c.Kind == model.EndCase || c.Kind == model.ReopenCase {
		r.name(c.Case)
	}
	if c.Kind == model.Choose {
		r.question(c.Question)
	}
	if c.Kind == model.NeverJoin {
		if o, err := sdk.ParseKey(c.Value); err == nil {
			r.value(o)
		}
	}
	signals := c.Signals
	if c.Kind == model.UndoDecision {
		if at := r.m.standing(c.Decision); at >= 0 {
			signals = r.m.decisions[at].Signals
			r.having(r.m.decisions[at].Value)
		}
	}
	for _, id := range signals[:min(len(signals), model.MostSplit)] {
		r.signal(id)
		// What a split had taken them from is what they share values with.
		if n, there := r.m.index.Signal(id); there && c.Kind == model.UndoDecision {
			for _, ref := range r.m.index.Refs(n) {
				r.value(r.m.index.Observable(ref.Value))
			}
		}
	}
}

func (r *recall) signal(id string) {
	if _, there := r.m.index.Signal(id); !there && r.maybe(hashOf(id)) && r.want("s", id) {
		r.w.Signals = append(r.w.Signals, id)
	}
}

func (r *recall) name(id string) {
	if _, there := r.m.firsts[id]; !there && r.maybe(hashOf(id)) && r.want("n", id) {
		r.w.Names = append(r.w.Names, id)
	}
}

func (r *recall) reply(in *model.Reply) {
	l := r.m.asks[in.Ask]
	switch {
	case l == nil && r.want("a", in.Ask):
		r.w.Asks = append(r.w.Asks, in.Ask)
	case l != nil: // the severity of its case goes with what is asked in turn
		r.signal(l.signal)
		r.named(l, in)
	}
	eachNamed(in, func(o sdk.Observable) { r.lookups(o, maxDepth+1) })
}

// named wants the cases of who is named otherwise now, and of who has these names.
func (r *recall) named(l *lookup, in *model.Reply) {
	o := r.m.index.Observable(l.value)
	names := namings(o, in)
	if l.src == nil || !l.src.Internal || len(names)+len(l.namings) == 0 {
		return
	}
	r.value(o)
	for _, n := range append(names, l.namings...) {
		for _, o := range n.names {
			r.value(o)
		}
	}
}

func (r *recall) intent(id string) {
	if in := r.m.intents[id]; in != nil {
		r.name(in.Case)
		if in.State == model.IntentUnknown { // what takes its outcome may have left
			for _, name := range in.Of {
				r.name(name)
			}
		}
	} else if r.want("i", id) {
		r.w.Intents = append(r.w.Intents, id)
	}
}

func (r *recall) question(id string) {
	if q := r.m.questions[id]; q != nil {
		r.name(q.Case)
	} else if id != "" && r.want("q", id) {
		r.w.Questions = append(r.w.Questions, id)
	}
}

// lookups wants what is known of a value and, so far, of those that this names.
func (r *recall) lookups(o sdk.Observable, depth int) {
	if r.m.settings == nil || len(r.m.settings.Sources) == 0 {
		return // what enrichments that are no more have said is not brought back
	}
	v, ok := r.m.index.Lookup(o)
	if !ok || len(r.m.lookupsOf(v)) == 0 {
		if key := o.Key(); r.maybe(hashOf(key)) && r.want("l", key) {
			o.Role = ""
			r.w.Lookups = append(r.w.Lookups, o)
		}
		return
	}
	if depth == 0 {
		return
	}
	for _, l := range r.m.lookupsOf(v) {
		for _, n := range l.named {
			r.lookups(r.m.index.Observable(n), depth-1)
		}
	}
}
