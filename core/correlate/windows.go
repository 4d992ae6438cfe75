package correlate

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// ErrWindows means that bytes are no snapshot of Windows.
var ErrWindows = errors.New("not a snapshot of windows")

// Windows keeps the facts of rules over several, and tells what they report. After
// any sequence of Put and Pass, in which no fact came when its time was complete, the
// latest of each report is what Reports makes of all facts.
//
// It is not safe for concurrent use.
type Windows struct {
	rules map[string]*window
}

// window is what is kept of one rule.
type window struct {
	Watch    Watch
	Complete *int64 // up to which facts are complete; nil: none is
	Fed      uint64
	Groups   map[string]*heap
	Stat     Stat
}

// heap is what is kept of one key.
type heap struct {
	Fed   uint64
	Facts []Fact
	Told  map[int64]string // by period: the report, as it was told
}

// NewWindows returns windows without facts.
func NewWindows(watches []Watch) *Windows {
	w := &Windows{rules: map[string]*window{}}
	w.Configure(watches)
	return w
}

// Configure replaces the rules. What is known of a rule of which the watch is
// unchanged stays; the others begin anew.
func (w *Windows) Configure(watches []Watch) {
	old := w.rules
	w.rules = map[string]*window{}
	for _, watch := range watches {
		watch = watch.normal()
		if r := old[watch.Rule]; r != nil && r.Watch == watch {
			w.rules[watch.Rule] = r
			continue
		}
		w.rules[watch.Rule] = &window{Watch: watch, Groups: map[string]*heap{}, Stat: Stat{Rule: watch.Rule}}
	}
}

// Put adds a fact, and returns what is new, or has grown, of what its rule reports, if
// the rule's kind is eager. A report of more than MaxMembers may be told only now and
// then as it grows, and as it is in the end by the Pass that completes its period.
//
// A repeat changes nothing, nor does a fact of a rule or a term that there is not, nor
// one of which the time is complete: that is counted as late.
func (w *Windows) Put(f *Fact) []Report {
	r := w.rules[f.Watch]
	if r == nil || f.Term < 0 || f.Term >= r.Watch.Terms {
		return nil
	}
	if r.Complete != nil && ticks(f.Time) <= *r.Complete {
		r.Stat.Late++
		return nil
	}
	g := r.Groups[f.Key]
	if g == nil {
		r.evict()
		g = &heap{Told: map[int64]string{}}
		r.Groups[f.Key] = g
	}
	r.Fed++
	g.Fed = r.Fed
	if slices.ContainsFunc(g.Facts, func(o Fact) bool { return o.ID == f.ID && o.Term == f.Term }) {
		return nil
	}
	g.Facts = append(g.Facts, *f)
	if !r.Watch.eager() {
		return nil
	}
	return r.news(g)
}

// evict makes room for one more group.
func (r *window) evict() {
	if len(r.Groups) < r.Watch.Most {
		return
	}
	oldest := ""
	for key, g := range r.Groups {
		if o := r.Groups[oldest]; o == nil || g.Fed < o.Fed {
			oldest = key
		}
	}
	delete(r.Groups, oldest)
	r.Stat.Evicted++
}

// news returns the reports of a group that are not told as they are.
func (r *window) news(g *heap) (news []Report) {
	var complete time.Time
	if r.Complete != nil {
		complete = fromTicks(*r.Complete)
	}
	for _, report := range Reports(r.Watch, g.Facts, complete) {
		p := r.Watch.period(ticks(report.Time))
		text, _ := json.Marshal(report)
		if g.Told[p] != string(text) && (r.Complete == nil || !r.over(p)) {
			g.Told[p] = string(text)
			news = append(news, report)
		}
	}
	return news
}

// over tells whether no hit of a period can come any more.
func (r *window) over(period int64) bool { return period < r.Watch.period(*r.Complete) }

// Pass says that all facts of a rule up to a time have come. It returns what is new,
// or has grown, of what a settled kind reports, by key and then period. What can have
// no part in a report any more is let go. A time before the last is no news.
func (w *Windows) Pass(rule string, complete time.Time) (reports []Report) {
	r := w.rules[rule]
	if r == nil || r.Complete != nil && *r.Complete >= ticks(complete) {
		return nil
	}
	before, now := r.Complete, ticks(complete)
	watch := &r.Watch
	far := plus(plus(int64(watch.Past), 3*int64(min(watch.Within, 1<<60))), 2*int64(min(watch.Every, 1<<60)))
	for _, key := range slices.Sorted(maps.Keys(r.Groups)) {
		g := r.Groups[key]
		r.Complete = &now
		all := Reports(r.Watch, g.Facts, complete)
		for _, report := range all {
			p := watch.period(ticks(report.Time))
			text, _ := json.Marshal(report)
			if g.Told[p] != string(text) && (before == nil || p >= watch.period(*before)) {
				g.Told[p] = string(text)
				reports = append(reports, report)
			}
		}
		g.Facts = slices.DeleteFunc(g.Facts, func(f Fact) bool { return plus(ticks(f.Time), far) < now })
		maps.DeleteFunc(g.Told, func(p int64, _ string) bool { return r.over(p) })
		if len(g.Facts) == 0 {
			delete(r.Groups, key)
		}
	}
	r.Complete = &now
	return reports
}

// Stats is what the rules keep, by rule.
func (w *Windows) Stats() []Stat {
	var stats []Stat
	for _, rule := range slices.Sorted(maps.Keys(w.rules)) {
		r := w.rules[rule]
		s := r.Stat
		for key, g := range r.Groups {
			s.Groups++
			s.Facts += len(g.Facts)
			s.Bytes += int64(len(key) + 200*len(g.Facts))
		}
		stats = append(stats, s)
	}
	return stats
}

// Snapshot writes all that is remembered. Equal windows write equal bytes.
func (w *Windows) Snapshot(to io.Writer) error {
	text, err := json.Marshal(w.rules)
	if err != nil {
		return err
	}
	_, err = to.Write(append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...))
	return err
}

// Restore takes the place of what is remembered by what a snapshot says of those rules
// of which the watch is the same; others begin anew. It reads what Snapshot wrote and
// no more. Bytes that are no snapshot are ErrWindows, and change nothing.
func (w *Windows) Restore(from io.Reader) error {
	var size [8]byte
	if _, err := io.ReadFull(from, size[:]); err != nil {
		return fmt.Errorf("%w: %w", ErrWindows, err)
	}
	var text bytes.Buffer
	n := int64(binary.LittleEndian.Uint64(size[:]))
	if _, err := io.CopyN(&text, from, n); err != nil || n < 0 {
		return fmt.Errorf("%w: %w", ErrWindows, err)
	}
	rules := map[string]*window{}
	if err := json.NewDecoder(strings.NewReader(text.String())).Decode(&rules); err != nil {
		return fmt.Errorf("%w: %w", ErrWindows, err)
	}
	var watches []Watch
	for _, r := range w.rules {
		watches = append(watches, r.Watch)
	}
	w.rules = rules
	w.Configure(watches)
	return nil
}
