package correlate

import (
	"encoding/binary"
	"slices"
)

// pack appends a pile to bytes, as short as it gets: the key, what is told, the slots,
// the words in the order in which the facts have them, the facts. Equal piles give
// equal bytes, however they came about. Numbers are varints.
func (d *desk) pack(p *pile, b []byte) []byte {
	b = appendText(b, p.bytes(p.key))
	b = binary.AppendUvarint(b, uint64(len(p.told)))
	for _, t := range p.told {
		b = binary.AppendVarint(b, t.period)
		b = binary.AppendVarint(b, t.number)
		b = binary.AppendUvarint(b, t.size)
		b = binary.AppendUvarint(b, t.grown)
		b = binary.AppendUvarint(b, t.lost)
	}
	b = binary.AppendUvarint(b, uint64(len(p.slots)))
	for _, s := range p.slots {
		b = binary.AppendVarint(b, s.number)
		b = binary.AppendUvarint(b, uint64(s.sum))
	}
	numbers, used := d.renumber(p)
	b = binary.AppendUvarint(b, uint64(len(used)))
	d.live = 0
	for _, word := range used {
		text := p.bytes(p.words[word-1])
		d.live += len(text)
		b = appendText(b, text)
	}
	b = binary.AppendUvarint(b, uint64(len(p.facts)))
	var at int64
	var seq uint64
	for i := range p.facts {
		k := &p.facts[i]
		severity := k.severity
		if k.hit {
			severity |= 0x80
		}
		b = append(b, k.term, severity)
		b = binary.AppendVarint(b, k.at-at)
		b = binary.AppendVarint(b, int64(k.seq-seq))
		b = binary.AppendVarint(b, int64(k.index))
		b = binary.AppendVarint(b, k.number)
		b = binary.AppendUvarint(b, uint64(numbers[k.value]))
		b = binary.AppendUvarint(b, uint64(k.notes.n))
		for _, n := range p.notes[k.notes.off : k.notes.off+k.notes.n] {
			b = binary.AppendUvarint(b, uint64(numbers[n]))
		}
		b = appendText(b, p.bytes(k.id))
		at, seq = k.at, k.seq
	}
	return b
}

func appendText(b, text []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// renumber gives the words that facts have their numbers in the order in which they
// have them: by their present number, and the present ones in the new order.
func (d *desk) renumber(p *pile) (numbers, used []uint32) {
	d.numbers = slices.Grow(d.numbers[:0], len(p.words)+1)[:len(p.words)+1]
	clear(d.numbers)
	d.used = d.used[:0]
	see := func(word uint32) {
		if word != noWord && d.numbers[word] == 0 {
			d.used = append(d.used, word)
			d.numbers[word] = uint32(len(d.used))
		}
	}
	for i := range p.facts {
		k := &p.facts[i]
		see(k.value)
		for _, n := range p.notes[k.notes.off : k.notes.off+k.notes.n] {
			see(n)
		}
	}
	return d.numbers, d.used
}

// unpack lays open what pack has made, and tells whether it was that.
func (p *pile) unpack(w *Watch, b []byte) bool {
	p.reset()
	p.text = append(p.text, b...)
	r := reader{b: p.text}
	p.key = r.text()
	for range r.count(5) {
		p.told = append(p.told, told{r.int(), r.int(), r.uint(), r.uint(), r.uint()})
	}
	for range r.count(2) {
		p.slots = append(p.slots, slot{r.int(), int64(r.uint())})
	}
	for range r.count(2) {
		p.words = append(p.words, r.text())
		p.size += int(p.words[len(p.words)-1].n)
	}
	var at int64
	var seq uint64
	for range r.count(9) {
		k := kept{term: r.byte(), severity: r.byte()}
		k.hit, k.severity = k.severity&0x80 != 0, k.severity&0x7f
		k.at = at + r.int()
		k.seq = seq + uint64(r.int())
		k.index = int32(r.int())
		k.number = r.int()
		k.value = uint32(r.uint())
		k.notes = span{uint32(len(p.notes)), uint32(r.count(1))}
		for range k.notes.n {
			p.notes = append(p.notes, uint32(r.uint()))
		}
		k.id = r.text()
		if w.cuts() && int(k.term) == w.Terms-1 {
			p.cuts++
		}
		at, seq = k.at, k.seq
		p.facts = append(p.facts, k)
	}
	return !r.bad && r.at == len(r.b)
}

// reader reads what pack writes. Behind the end, and after what cannot be, it reads
// nothing and is bad.
type reader struct {
	b   []byte
	at  int
	bad bool
}

func (r *reader) byte() byte {
	if r.at >= len(r.b) {
		r.bad = true
		return 0
	}
	r.at++
	return r.b[r.at-1]
}

func (r *reader) uint() uint64 {
	if r.at < len(r.b) && r.b[r.at] < 0x80 {
		r.at++
		return uint64(r.b[r.at-1])
	}
	return r.long()
}

func (r *reader) long() uint64 {
	n, size := binary.Uvarint(r.b[r.at:])
	if size <= 0 {
		r.bad, r.at = true, len(r.b)
		return 0
	}
	r.at += size
	return n
}

func (r *reader) int() int64 {
	n := r.uint()
	return int64(n>>1) ^ -int64(n&1)
}

// count reads how many of something follow, each of at least some bytes.
func (r *reader) count(size int) int {
	n := r.uint()
	if n > uint64((len(r.b)-r.at)/size) {
		r.bad, r.at = true, len(r.b)
		return 0
	}
	return int(n)
}

func (r *reader) text() span {
	n := r.count(1)
	s := span{uint32(r.at), uint32(n)}
	r.at += n
	return s
}
