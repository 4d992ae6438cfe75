package eventlog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// span is a stretch of sequences, both ends included.
type span struct{ first, last uint64 }

// found is what the blocks of a stream hold.
type found struct {
	good []span // ascending, with room between them
	bad  []badPlace
	ends map[string]entryEnd // the last message of each subject
	gaps []totalGap
}

// badPlace is a bad record with its block.
type badPlace struct {
	block blockFile
	badRecord
	after uint64 // the last good sequence before it
}

// entryEnd is the last message of a subject as it was read.
type entryEnd struct{ seq, total uint64 }

// totalGap is where a subject's running total does not follow: so many events are
// missing between two of its messages.
type totalGap struct {
	subject     string
	after, next uint64 // sequences of these messages
	events      uint64
}

// check reads the streams' blocks, before the server does, and compares them with the
// mark. After a good close only what is above needed is read: the server will not cut
// anything off then, and what is below has been worked off.
func check(dir string, m *mark, needed Positions) (checked, error) {
	from := map[string]uint64{}
	if m.clean {
		from[events], from[inputs] = needed.Events+1, needed.Inputs+1
	}
	streams := []string{events, inputs, rejected}
	results := make([]*found, len(streams))
	errs := make([]error, len(streams))
	var group sync.WaitGroup
	for i, stream := range streams {
		group.Go(func() { results[i], errs[i] = scanBlocks(dir, stream, from[stream]) })
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		return checked{}, err
	}
	var c checked
	for i, stream := range streams {
		c.damages = append(c.damages, m.compare(stream, results[i])...)
		c.bad = append(c.bad, results[i].bad...)
	}
	return c, nil
}

// checked is what check found.
type checked struct {
	damages []Damage
	bad     []badPlace // in any stream, of messages that nobody was told of too
}

// scanBlocks reads a stream's blocks; one that ends below from is taken to be good.
func scanBlocks(dir, stream string, from uint64) (*found, error) {
	list, err := blocks(blockDir(dir, stream))
	if err != nil {
		return nil, err
	}
	first := make([]uint64, len(list)+1)
	for i, b := range list {
		if first[i], err = b.firstSeq(); err != nil {
			return nil, err
		}
	}
	f := &found{ends: map[string]entryEnd{}}
	var data []byte
	for i, b := range list {
		if next := first[i+1]; first[i] > 0 && next > first[i] && next <= from && list[i+1].index == b.index+1 {
			f.add(span{first[i], next - 1})
			continue
		}
		if data, err = readInto(data[:0], b.path); err != nil {
			return nil, err
		}
		r, err := newBlockReader(stream, b.index, data)
		if err != nil {
			return nil, err
		}
		r.read(f.record, func(bad badRecord) {
			f.bad = append(f.bad, badPlace{b, bad, f.last()})
		})
	}
	return f, nil
}

func readInto(buf []byte, path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	buf = slices.Grow(buf[:0], int(info.Size()))[:info.Size()]
	n, err := f.ReadAt(buf, 0)
	if n == len(buf) {
		err = nil
	}
	return buf[:n], err
}

func (f *found) last() uint64 {
	if len(f.good) == 0 {
		return 0
	}
	return f.good[len(f.good)-1].last
}

func (f *found) add(s span) {
	if n := len(f.good); n > 0 && f.good[n-1].last+1 == s.first {
		f.good[n-1].last = s.last
		return
	}
	f.good = append(f.good, s)
}

func (f *found) record(r blockRecord) {
	if !r.message || r.seq <= f.last() {
		return
	}
	f.add(span{r.seq, r.seq})
	frame, err := parseFrame(r.payload)
	if err != nil {
		f.ends[r.subject] = entryEnd{seq: r.seq}
		return
	}
	end, ok := f.ends[r.subject]
	if begin := frame.total - frame.count; ok && strings.HasPrefix(r.subject, events) && begin > end.total {
		f.gaps = append(f.gaps, totalGap{r.subject, end.seq, r.seq, begin - end.total})
	}
	f.ends[r.subject] = entryEnd{r.seq, frame.total}
}

// compare lists what was acknowledged in a stream and is not there. REJECTED drops
// what it likes; of it only what can't be read is listed.
func (m *mark) compare(stream string, f *found) []Damage {
	noted, settled := m.end(stream)
	acked := max(noted, f.last()) // the mark may be older
	if stream == rejected {
		return f.unreadable(stream, acked, settled)
	}
	next := m.floorOf(stream)
	if (next == 0 || noted == 0) && len(f.good) > 0 {
		next = f.good[0].first // the first writes may have failed
	}
	next = max(next, 1)
	var all []Damage
	missing := func(s span) {
		all = append(all, m.damage(stream, f, s, settled))
	}
	for _, g := range f.good {
		if g.first > next && next <= acked {
			missing(span{next, min(g.first-1, acked)})
		}
		next = max(next, g.last+1)
	}
	if next <= acked {
		missing(span{next, acked})
	}
	return all
}

// unreadable lists bad records as they are.
func (f *found) unreadable(stream string, acked, settled uint64) []Damage {
	var all []Damage
	for _, b := range f.bad {
		if b.after >= acked {
			continue
		}
		all = append(all, Damage{
			Stream: stream, First: b.after + 1, Last: max(b.seq, b.after+1), Sources: b.source(),
			Reason: b.text(), Certain: b.after < settled,
		})
	}
	return all
}

func (b badPlace) source() []SourceLoss {
	if name := nameOf(b.subject); name != "" {
		return []SourceLoss{{Source: name}}
	}
	return nil
}

func (b badPlace) text() string {
	return fmt.Sprintf("%s (%s, byte %d)", b.reason, filepath.Join(filepath.Base(filepath.Dir(filepath.Dir(b.block.path))), filepath.Base(b.block.path)), b.begin)
}

// damage tells about a stretch what can be told.
func (m *mark) damage(stream string, f *found, s span, settled uint64) Damage {
	d := Damage{Stream: stream, First: s.first, Last: s.last, Reason: "missing", Certain: s.first <= settled}
	lost := map[string]uint64{}
	for _, b := range f.bad {
		if b.after+1 < s.first || b.after >= s.last {
			continue
		}
		d.Reason = b.text()
		if name := nameOf(b.subject); name != "" {
			lost[name] += 0
		}
	}
	for _, g := range f.gaps {
		if g.after < s.last && g.next > s.first {
			lost[nameOf(g.subject)] += g.events
		}
	}
	for _, slot := range m.all() {
		if !strings.HasPrefix(slot.name, stream+".") || slot.seq < s.first || slot.seq > s.last {
			continue
		}
		n := uint64(0)
		if end, ok := f.ends[slot.name]; ok {
			n = slot.total - min(slot.total, end.total)
		}
		lost[nameOf(slot.name)] += n
	}
	for name, n := range lost {
		d.Sources = append(d.Sources, SourceLoss{name, n})
	}
	slices.SortFunc(d.Sources, func(a, b SourceLoss) int { return strings.Compare(a.Source, b.Source) })
	return d
}

// end is the last sequence of a stream that was acknowledged, and the last that is
// certain to have reached the disk.
func (m *mark) end(stream string) (acked, settled uint64) {
	for _, s := range m.all() {
		if s.name == stream || strings.HasPrefix(s.name, stream+".") {
			acked, settled = max(acked, s.seq), max(settled, s.settled)
		}
	}
	return acked, settled
}
