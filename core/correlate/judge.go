package correlate

import (
	"math"
	"math/bits"
	"slices"
)

// desk is where piles are worked on: what one piece of work needs no longer than it
// lasts.
type desk struct {
	pile    pile
	packed  []byte
	live    int      // bytes of the words of what was packed last
	numbers []uint32 // by word
	used    []uint32
	member  []bool // by fact
	values  []int64
	masks   []uint64
	taken   []int16
	visited []bool

	// Of a sequence: by when its first n terms can have come, and until when term n has
	// to come.
	early, latest [maxTerms + 1]int64
	reached, need int
}

// judge tells whether the fact in a place is a hit, and what was counted.
func (d *desk) judge(w *Watch, p *pile, i int) (number int64, ok bool) {
	k := &p.facts[i]
	switch w.Kind {
	case Absence:
		return 1000, k.term == 0 && !p.answered(w, i)
	case First:
		if i == 0 {
			return 1000, true
		}
		return 1000, uint64(k.at)-uint64(p.facts[i-1].at) > uint64(w.Within)
	}
	if w.cuts() && int(k.term) == w.Terms-1 || w.Kind == Sequence && int(k.term) != w.steps()-1 {
		return 0, false
	}
	lo, hi := p.interval(w, k.at)
	if i < lo || i >= hi {
		return 0, false
	}
	facts := p.facts[lo:hi]
	switch w.Kind {
	case Sequence:
		return int64(w.steps()) * 1000, d.sequence(w, p, i, lo, hi)
	case All:
		return int64(w.steps()) * 1000, d.all(w, p, lo, hi)
	case Count:
		return int64(len(facts)) * 1000, len(facts) >= w.Least
	case Distinct:
		n := d.distinct(p, facts)
		return int64(n) * 1000, n >= w.Least
	case Sum:
		n := sum(facts)
		return n, n >= w.Above
	case Average:
		n := mean(facts)
		return n, len(facts) >= w.Least && n >= w.Above
	case Percentile:
		if len(facts) < w.Least {
			return 0, false
		}
		n := d.percentile(facts, w.Percent)
		return n, n >= w.Above
	case Spike:
		n := sum(facts)
		return n, len(facts) >= w.Least && w.Within > 0 && p.spikes(w, k.at, n)
	}
	return 0, false
}

func sum(facts []kept) (n int64) {
	for i := range facts {
		n = plus(n, max(facts[i].number, 0))
	}
	return n
}

// mean rounds down.
func mean(facts []kept) int64 {
	var hi, lo uint64
	for i := range facts {
		n := facts[i].number
		var carry uint64
		lo, carry = bits.Add64(lo, uint64(n), 0)
		hi += uint64(n>>63) + carry
	}
	n := uint64(len(facts))
	if int64(hi) >= 0 {
		q, _ := bits.Div64(hi, lo, n)
		return int64(q)
	}
	lo, borrow := bits.Sub64(0, lo, 0)
	hi, _ = bits.Sub64(0, hi, borrow)
	q, rest := bits.Div64(hi, lo, n)
	if rest > 0 {
		q++
	}
	return -int64(q)
}

func (d *desk) distinct(p *pile, facts []kept) (n int) {
	d.numbers = slices.Grow(d.numbers[:0], len(p.words)+1)[:len(p.words)+1]
	clear(d.numbers)
	for i := range facts {
		if seen := &d.numbers[facts[i].value]; *seen == 0 {
			*seen = 1
			n++
		}
	}
	return n
}

func (d *desk) percentile(facts []kept, percent int) int64 {
	d.values = d.values[:0]
	for i := range facts {
		d.values = append(d.values, facts[i].number)
	}
	slices.Sort(d.values)
	return d.values[max((len(facts)*percent+99)/100, 1)-1]
}

// spikes tells whether a sum is more than the past of the key allows.
func (p *pile) spikes(w *Watch, at, number int64) bool {
	n := w.past()
	now := floorDiv(at, int64(w.Within))
	var past int64
	for _, s := range p.slots {
		if s.number <= now-2 && s.number >= now-1-n {
			past = plus(past, s.sum)
		}
	}
	hi, lo := bits.Mul64(uint64(number), uint64(n)*1000)
	limitHi, limitLo := bits.Mul64(uint64(w.Factor), uint64(past))
	return hi > limitHi || hi == limitHi && lo > limitLo
}

// answered tells whether what a fact of term 0 is to be followed by has come.
func (p *pile) answered(w *Watch, i int) bool {
	k := &p.facts[i]
	for j := p.from(k.at); j < len(p.facts); j++ {
		g := &p.facts[j]
		if uint64(g.at)-uint64(k.at) > uint64(w.Within) {
			return false
		}
		if g.term == 1 && string(p.bytes(g.id)) != string(p.bytes(k.id)) {
			return true
		}
	}
	return false
}

