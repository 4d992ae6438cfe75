package correlate

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
)

// ErrWindows means that bytes are no snapshot of Windows.
var ErrWindows = errors.New("not a snapshot of windows")

// windowsVersion heads every snapshot.
const windowsVersion = "windows 1\n"

// maxPacked bounds one packed pile of a snapshot.
const maxPacked = 256 << 20

// Snapshot writes all that is remembered. Equal windows write equal bytes. Of each rule
// the groups come in the order in which they were last fed, each as it lies packed.
func (w *Windows) Snapshot(to io.Writer) error {
	e := checkpoint{to: to}
	e.b = append(e.b, windowsVersion...)
	e.b = binary.AppendUvarint(e.b, uint64(len(w.rules)))
	for _, rule := range slices.Sorted(maps.Keys(w.rules)) {
		r := w.rules[rule]
		watch, err := json.Marshal(r.watch.meaning())
		if err != nil {
			return fmt.Errorf("rule %s: %w", rule, err)
		}
		e.b = appendText(e.b, watch)
		e.b = binary.AppendVarint(e.b, r.next)
		for _, n := range []uint64{r.evicted, r.crowded, r.late, uint64(r.roster.n)} {
			e.b = binary.AppendUvarint(e.b, n)
		}
		for _, fed := range r.roster.fedUpTo(math.MaxUint64) {
			h := &r.roster.heads[fed.group]
			e.b = binary.AppendVarint(e.b, h.due)
			e.b = binary.AppendVarint(e.b, h.real)
			if h.size > 0 {
				e.b = appendText(e.b, w.slab.bytes(h.block)[:h.size])
			} else {
				w.desk.packed = w.desk.pack(r.open[fed.group], w.desk.packed[:0])
				e.b = appendText(e.b, w.desk.packed)
			}
			e.flush(1 << 16)
		}
	}
	e.flush(0)
	return e.err
}

type checkpoint struct {
	to  io.Writer
	b   []byte
	err error
}

// flush writes what there is, if it is more than so much.
func (e *checkpoint) flush(most int) {
	if e.err == nil && len(e.b) > most {
		_, e.err = e.to.Write(e.b)
	}
	if len(e.b) > most {
		e.b = e.b[:0]
	}
}

// Restore takes the place of what is remembered by what a snapshot says of those rules
// of which the watch means the same; others begin anew. It reads what Snapshot wrote
// and no more. Bytes that are no snapshot are ErrWindows, and change nothing.
func (w *Windows) Restore(from io.Reader) error {
	d := &restoring{from: from}
	if b, ok := from.(io.ByteReader); ok {
		d.bytes = b
	} else {
		d.bytes = &oneByte{from: from}
	}
	d.check(string(d.take(uint64(len(windowsVersion)))) == windowsVersion, "the version")
	// What is restored lies in windows of its own until all of it is read.
	fresh := &Windows{rules: map[string]*window{}, seed: w.seed}
	for n := d.uint(); n > 0 && d.err == nil; n-- {
		d.window(w, fresh)
	}
	switch {
	case errors.Is(d.err, ErrWindows):
		return d.err
	case d.err != nil:
		return fmt.Errorf("%w: %w", ErrWindows, d.err)
	}
	for rule, r := range w.rules {
		if fresh.rules[rule] == nil {
			fresh.rules[rule] = newWindow(r.watch)
		}
	}
	*w = *fresh
	return nil
}

// window reads one rule.
func (d *restoring) window(w, fresh *Windows) {
	var watch Watch
	if text := d.text(1 << 20); d.err == nil {
		d.check(json.Unmarshal(text, &watch) == nil, "a watch")
	}
	next := d.int()
	evicted, crowded, late, groups := d.uint(), d.uint(), d.uint(), d.uint()
	d.check(watch == watch.normal().meaning() && fresh.rules[watch.Rule] == nil, "a watch")
	if d.err != nil {
		return
	}
	r := newWindow(watch)
	r.next, r.evicted, r.crowded, r.late = next, evicted, crowded, late
	known := w.rules[watch.Rule]
	wanted := known != nil && known.watch.meaning() == watch
	if wanted {
		r.watch = known.watch
		fresh.rules[watch.Rule] = r
	}
	for ; groups > 0 && d.err == nil; groups-- {
		due, real := d.int(), d.int()
		packed := d.text(maxPacked)
		if d.err != nil || !wanted {
			continue
		}
		d.check(next <= due && due <= real && real < math.MaxInt64 && fresh.bring(r, due, real, packed), "a group")
	}
}

