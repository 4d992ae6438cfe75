//go:build linux

package faulttest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/faulttest/far"
)

// scriptFeed is played by the plugin script: events come in deliveries of many sizes,
// late, out of order, twice under one id, twice under two, and in later revisions.
type scriptFeed struct {
	name       string
	again      int // deliveries that each new session sends again
	deliveries [][]Event
	plays      []far.Play // of each delivery
	next       int        // delivery
	offered    int
	gate       *gate
}

func newScriptFeed(name string, r *rand.Rand, n, groups, again int) *scriptFeed {
	f := &scriptFeed{name: name, again: again}
	var all []Event
	for i := range n {
		e := draw(r, i, groups)
		if e.Class == Rejected {
			e.Reason = []string{notRead, tooLarge, notAnEvent}[i%3]
		}
		all = append(all, e)
		if r.IntN(10) == 0 { // an equal one, which is another
			e.Key += "-twin"
			all = append(all, e)
		}
	}
	disorder(r, all)
	f.deliver(r, repeats(r, all), 1<<5)
	f.end(Event{Key: "end", N: n, Class: Passed, Groups: []int{0}})
	return f
}

// end has an event come behind all others.
func (f *scriptFeed) end(e Event) {
	f.deliveries, f.plays = append(f.deliveries, []Event{e}), append(f.plays, "")
}

// ends tells whether the end is in the log: one that offers again may have come to as
// many events before.
func (f *scriptFeed) ends(log []api.EventLine) bool {
	last := f.deliveries[len(f.deliveries)-1][0].Key
	return slices.ContainsFunc(log, func(l api.EventLine) bool { return l.ID == last })
}

// deliver makes deliveries of events, of at most so many each.
func (f *scriptFeed) deliver(r *rand.Rand, all []Event, most int) {
	for len(all) > 0 {
		k := min(1+r.IntN(1<<r.IntN(6)), most, len(all))
		f.deliveries = append(f.deliveries, all[:k])
		all = all[k:]
	}
	f.plays = make([]far.Play, len(f.deliveries))
	if f.again > 0 {
		f.drawPlays(r)
	}
}

// drawPlays has some deliveries played otherwise than plainly. Two that have a key in
// common keep their order, since the later revision counts.
func (f *scriptFeed) drawPlays(r *rand.Rand) {
	for i, d := range f.deliveries {
		switch r.IntN(10) {
		case 0:
			f.plays[i] = far.Duplicated
		case 1:
			f.plays[i] = far.Delayed
		case 2, 3, 4:
			if i+1 < len(f.deliveries) && disjoint(d, f.deliveries[i+1]) {
				f.plays[i] = far.Reordered
			}
		}
	}
}

func disjoint(a, b []Event) bool {
	return !slices.ContainsFunc(a, func(x Event) bool {
		return slices.ContainsFunc(b, func(y Event) bool { return x.Key == y.Key })
	})
}

// Played counts the deliveries that were played so and taken by the core.
func (f *scriptFeed) Played(dir string) (map[far.Play]int, error) {
	data, err := os.ReadFile(f.path(dir) + ".played")
	counts := map[far.Play]int{}
	for line := range strings.Lines(string(data)) {
		counts[far.Play(strings.TrimSpace(line))]++
	}
	return counts, ignoreMissing(err)
}

// disorder moves one in ten events to a place nearby.
func disorder(r *rand.Rand, all []Event) {
	for i := range all {
		if r.IntN(10) == 0 {
			j := min(i+r.IntN(60), len(all)-1)
			all[i], all[j] = all[j], all[i]
		}
	}
}

// repeats puts later revisions of some events, and some just as they were, behind them.
func repeats(r *rand.Rand, all []Event) []Event {
	var out []Event
	newest := map[string]Event{}
	for _, e := range all {
		out = append(out, e)
		newest[e.Key] = e
		old := newest[out[r.IntN(len(out))].Key]
		switch r.IntN(12) {
		case 0:
			out = append(out, old)
		case 1:
			old.Revision++
			old.Severity = min(old.Severity+5, 100)
			out = append(out, old)
			newest[old.Key] = old
		}
	}
	return out
}

func (f *scriptFeed) Name() string                   { return f.name }
func (f *scriptFeed) Plugin() string                 { return "script" }
func (f *scriptFeed) Events() []Event                { return slices.Concat(f.deliveries...) }
func (f *scriptFeed) Offered() int                   { return f.offered }
func (f *scriptFeed) Exactly() bool                  { return f.again == 0 }
func (f *scriptFeed) Key(id string, _ []byte) string { return id }

func (f *scriptFeed) Block(dir string, _ variant) string {
	return fmt.Sprintf("detector \"script\" %q {\n  file  = %q\n  again = %d\n}\n", f.name, f.path(dir), f.again)
}

func (f *scriptFeed) path(dir string) string { return filepath.Join(dir, f.name+".script") }

// large is the size of an event that no log takes.
const large = 1<<20 + 1

func (f *scriptFeed) Offer(dir string, n int) error {
	var text []byte
	for ; n > 0 && f.next < len(f.deliveries) && f.gate.open(f.deliveries[f.next]...); f.next++ {
		d := far.Delivery{Play: f.plays[f.next]}
		for _, e := range f.deliveries[f.next] {
			entry := far.Event{ID: e.Key, Revision: strconv.Itoa(e.Revision), Raw: e.JSON()}
			switch e.Reason {
			case notRead:
				entry.Problem = "half a line"
			case tooLarge:
				entry.Large = large
			}
			d.Events = append(d.Events, entry)
		}
		line, err := json.Marshal(d)
		if err != nil {
			return err
		}
		text = append(append(text, line...), '\n')
		n -= len(d.Events)
		f.offered += len(d.Events)
	}
	return appendTo(f.path(dir), text)
}