// sameEvent tells whether two facts, one behind the other, are of one event.
func (p *pile) sameEvent(a, b *kept) bool {
	return a.at == b.at && a.id.n == b.id.n && string(p.bytes(a.id)) == string(p.bytes(b.id))
}

// shared tells whether an event has two facts in an interval.
func (p *pile) shared(lo, hi int) bool {
	for i := lo + 1; i < hi; i++ {
		if p.sameEvent(&p.facts[i-1], &p.facts[i]) {
			return true
		}
	}
	return false
}

// sequence tells whether the fact in place i ends one, and finds out which of the
// facts are on the way: see onTheWay.
func (d *desk) sequence(w *Watch, p *pile, i, lo, hi int) bool {
	last := w.steps() - 1
	d.reached, d.early[0] = 0, math.MinInt64
	for a := lo; a < hi && d.reached < last; {
		b, terms := p.moment(a, hi)
		for d.reached < last && terms>>d.reached&1 != 0 {
			d.reached++
			d.early[d.reached] = p.facts[a].at
		}
		a = b
	}
	if d.reached < last {
		return false
	}
	d.need = last - 1
	if last > 0 {
		d.latest[last-1] = p.facts[i].at
	}
	for b := hi; b > lo && d.need > 0; {
		a, terms := p.momentBack(lo, b)
		for d.need > 0 && terms>>d.need&1 != 0 {
			d.need--
			d.latest[d.need] = p.facts[a].at
		}
		b = a
	}
	return !p.shared(lo, hi) || d.ofDifferent(p, i, lo, hi, last)
}

// onTheWay tells whether a fact of a sequence comes after what has to come before it,
// and before what has to come after.
func (d *desk) onTheWay(k *kept, last int) bool {
	t := int(k.term)
	return t < last && t <= d.reached && t >= d.need && d.early[t] <= k.at && k.at <= d.latest[t]
}

// moment returns the end of the facts that have the time of the one at a, and their
// terms.
func (p *pile) moment(a, hi int) (b int, terms uint64) {
	for b = a; b < hi && p.facts[b].at == p.facts[a].at; b++ {
		terms |= 1 << p.facts[b].term
	}
	return b, terms
}

func (p *pile) momentBack(lo, b int) (a int, terms uint64) {
	for a = b; a > lo && p.facts[a-1].at == p.facts[b-1].at; a-- {
		terms |= 1 << p.facts[a-1].term
	}
	return a, terms
}

// ofDifferent tells whether the terms before the last come in order, all of different
// events, none of which is that of the fact in place i. Only at one moment can one
// event stand for two, so as many terms as can be are taken of each.
func (d *desk) ofDifferent(p *pile, i, lo, hi, last int) bool {
	reached := 0
	for a := lo; a < hi && reached < last; {
		b, _ := p.moment(a, hi)
		d.events(p, a, b, i)
		reached = d.match(reached, last)
		a = b
	}
	return reached == last
}

// events finds the terms of each event in an interval but that of the fact in place
// but, if it is one.
func (d *desk) events(p *pile, lo, hi, but int) {
	d.masks = d.masks[:0]
	for i := lo; i < hi; i++ {
		k := &p.facts[i]
		if but >= 0 && p.sameEvent(k, &p.facts[but]) {
			continue
		}
		if n := len(d.masks); n > 0 && i > lo && p.sameEvent(&p.facts[i-1], k) {
			d.masks[n-1] |= 1 << k.term
			continue
		}
		d.masks = append(d.masks, 1<<k.term)
	}
}

// match gives the terms from one on, as far as it goes, an event each, and returns the
// first that gets none.
func (d *desk) match(from, end int) int {
	d.taken = slices.Grow(d.taken[:0], len(d.masks))[:len(d.masks)]
	for e := range d.taken {
		d.taken[e] = -1
	}
	for term := from; term < end; term++ {
		d.visited = slices.Grow(d.visited[:0], len(d.masks))[:len(d.masks)]
		clear(d.visited)
		if !d.place(term) {
			return term
		}
	}
	return end
}

// place gives a term an event; the term that has it gets another.
func (d *desk) place(term int) bool {
	for e, terms := range d.masks {
		if terms>>term&1 == 0 || d.visited[e] {
			continue
		}
		d.visited[e] = true
		if d.taken[e] < 0 || d.place(int(d.taken[e])) {
			d.taken[e] = int16(term)
			return true
		}
	}
	return false
}

// all tells whether each term has an event of its own in an interval.
func (d *desk) all(w *Watch, p *pile, lo, hi int) bool {
	var terms uint64
	for i := lo; i < hi; i++ {
		terms |= 1 << p.facts[i].term
	}
	n := w.steps()
	whole := uint64(1)<<n - 1
	if terms&whole != whole {
		return false
	}
	if !p.shared(lo, hi) {
		return true
	}
	d.events(p, lo, hi, -1)
	return d.match(0, n) == n
}