// bring adds a group that was packed, and tells whether it could be.
func (w *Windows) bring(r *window, due, real int64, packed []byte) bool {
	p := &w.desk.pile
	if !p.unpack(&r.watch, packed) || !p.sound(&r.watch) {
		return false
	}
	key := string(p.bytes(p.key))
	hash := w.hash(key)
	if _, known := w.find(r, key, hash); known {
		return false
	}
	w.desk.packed = w.desk.pack(p, w.desk.packed[:0])
	if !bytes.Equal(w.desk.packed, packed) {
		return false
	}
	group := r.roster.add(hash)
	r.fed++
	h := &r.roster.heads[group]
	h.fed, h.due = r.fed, math.MinInt64 // put adds no entry
	r.facts += len(p.facts)
	w.put(r, group, p)
	h = &r.roster.heads[group]
	h.due, h.real = due, real
	r.calendar.add(entry{due, group})
	return true
}

// sound tells whether a pile is one that could have come about.
func (p *pile) sound(w *Watch) bool {
	if len(p.facts)+len(p.told)+len(p.slots) == 0 || len(p.slots) > 0 && (w.Kind != Spike || w.Within == 0) {
		return false
	}
	for i := range p.told {
		if t := &p.told[i]; i > 0 && p.told[i-1].period >= t.period || t.size > math.MaxInt32 || t.lost > math.MaxInt32 || t.grown > math.MaxInt32 {
			return false
		}
	}
	for i := range p.slots {
		if i > 0 && p.slots[i-1].number >= p.slots[i].number || p.slots[i].sum < 0 {
			return false
		}
	}
	for _, word := range p.words {
		b := p.bytes(word)
		if len(b) == 0 || b[0] > indicatorWord || b[0] >= observableWord && (len(b) < 2 || len(b) < 2+int(b[1])) {
			return false
		}
	}
	for i := range p.facts {
		k := &p.facts[i]
		if int(k.term) >= w.Terms || k.severity > 100 || k.at == math.MaxInt64 || i > 0 && p.compare(&p.facts[i-1], k) >= 0 {
			return false
		}
		if int(k.value) > len(p.words) || (k.value != noWord) != (w.Kind == Distinct) {
			return false
		}
		for _, n := range p.notes[k.notes.off : k.notes.off+k.notes.n] {
			if n == noWord || int(n) > len(p.words) || p.bytes(p.words[n-1])[0] == valueWord {
				return false
			}
		}
	}
	return true
}

// restoring reads a snapshot; after an error it reads nothing.
type restoring struct {
	from  io.Reader
	bytes io.ByteReader
	buf   bytes.Buffer
	err   error
}

func (d *restoring) check(ok bool, what string) {
	if !ok && d.err == nil {
		d.err = fmt.Errorf("%w: %s is wrong", ErrWindows, what)
	}
}

func (d *restoring) uint() (n uint64) {
	if d.err == nil {
		n, d.err = binary.ReadUvarint(d.bytes)
	}
	return n
}

func (d *restoring) int() (n int64) {
	if d.err == nil {
		n, d.err = binary.ReadVarint(d.bytes)
	}
	return n
}

// take reads n bytes. They are good until the next.
func (d *restoring) take(n uint64) []byte {
	d.buf.Reset()
	if d.err == nil {
		_, d.err = io.CopyN(&d.buf, d.from, int64(n))
	}
	return d.buf.Bytes()
}

func (d *restoring) text(most uint64) []byte {
	n := d.uint()
	d.check(n <= most, "a length")
	return d.take(n)
}

// oneByte reads from a reader that has no ReadByte, no further than it must.
type oneByte struct {
	from io.Reader
	b    [1]byte
}

func (o *oneByte) ReadByte() (byte, error) {
	_, err := io.ReadFull(o.from, o.b[:])
	return o.b[0], err
}
