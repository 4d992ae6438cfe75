package correlate

import (
	"cmp"
	"hash/maphash"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// Windows keeps the facts of rules over several, and tells what they report. After
// any sequence of Put and Pass, in which no fact came when its time was complete, and
// of which none had to be let go for want of room, the latest of each report is what
// Reports makes of all facts.
//
// It is not safe for concurrent use.
type Windows struct {
	rules map[string]*window
	slab  slab
	desk  desk
	seed  maphash.Seed
}

// window is what is kept of one rule.
type window struct {
	watch    Watch
	eager    bool
	next     int64  // all facts before this time are complete
	fed      uint64 // how many facts have fed it
	roster   roster
	open     map[uint32]*pile // by group: those with many facts
	calendar calendar
	facts    int
	packed   int64 // bytes of the blocks of its groups
	weight   int64 // of all its groups
	evicted  uint64
	crowded  uint64
	late     uint64
}

// NewWindows returns windows without facts.
func NewWindows(watches []Watch) *Windows {
	w := &Windows{rules: map[string]*window{}, seed: maphash.MakeSeed()}
	w.Configure(watches)
	return w
}

func newWindow(watch Watch) *window {
	span := time.Duration(plus(int64(watch.Within), int64(watch.Every)))
	return &window{watch: watch, eager: watch.eager(), next: math.MinInt64, open: map[uint32]*pile{}, calendar: newCalendar(span)}
}

// Configure replaces the rules. What is known of a rule stays if its watch means the
// same, which is so if no more than Lateness and Most differ; others begin anew.
func (w *Windows) Configure(watches []Watch) {
	old := w.rules
	w.rules = map[string]*window{}
	for _, watch := range watches {
		watch = watch.normal()
		if r := old[watch.Rule]; r != nil && r.watch.meaning() == watch.meaning() {
			r.watch = watch
			w.rules[watch.Rule] = r
			delete(old, watch.Rule)
			continue
		}
		w.rules[watch.Rule] = newWindow(watch)
	}
	for _, rule := range slices.Sorted(maps.Keys(old)) {
		w.forget(old[rule])
	}
}

// meaning is the watch without what makes no difference to what it looks for.
func (w Watch) meaning() Watch {
	w.Lateness, w.Most = 0, 0
	return w
}

func (w *Windows) forget(r *window) {
	for group := range r.roster.heads {
		if h := &r.roster.heads[group]; h.size > 0 {
			w.slab.give(h.block)
		}
	}
}

// Put adds a fact, and returns what is new, or has grown, of what its rule reports, if
// the rule's kind is eager. A report of more than MaxMembers is told as it doubles, and
// as it is in the end by the Pass that completes its period.
//
// A repeat changes nothing, nor does a fact of a rule or a term that there is not, nor
// one of which the time is complete: that is counted as late.
func (w *Windows) Put(f *Fact) (reports []Report) {
	r := w.rules[f.Watch]
	if r == nil || f.Term < 0 || f.Term >= r.watch.Terms {
		return nil
	}
	at := instant(f.Time)
	if at < r.next {
		r.late++
		return nil
	}
	hash := w.hash(f.Key)
	group, known := w.find(r, f.Key, hash)
	var p *pile
	if known {
		p = w.lay(r, group)
	} else {
		for r.roster.n >= r.watch.Most {
			reports = append(reports, w.evict(r)...)
		}
		group = r.roster.add(hash)
		r.roster.heads[group].due = math.MaxInt64
		p = &w.desk.pile
		p.reset()
		p.key = p.write(f.Key)
	}
	r.fed++
	r.roster.heads[group].fed = r.fed
	if known && p.has(f) {
		return nil
	}
	w.shrink(r, p)
	i := p.insert(&r.watch, f, at)
	r.facts++
	if r.eager {
		w.desk.look(&r.watch, p, i)
		reports = append(reports, w.desk.tell(&r.watch, p, r.next)...)
	}
	w.put(r, group, p)
	for r.weight > r.watch.room() && r.roster.n > 1 {
		reports = append(reports, w.evict(r)...)
	}
	if len(reports) > 1 {
		slices.SortStableFunc(reports, byKey)
	}
	return reports
}

// room is how much the groups may hold together, in bytes.
func (w *Watch) room() int64 { return max(LeastRoom, GroupRoom*int64(w.Most)) }

// What holds how much beside the words, about, in bytes.
const (
	factWeight = 64
	slotWeight = 16
	toldWeight = 40
)

// weigh notes what a group holds, with so many bytes of words.
func (r *window) weigh(h *head, p *pile, words int) {
	r.weight -= int64(h.weight)
	h.weight = uint32(words + int(p.key.n) + factWeight*len(p.facts) + slotWeight*len(p.slots) + toldWeight*len(p.told))
	r.weight += int64(h.weight)
}

func byKey(a, b Report) int {
	return cmp.Or(strings.Compare(a.Key, b.Key), a.Bucket.Compare(b.Bucket))
}

// shrink lets go of what a pile need not keep, before it gets another fact.
func (w *Windows) shrink(r *window, p *pile) {
	n := len(p.facts)
	if p.worth(&r.watch, r.next) {
		w.desk.release(&r.watch, p, r.next)
	}
	r.crowded += uint64(p.thin(&r.watch))
	if len(p.facts) < n {
		r.facts -= n - len(p.facts)
		w.tidy(r, p)
	}
}

// tidy takes what no fact has out of a pile that stays open.
func (w *Windows) tidy(r *window, p *pile) {
	if p.index != nil {
		w.desk.packed = w.desk.pack(p, w.desk.packed[:0])
		p.unpack(&r.watch, w.desk.packed)
		p.find()
	}
}

func (w *Windows) hash(key string) uint32 { return uint32(maphash.String(w.seed, key)) }

// find returns the group of a key.
func (w *Windows) find(r *window, key string, hash uint32) (group uint32, ok bool) {
	if r.roster.n == 0 {
		return 0, false
	}
	at := r.roster.home(hash)
	for {
		if group, at, ok = r.roster.at(hash, at); !ok {
			return 0, false
		}
		h := &r.roster.heads[group]
		if h.size > 0 && keyIs(w.slab.bytes(h.block)[:h.size], key) {
			return group, true
		}
		if h.size == 0 {
			if p := r.open[group]; string(p.bytes(p.key)) == key {
				return group, true
			}
		}
		at++
	}
}

// lay lays a group's pile open. It is good until the next.
func (w *Windows) lay(r *window, group uint32) *pile {
	h := &r.roster.heads[group]
	if h.size == 0 {
		return r.open[group]
	}
	w.desk.pile.unpack(&r.watch, w.slab.bytes(h.block)[:h.size])
	return &w.desk.pile
}

// put keeps what a group's pile has become, or lets the group go if that is nothing.
func (w *Windows) put(r *window, group uint32, p *pile) {
	h := &r.roster.heads[group]
	if len(p.facts)+len(p.told)+len(p.slots) == 0 {
		w.drop(r, group)
		return
	}
	if !w.rest(r, h, p) {
		if p.index == nil { // it has just got many facts
			w.desk.packed = w.desk.pack(p, w.desk.packed[:0])
			own := &pile{}
			own.unpack(&r.watch, w.desk.packed)
			own.find()
			r.open[group], p = own, own
			w.giveBlock(r, h)
		}
		r.weigh(h, p, p.size)
	} else {
		r.weigh(h, p, w.desk.live)
		if p.index != nil {
			delete(r.open, group)
		}
	}
	h.real = p.due(&r.watch, r.next)
	if h.real < h.due {
		r.enter(group)
	}
}

// enter puts a group into the calendar for when it is due.
func (r *window) enter(group uint32) {
	h := &r.roster.heads[group]
	h.due = h.real
	r.calendar.add(entry{h.due, group})
}

// rest packs a pile away, if it is small enough.
func (w *Windows) rest(r *window, h *head, p *pile) bool {
	if len(p.facts) > manyFacts || p.index != nil && len(p.facts) > fewFacts || len(p.slots) > maxBlock/4 {
		return false
	}
	w.desk.packed = w.desk.pack(p, w.desk.packed[:0])
	size := len(w.desk.packed)
	if size > maxBlock {
		return false
	}
	if class := blockClass(size); h.size == 0 || h.class != class {
		w.giveBlock(r, h)
		h.block, h.class = w.slab.take(class), class
		r.packed += int64(blockSize(class))
	}
	h.size = uint32(size)
	copy(w.slab.bytes(h.block), w.desk.packed)
	return true
}

func (w *Windows) giveBlock(r *window, h *head) {
	if h.size > 0 {
		r.packed -= int64(blockSize(h.class))
		w.slab.give(h.block)
		h.size = 0
	}
}

func (w *Windows) drop(r *window, group uint32) {
	h := &r.roster.heads[group]
	w.giveBlock(r, h)
	r.weight -= int64(h.weight)
	h.weight = 0
	delete(r.open, group)
	r.roster.remove(group)
}

// evict lets go of the group that was fed least recently, and tells what it has not
// told yet.
func (w *Windows) evict(r *window) []Report {
	group := r.roster.leastFed()
	p := w.lay(r, group)
	reports := w.desk.tell(&r.watch, p, math.MaxInt64)
	r.facts -= len(p.facts)
	w.drop(r, group)
	r.evicted++
	return reports
}

// Pass says that all facts of a rule up to a time have come. It returns what is new,
// or has grown, of what a settled kind reports, and what grew of the others since it
// was told, of the periods that are over now; by key and then period. What can have no
// part in a report any more is let go. A time before the last is no news.
func (w *Windows) Pass(rule string, complete time.Time) (reports []Report) {
	r := w.rules[rule]
	if r == nil {
		return nil
	}
	before, next := r.next, plus(ticks(complete), 1)
	if next <= before {
		return nil
	}
	r.next = next
	if r.roster.n == 0 {
		return nil
	}
	for _, e := range r.calendar.due(next - 1) {
		h := &r.roster.heads[e.group]
		if h.fed == 0 || h.due != e.due {
			continue // it was looked at, and is due at another time
		}
		if h.real >= next { // it was fed since
			r.enter(e.group)
			continue
		}
		h.due = math.MaxInt64
		p := w.lay(r, e.group)
		if !r.eager {
			w.desk.settle(&r.watch, p, before, next)
		}
		reports = append(reports, w.desk.tell(&r.watch, p, next)...)
		n := len(p.facts)
		w.desk.release(&r.watch, p, next)
		if len(p.facts) < n {
			r.facts -= n - len(p.facts)
			w.tidy(r, p)
		}
		w.put(r, e.group, p)
	}
	slices.SortFunc(reports, byKey)
	return reports
}

// Stats is what the rules keep, by rule.
func (w *Windows) Stats() []Stat {
	var stats []Stat
	for _, rule := range slices.Sorted(maps.Keys(w.rules)) {
		r := w.rules[rule]
		s := Stat{Rule: rule, Groups: r.roster.n, Facts: r.facts, Evicted: r.evicted, Crowded: r.crowded, Late: r.late}
		// A head and an entry of the calendar are about 64 bytes, with the room to grow.
		s.Bytes = r.packed + int64(8*len(r.roster.places)+64*len(r.roster.heads))
		for _, p := range r.open {
			s.Bytes += int64(cap(p.text) + 56*cap(p.facts) + 40*len(p.facts) + 80*len(p.words) + 4*cap(p.notes))
		}
		stats = append(stats, s)
	}
	return stats
}
