package correlate

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/kelpie-sec/kelpie/sdk"
	"pgregory.net/rapid"
)

// epoch is not at the edge of any period that the tests have.
var epoch = time.Date(2026, 11, 30, 12, 0, 0, 7, time.UTC)

func anyWatch(t *rapid.T) Watch {
	w := Watch{
		Rule:    "rule.r",
		Kind:    Kind(rapid.IntRange(int(Count), int(Spike)).Draw(t, "kind")),
		Terms:   1,
		Within:  time.Duration(rapid.SampledFrom([]int{0, 1, 2, 3, 5, 8}).Draw(t, "within")) * time.Minute,
		Every:   time.Duration(rapid.SampledFrom([]int{0, 1, 2, 7, 30}).Draw(t, "every")) * time.Minute,
		Least:   rapid.IntRange(0, 4).Draw(t, "least"),
		Above:   rapid.Int64Range(-2, 6).Draw(t, "above") * 1000,
		Percent: rapid.SampledFrom([]int{0, 1, 50, 90, 100}).Draw(t, "percent"),
		Past:    time.Duration(rapid.IntRange(0, 12).Draw(t, "past")) * time.Minute,
		Factor:  rapid.Int64Range(0, 3000).Draw(t, "factor"),
	}
	switch w.Kind {
	case Sequence, All:
		w.Terms = rapid.IntRange(1, 4).Draw(t, "terms")
	case Absence:
		w.Terms = 2
	}
	if w.Unless = rapid.Bool().Draw(t, "unless"); w.Unless {
		w.Terms++
	}
	return w
}

// anyFacts are facts of few events, at few times.
func anyFacts(t *rapid.T, w Watch, n int) []Fact {
	var facts []Fact
	for range rapid.IntRange(0, n).Draw(t, "facts") {
		id := rapid.IntRange(0, 2*n).Draw(t, "id")
		// What an event is depends on its id alone, so that a repeat is one.
		e := Fact{
			Watch:    w.Rule,
			Term:     rapid.IntRange(0, w.Terms-1).Draw(t, "term"),
			Key:      rapid.SampledFrom([]string{"", "ip:10.0.0.1", "ip:10.0.0.1\x00host:a"}).Draw(t, "key"),
			ID:       fmt.Sprint("eve/", id),
			Time:     epoch.Add(time.Duration(id*id*7%20)*time.Minute + time.Duration(id%3-1)),
			Value:    fmt.Sprint(id * 5 % 4),
			Number:   int64(id*11%7-2) * 1000,
			Seq:      uint64(id),
			Index:    id % 3,
			Severity: id * 3 % 100,
		}
		for k := range id % 3 {
			e.Observables = append(e.Observables, sdk.Observable{Kind: sdk.Host, Value: fmt.Sprint((id + k) % 5), Role: []sdk.Role{"", sdk.Subject, sdk.Indicator}[id%3]})
			e.Techniques = append(e.Techniques, fmt.Sprint("T", (id+k)%4))
		}
		facts = append(facts, e)
	}
	return facts
}

// latest keeps the latest of each report.
type latest map[string]Report

func (l latest) add(reports []Report) {
	for _, r := range reports {
		l[fmt.Sprint(r.Watch, "\n", r.Key, "\n", r.Bucket.UnixNano())] = r
	}
}

// inOrder gives them by rule, key and period.
func (l latest) inOrder() []Report {
	var all []Report
	for _, r := range l {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b Report) int {
		return cmp.Or(strings.Compare(a.Watch, b.Watch), strings.Compare(a.Key, b.Key), a.Bucket.Compare(b.Bucket))
	})
	return all
}

// TestWindows: in any order within the lateness, with repeats, with Pass and a
// restart anywhere, the last of each report is what Reports says of the set.
func TestWindows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		watch := anyWatch(t)
		facts := anyFacts(t, watch, 24)
		w, said := NewWindows([]Watch{watch}), latest{}
		var log []string
		left := rapid.Permutation(append(slices.Clone(facts), facts...)).Draw(t, "order")
		for len(left) > 0 {
			switch rapid.IntRange(0, 9).Draw(t, "do") {
			case 0:
				// As far as what is still to come allows.
				complete := left[0].Time
				for _, f := range left {
					if f.Time.Before(complete) {
						complete = f.Time
					}
				}
				back := time.Duration(rapid.SampledFrom([]int{0, 0, 1, 5}).Draw(t, "back")) * time.Minute
				said.add(w.Pass(watch.Rule, complete.Add(-1-back)))
				log = append(log, fmt.Sprint("pass ", complete.Add(-1-back)))
			case 1:
				w = restarted(t, w, []Watch{watch})
			case 2: // what is earliest, so that Pass can get on
				at := 0
				for i, f := range left {
					if f.Time.Before(left[at].Time) {
						at = i
					}
				}
				left[0], left[at] = left[at], left[0]
				fallthrough
			default:
				said.add(w.Put(&left[0]))
				log = append(log, fmt.Sprint("put ", left[0].ID, " ", left[0].Term, " ", left[0].Key, " ", left[0].Time))
				left = left[1:]
			}
		}
		end := epoch.Add(24 * time.Hour)
		said.add(w.Pass(watch.Rule, end))
		if diff := gocmp.Diff(Reports(watch, facts, end), said.inOrder()); diff != "" {
			t.Fatalf("%+v\n%s\nwant, got: %s", watch, strings.Join(log, "\n"), diff)
		}
		for _, s := range w.Stats() {
			if s.Groups+s.Facts != 0 {
				t.Fatalf("kept when all has passed: %+v", s)
			}
		}
	})
}

// restarted is what a restart makes of windows; it is checked to be the same.
func restarted(t *rapid.T, w *Windows, watches []Watch) *Windows {
	var before, after bytes.Buffer
	if err := w.Snapshot(&before); err != nil {
		t.Fatal(err)
	}
	before.WriteString("more")
	all := bytes.Clone(before.Bytes())
	back := NewWindows(watches)
	if err := back.Restore(&before); err != nil {
		t.Fatal(err)
	}
	if before.String() != "more" {
		t.Fatalf("Restore left %q", before.String())
	}
	if err := back.Snapshot(&after); err != nil {
		t.Fatal(err)
	}
	after.WriteString("more")
	if !bytes.Equal(all, after.Bytes()) {
		t.Fatalf("snapshot  %q\nof what it restored %q", all, after.Bytes())
	}
	return back
}
