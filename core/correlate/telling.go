package correlate

import (
	"math"
	"slices"
)

// over tells whether no hit of a period can come any more, when all facts before next
// have.
func (w *Watch) over(period, next int64) bool {
	return next == math.MaxInt64 || period < w.period(next)
}

// periodEnd is the last time of a period.
func (w *Watch) periodEnd(n int64) int64 { return plus(w.periodStart(n), int64(w.Every)-1) }

// look finds the hits that a fact, which has just come to place i, has made or added
// to. It is for the eager kinds.
func (d *desk) look(w *Watch, p *pile, i int) {
	f := p.facts[i]
	var grown *told
	// Facts at the same time have each other in their intervals, whatever their place.
	for g := p.from(f.at); g < len(p.facts) && (p.facts[g].at <= f.at || w.inside(f.at, p.facts[g].at)); g++ {
		if w.Kind == Sequence && g != i && int(f.term) == w.steps()-1 {
			continue
		}
		number, ok := d.judge(w, p, g)
		if !ok || w.Kind == Sequence && g != i && !d.onTheWay(&f, w.steps()-1) {
			continue
		}
		k := &p.facts[g]
		k.hit = true
		if period := w.period(k.at); grown == nil || grown.period != period {
			grown = p.periodOf(period)
			grown.grown++
		}
		grown.number = max(grown.number, number)
	}
}

// settle finds the hits of which the time is in [from, next). It is for the settled
// kinds.
func (d *desk) settle(w *Watch, p *pile, from, next int64) {
	for i := range p.facts {
		k := &p.facts[i]
		at := k.hitAt(w)
		if at < from || at >= next {
			continue
		}
		if number, ok := d.judge(w, p, i); ok {
			k.hit = true
			t := p.periodOf(w.period(at))
			t.number = max(t.number, number)
			t.grown++
		}
	}
}

// tell returns the reports of the periods that have grown; of those that are over no
// more is remembered. A large report is told as it doubles and when its period is over,
// so that each fact of a flood costs the same.
func (d *desk) tell(w *Watch, p *pile, next int64) (reports []Report) {
	kept := p.told[:0]
	for i := range p.told {
		t := &p.told[i]
		over := w.over(t.period, next)
		if t.grown > 0 && (over || t.size <= MaxMembers || t.grown >= t.size) {
			r := d.report(w, p, t)
			r.Again = t.size > 0
			t.size, t.grown = uint64(r.Size), 0
			reports = append(reports, r)
		}
		if !over {
			kept = append(kept, *t)
		}
	}
	p.told = kept
	return reports
}

// members marks the facts that the hits of a period are made of, and returns the time
// of the earliest hit.
func (d *desk) members(w *Watch, p *pile, period int64) (earliest int64) {
	d.member = slices.Grow(d.member[:0], len(p.facts))[:len(p.facts)]
	clear(d.member)
	earliest = math.MaxInt64
	marked := 0
	for i := range p.facts {
		k := &p.facts[i]
		at := k.hitAt(w)
		if !k.hit || w.period(at) != period {
			continue
		}
		earliest = min(earliest, at)
		d.member[i] = true
		if w.Kind == First || w.Kind == Absence {
			continue
		}
		lo, hi := p.interval(w, k.at)
		if w.Kind == Sequence {
			d.sequence(w, p, i, lo, hi)
			for j := lo; j < hi; j++ {
				d.member[j] = d.member[j] || d.onTheWay(&p.facts[j], w.steps()-1)
			}
			continue
		}
		// The intervals begin and end no earlier than those before.
		for j := max(lo, marked); j < hi; j++ {
			d.member[j] = true
		}
		marked = max(marked, hi)
	}
	return earliest
}

func (d *desk) report(w *Watch, p *pile, t *told) Report {
	r := Report{
		Watch: w.Rule, Key: string(p.bytes(p.key)), Number: t.number,
		Bucket: fromTicks(w.periodStart(t.period)),
		Time:   fromTicks(d.members(w, p, t.period)),
	}
	d.numbers = slices.Grow(d.numbers[:0], len(p.words)+1)[:len(p.words)+1]
	clear(d.numbers)
	var last *kept
	for i := range p.facts {
		if !d.member[i] {
			continue
		}
		k := &p.facts[i]
		d.unite(p, k, &r)
		r.Severity = max(r.Severity, int(k.severity))
		if last != nil && p.sameEvent(last, k) {
			continue
		}
		at := fromTicks(k.at)
		if last == nil {
			r.First = at
		}
		last = k
		r.Last = at
		r.Size++
		if len(r.Members) < MaxMembers {
			r.Members = append(r.Members, FactRef{ID: string(p.bytes(k.id)), Seq: k.seq, Index: int(k.index), Term: int(k.term), Time: at})
		}
	}
	r.Size += int(t.lost)
	slices.SortFunc(r.Observables, byValue)
	slices.Sort(r.Techniques)
	return r
}

// unite adds the words of a fact to a report, as long as there is room.
func (d *desk) unite(p *pile, k *kept, r *Report) {
	for _, word := range p.notes[k.notes.off : k.notes.off+k.notes.n] {
		if d.numbers[word] != 0 {
			continue
		}
		d.numbers[word] = 1
		b := p.bytes(p.words[word-1])
		switch {
		case b[0] != techniqueWord:
			if len(r.Observables) < MaxObservables {
				r.Observables = append(r.Observables, readObservable(b))
			}
		case len(r.Techniques) < MaxObservables:
			r.Techniques = append(r.Techniques, string(b[1:]))
		}
	}
}
