package correlate

import (
	"bytes"
	"hash/maphash"
	"slices"

	"github.com/kelpie-sec/kelpie/sdk"
)

// pile is what is kept of one key, laid open to be worked on. At rest a pile is packed
// (see pack), unless it has many facts.
type pile struct {
	text  []byte // what spans are of, some of it no longer
	key   span
	facts []kept // by time, id and term
	notes []uint32
	size  int     // of the words, in bytes
	words []span  // the values, techniques and observables of the facts, each once
	told  []told  // by period
	slots []slot  // of Spike, by number
	cuts  int     // facts of the term that must not come
	index *lookup // of an open pile with many facts
}

type span struct{ off, n uint32 }

// kept is a fact. It holds no pointers, and nor does anything that a pile has many of.
type kept struct {
	at, number     int64
	seq            uint64
	id             span
	notes          span // its techniques and observables: numbers of words, in notes
	value          uint32
	index          int32
	term, severity uint8
	hit            bool
}

// told is what is known of the report of a period that has a hit.
type told struct {
	period int64
	number int64 // of the strongest hit
	size   uint64
	grown  uint64 // facts that have come to it since it was last told
	lost   uint64 // members that were let go since there were too many
}

// slot is a whole period of Within of the key's past.
type slot struct{ number, sum int64 }

// lookup finds what a pile has many of.
type lookup struct {
	ids   map[uint64]struct{}
	words map[string]uint32
	seed  maphash.Seed
}

const (
	manyFacts = 64
	fewFacts  = 32
	// maxText is how much a pile keeps in words; observables beyond are left out.
	maxText = 4 << 20
	noWord  = 0
)

// What a word is, by its first byte.
const (
	valueWord = iota
	techniqueWord
	observableWord // and one for each role that follows
	subjectWord
	indicatorWord
)

func (p *pile) reset() {
	*p = pile{
		text: p.text[:0], facts: p.facts[:0], notes: p.notes[:0],
		words: p.words[:0], told: p.told[:0], slots: p.slots[:0],
	}
}

func (p *pile) bytes(s span) []byte { return p.text[s.off : s.off+s.n] }

func (p *pile) write(s string) span {
	at := uint32(len(p.text))
	p.text = append(p.text, s...)
	return span{at, uint32(len(s))}
}

// has tells whether a fact is a repeat.
func (p *pile) has(f *Fact) bool {
	if p.index != nil {
		if _, ok := p.index.ids[p.index.id([]byte(f.ID), uint8(f.Term))]; !ok {
			return false
		}
	}
	for i := range p.facts {
		if k := &p.facts[i]; k.id.n == uint32(len(f.ID)) && int(k.term) == f.Term && string(p.bytes(k.id)) == f.ID {
			return true
		}
	}
	return false
}

func (x *lookup) id(id []byte, term uint8) uint64 {
	return maphash.Bytes(x.seed, id) + uint64(term)*0x9e3779b97f4a7c15
}

// find builds the index of a pile.
func (p *pile) find() {
	x := &lookup{ids: make(map[uint64]struct{}, len(p.facts)), words: make(map[string]uint32, len(p.words)), seed: maphash.MakeSeed()}
	for i := range p.facts {
		x.ids[x.id(p.bytes(p.facts[i].id), p.facts[i].term)] = struct{}{}
	}
	for i, w := range p.words {
		x.words[string(p.bytes(w))] = uint32(i + 1)
	}
	p.index = x
}

// insert adds a fact that is no repeat, and returns its place.
func (p *pile) insert(w *Watch, f *Fact, at int64) int {
	k := kept{
		at: at, number: f.Number, seq: f.Seq, index: int32(f.Index),
		term: uint8(f.Term), severity: uint8(min(max(f.Severity, 0), 100)),
	}
	k.id = p.write(f.ID)
	if w.Kind == Distinct {
		k.value = p.word(valueWord, "", f.Value)
	}
	k.notes.off = uint32(len(p.notes))
	for _, t := range f.Techniques[:min(len(f.Techniques), MaxObservables)] {
		p.note(p.word(techniqueWord, "", t))
	}
	for i := range f.Observables[:min(len(f.Observables), MaxObservables)] {
		o := &f.Observables[i]
		tag := byte(observableWord)
		switch o.Role {
		case sdk.Subject:
			tag = subjectWord
		case sdk.Indicator:
			tag = indicatorWord
		}
		p.note(p.word(tag, o.Kind, o.Value))
	}
	k.notes.n = uint32(len(p.notes)) - k.notes.off
	if p.index != nil {
		p.index.ids[p.index.id(p.bytes(k.id), k.term)] = struct{}{}
	}
	if w.cuts() && f.Term == w.Terms-1 {
		p.cuts++
	}
	if w.Kind == Spike && w.Within > 0 {
		p.addUp(floorDiv(at, int64(w.Within)), max(f.Number, 0))
	}
	i := len(p.facts)
	for i > 0 && p.compare(&p.facts[i-1], &k) > 0 {
		i--
	}
	p.facts = slices.Insert(p.facts, i, k)
	return i
}

