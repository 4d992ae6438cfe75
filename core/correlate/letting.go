package correlate

import (
	"math"
	"slices"
)

// spent tells whether nothing that comes at next or later can have a fact at a time in
// its interval.
func (w *Watch) spent(at, next int64) bool {
	if next == math.MaxInt64 {
		return true
	}
	if at >= next {
		return false
	}
	d := uint64(next) - uint64(at)
	if w.Kind == First || w.Kind == Sequence || w.Kind == All {
		return d > uint64(w.Within)
	}
	return d >= uint64(w.Within)
}

// worth tells whether letting go of what is spent is worth the work: about a quarter of
// the facts is.
func (p *pile) worth(w *Watch, next int64) bool {
	n := len(p.facts)
	if n == 0 {
		return false
	}
	at := p.facts[n/4].at
	switch {
	case w.spent(p.facts[0].at, next) && w.Kind == First:
		return true
	case w.Kind == First:
		return n > 1 && p.facts[max(n/4, 1)].at < next
	case w.Kind == Absence:
		return at < next
	}
	return w.spent(at, next) && (len(p.told) == 0 || at < p.holds(w, p.told[0].period))
}

// holds is the time from which on facts may be members of a period.
func (p *pile) holds(w *Watch, period int64) int64 {
	start := w.periodStart(period)
	if from := start - int64(w.Within); from <= start {
		return from
	}
	return math.MinInt64
}

// release lets go of the facts that can have no part in a report any more, when all
// before next have come.
func (d *desk) release(w *Watch, p *pile, next int64) {
	if w.Kind == Spike && w.Within > 0 {
		first := floorDiv(next, int64(w.Within)) - 1 - w.past()
		p.slots = slices.DeleteFunc(p.slots, func(s slot) bool { return s.number < first || next == math.MaxInt64 })
	}
	complete := p.from(next)
	d.member = slices.Grow(d.member[:0], complete)[:complete]
	for i := range d.member {
		d.member[i] = !p.useless(w, i, complete, next) || p.held(w, &p.facts[i])
	}
	n := 0
	for i, stays := range d.member {
		if stays {
			p.facts[n] = p.facts[i]
			n++
		} else if w.cuts() && int(p.facts[i].term) == w.Terms-1 {
			p.cuts--
		}
	}
	p.facts = append(p.facts[:n], p.facts[complete:]...)
}

// useless tells whether the fact in place i has no part in what others that come make;
// the first facts, so many, are complete.
func (p *pile) useless(w *Watch, i, complete int, next int64) bool {
	k := &p.facts[i]
	switch w.Kind {
	case First: // it is the latest that counts
		return i < complete-1 || w.spent(k.at, next)
	case Absence: // what has come answers nothing that is still to come; it goes with what it answered
		return k.term != 0 || k.hitAt(w) < next || p.answered(w, i)
	}
	return w.spent(k.at, next)
}

// held tells whether a fact may be a member of a period of which something is told.
func (p *pile) held(w *Watch, k *kept) bool {
	if (w.Kind == First || w.Kind == Absence) && !k.hit {
		return false
	}
	for _, t := range p.told {
		if k.at >= p.holds(w, t.period) && k.at <= w.periodEnd(t.period) {
			return true
		}
	}
	return false
}

// thin makes room where there are too many facts. The first MaxMembers stay, since they
// are what reports list; of the rest the earliest of the most frequent term go.
func (p *pile) thin(w *Watch) (gone int) {
	// So many that those that are left are Least at the least.
	most := max(MaxFacts, w.Least+w.Least/4+2*MaxMembers)
	if len(p.facts) < most {
		return 0
	}
	var count [maxTerms]int
	for i := MaxMembers; i < len(p.facts); i++ {
		count[p.facts[i].term]++
	}
	term := 0
	for t, n := range count {
		if n > count[term] {
			term = t
		}
	}
	n, drop := MaxMembers, min(most/8, count[term]/2+1)
	for i := MaxMembers; i < len(p.facts); i++ {
		k := p.facts[i]
		if gone == drop || int(k.term) != term {
			p.facts[n] = k
			n++
			continue
		}
		gone++
		if w.cuts() && term == w.Terms-1 {
			p.cuts--
		}
		for j := range p.told {
			if t := &p.told[j]; k.at >= p.holds(w, t.period) && k.at <= w.periodEnd(t.period) {
				t.lost++
			}
		}
	}
	p.facts = p.facts[:n]
	return gone
}

// due is when a pile has to be looked at: a hit settles, a period is over that has
// grown, or all that it holds is useless. It is not before next.
func (p *pile) due(w *Watch, next int64) int64 {
	due := int64(math.MinInt64)
	if n := len(p.facts); n > 0 {
		due = later(p.facts[n-1].at, w.Within)
	}
	if n := len(p.slots); n > 0 {
		width := int64(w.Within)
		due = max(due, min(plus(startOf(p.slots[n-1].number, width), times(w.past()+2, width)), math.MaxInt64-1))
	}
	for _, t := range p.told {
		due = max(due, min(w.periodEnd(t.period), math.MaxInt64-1))
	}
	for _, t := range p.told {
		if t.grown > 0 {
			due = min(due, w.periodEnd(t.period))
		}
	}
	if !w.eager() {
		due = min(due, p.settles(w, next))
	}
	return max(due, next)
}

// settles is the time of the first hit that is not settled, if it is one.
func (p *pile) settles(w *Watch, next int64) int64 {
	if w.Kind == Absence {
		for i := range p.facts {
			if k := &p.facts[i]; k.term == 0 && !k.hit && k.hitAt(w) >= next {
				return k.hitAt(w)
			}
		}
	} else if i := p.from(next); i < len(p.facts) {
		return p.facts[i].at
	}
	return math.MaxInt64 - 1
}