func (p *pile) compare(a, b *kept) int {
	switch {
	case a.at < b.at:
		return -1
	case a.at > b.at:
		return 1
	}
	if c := bytes.Compare(p.bytes(a.id), p.bytes(b.id)); c != 0 {
		return c
	}
	return int(a.term) - int(b.term)
}

func (p *pile) note(word uint32) {
	if word != noWord {
		p.notes = append(p.notes, word)
	}
}

// word returns the number of a word, noWord if there is no room for it.
func (p *pile) word(tag byte, kind, value string) uint32 {
	off := len(p.text)
	p.text = append(p.text, tag)
	if tag >= observableWord {
		kind = kind[:min(len(kind), 255)]
		p.text = append(p.text, byte(len(kind)))
		p.text = append(p.text, kind...)
	}
	p.text = append(p.text, value...)
	word := p.text[off:]
	if p.index != nil {
		if n, ok := p.index.words[string(word)]; ok {
			p.text = p.text[:off]
			return n
		}
	} else {
		for i, s := range p.words {
			if int(s.n) == len(word) && bytes.Equal(p.bytes(s), word) {
				p.text = p.text[:off]
				return uint32(i + 1)
			}
		}
	}
	if tag != valueWord && p.size+len(word) > maxText {
		p.text = p.text[:off]
		return noWord
	}
	p.size += len(word)
	p.words = append(p.words, span{uint32(off), uint32(len(word))})
	if p.index != nil {
		p.index.words[string(word)] = uint32(len(p.words))
	}
	return uint32(len(p.words))
}

// readObservable reads a word that is one.
func readObservable(word []byte) (o sdk.Observable) {
	switch word[0] {
	case subjectWord:
		o.Role = sdk.Subject
	case indicatorWord:
		o.Role = sdk.Indicator
	}
	n := 2 + int(word[1])
	o.Kind, o.Value = string(word[2:n]), string(word[n:])
	return o
}

func (p *pile) addUp(number, sum int64) {
	i, ok := slices.BinarySearchFunc(p.slots, number, func(s slot, n int64) int { return cmpInt(s.number, n) })
	if !ok {
		p.slots = slices.Insert(p.slots, i, slot{number: number})
	}
	p.slots[i].sum = plus(p.slots[i].sum, sum)
}

// periodOf returns what is told of a period, and begins it if nothing is.
func (p *pile) periodOf(period int64) *told {
	i, ok := slices.BinarySearchFunc(p.told, period, func(t told, n int64) int { return cmpInt(t.period, n) })
	if !ok {
		p.told = slices.Insert(p.told, i, told{period: period, number: -1 << 63})
	}
	return &p.told[i]
}

func cmpInt(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// from is the place of the first fact at a time or later.
func (p *pile) from(at int64) int {
	lo, hi := 0, len(p.facts)
	for lo < hi {
		if m := int(uint(lo+hi) / 2); p.facts[m].at < at {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return lo
}

// after is the place of the first fact later than a time.
func (p *pile) after(at int64) int {
	if n := len(p.facts); n > 0 && p.facts[n-1].at <= at {
		return n
	}
	return p.from(at + 1) // facts are before the end of time
}

// interval is that of the facts that count for one at a time.
func (p *pile) interval(w *Watch, at int64) (lo, hi int) {
	hi = p.after(at)
	begin := at - int64(w.Within)
	if begin > at { // before the beginning of time
		lo = 0
	} else if w.Kind == Sequence || w.Kind == All {
		lo = p.from(begin)
	} else {
		lo = p.after(begin)
	}
	if p.cuts > 0 {
		for i := hi - 1; i >= lo; i-- {
			if int(p.facts[i].term) == w.Terms-1 {
				lo = max(lo, p.after(p.facts[i].at))
				break
			}
		}
	}
	return min(lo, hi), hi
}

// hitAt is the time of the hit that a fact would be.
func (k *kept) hitAt(w *Watch) int64 {
	if w.Kind == Absence {
		return later(k.at, w.Within)
	}
	return k.at
}

// keyIs tells whether a packed pile is that of a key.
func keyIs(packed []byte, key string) bool {
	r := reader{b: packed}
	n := r.uint()
	return n == uint64(len(key)) && uint64(len(packed)-r.at) >= n && string(packed[r.at:r.at+int(n)]) == key
}
