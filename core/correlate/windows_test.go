package correlate

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
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
		key := fmt.Sprint(r.Watch, "\n", r.Key, "\n", r.Bucket.UnixNano())
		_, known := l[key]
		r.Again = r.Again != known // as of one that is told once
		l[key] = r
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
	sameWeights(t, w, back)
	return back
}

// TestTimesWithoutEnd: times that no int64 of nanoseconds holds, and intervals that
// reach beyond them.
func TestTimesWithoutEnd(t *testing.T) {
	times := []time.Time{{}, time.Unix(-1<<62, 0), time.Unix(0, -1<<63), time.Unix(0, 0), time.Unix(0, 1<<63-1), time.Unix(1<<62, 0)}
	for kind := Count; kind <= Spike; kind++ {
		for _, within := range []time.Duration{0, 1, time.Hour, 1<<63 - 1} {
			for _, every := range []time.Duration{0, 1, time.Hour, 1<<63 - 1} {
				watch := Watch{Rule: "rule.r", Kind: kind, Terms: 2, Within: within, Every: every, Past: 1<<63 - 1, Least: 1, Above: 1}
				var facts []Fact
				for i, at := range times {
					for term := range 2 {
						facts = append(facts, Fact{Watch: "rule.r", Term: term, ID: fmt.Sprint(i, term), Time: at, Number: int64(i)<<62 - 1})
					}
				}
				w, said := NewWindows([]Watch{watch}), latest{}
				for i := range facts {
					said.add(w.Put(&facts[i]))
				}
				end := time.Unix(1<<62, 0)
				said.add(w.Pass("rule.r", end))
				if diff := gocmp.Diff(Reports(watch, facts, end), said.inOrder()); diff != "" {
					t.Errorf("%+v\nwant, got: %s", watch, diff)
				}
				if s := w.Stats()[0]; s.Groups+s.Facts != 0 {
					t.Errorf("%+v\nkept when all has passed: %+v", watch, s)
				}
			}
		}
	}
}

// TestWindowsOfManyFacts is TestWindows where keys have hundreds of facts, more than
// reports list, and where what was restored goes on beside what was not.
func TestWindowsOfManyFacts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		watch := anyWatch(t)
		n := 300
		if watch.Kind == Sequence || watch.Kind == All {
			n = 60 // the slow way is very slow
			watch.Terms = min(watch.Terms, 3)
		}
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		spread := rapid.SampledFrom([]int{10, 60, 600}).Draw(t, "spread")
		var facts []Fact
		for i := range n {
			id := random.IntN(n)
			f := Fact{
				Watch: watch.Rule, Term: random.IntN(watch.Terms), Key: []string{"", "", "a"}[i%3], ID: fmt.Sprint(id),
				Time:  epoch.Add(time.Duration(id*7919%n*spread/n) * time.Minute),
				Value: fmt.Sprint(id % 7), Number: int64(id%9-2) * 1000, Seq: uint64(id), Severity: id % 100,
				Observables: []sdk.Observable{{Kind: sdk.Host, Value: fmt.Sprint(id % 290)}},
			}
			facts = append(facts, f)
		}
		lateness := rapid.IntRange(0, 40).Draw(t, "lateness")
		slices.SortStableFunc(facts, func(a, b Fact) int { return a.Time.Compare(b.Time) })
		for i := range facts { // each no further from its place than the lateness
			j := min(i+random.IntN(lateness+1), len(facts)-1)
			facts[i], facts[j] = facts[j], facts[i]
		}
		first := make([]time.Time, len(facts)) // of those from each on
		for i := len(facts) - 1; i >= 0; i-- {
			first[i] = facts[i].Time
			if i+1 < len(facts) && first[i+1].Before(first[i]) {
				first[i] = first[i+1]
			}
		}
		w, said := NewWindows([]Watch{watch}), latest{}
		twin := w
		both := func(do func(w *Windows) []Report) {
			reports := do(w)
			said.add(reports)
			if twin != w {
				if diff := gocmp.Diff(reports, do(twin)); diff != "" {
					t.Fatalf("%+v\nwithout and with a restart: %s", watch, diff)
				}
			}
		}
		for i := range facts {
			switch random.IntN(20) {
			case 0:
				both(func(w *Windows) []Report { return w.Pass(watch.Rule, first[i].Add(-1)) })
			case 1:
				if twin == w {
					twin = restarted(t, w, []Watch{watch})
				}
			}
			both(func(w *Windows) []Report { return w.Put(&facts[i]) })
			if random.IntN(3) == 0 { // most are late, or repeats
				f := facts[random.IntN(i+1)]
				both(func(w *Windows) []Report { return w.Put(&f) })
			}
		}
		var a, b bytes.Buffer
		if err := errors.Join(w.Snapshot(&a), twin.Snapshot(&b)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a.Bytes(), b.Bytes()) {
			t.Fatalf("%+v\nthe snapshot is not that of one that was restarted", watch)
		}
		sameWeights(t, w, twin)
		end := epoch.Add(24 * time.Hour)
		both(func(w *Windows) []Report { return w.Pass(watch.Rule, end) })
		if diff := gocmp.Diff(Reports(watch, facts, end), said.inOrder()); diff != "" {
			t.Fatalf("%+v\nwant, got: %s", watch, diff)
		}
		for _, s := range w.Stats() {
			if s.Groups+s.Facts != 0 {
				t.Fatalf("kept when all has passed: %+v", s)
			}
		}
	})
}

// sameWeights: what a rule's groups hold is the same of windows that came about otherwise,
// since it says which groups go.
func sameWeights(t interface{ Fatalf(string, ...any) }, w, other *Windows) {
	for rule, r := range w.rules {
		sum := int64(0)
		for i := range r.roster.heads {
			sum += int64(r.roster.heads[i].weight)
		}
		if o := other.rules[rule]; r.weight != sum || o.weight != sum {
			t.Fatalf("the groups of %s hold %d, it says %d, and of the other %d", rule, sum, r.weight, o.weight)
		}
	}
}

// TestHeavyGroups: groups that hold much go as those do of which there are too many, also
// after a restart.
func TestHeavyGroups(t *testing.T) {
	watch := Watch{Rule: "rule.r", Kind: Count, Within: time.Hour, Least: 1000, Most: 1000}
	w, twin := NewWindows([]Watch{watch}), NewWindows([]Watch{watch})
	long := strings.Repeat("x", 64<<10)
	for i := range 3000 {
		f := Fact{Watch: "rule.r", Key: fmt.Sprint(i % 700), ID: fmt.Sprint(i), Time: epoch.Add(time.Duration(i)), Observables: []sdk.Observable{
			{Kind: sdk.URL, Value: fmt.Sprint("https://example.org/", i, long), Role: sdk.Indicator},
		}}
		w.Put(&f)
		twin.Put(&f)
		if r := w.rules["rule.r"]; r.weight > r.watch.room() {
			t.Fatalf("%d groups hold %d bytes, and %d are the bound", r.roster.n, r.weight, r.watch.room())
		}
		if i != 1500 {
			continue
		}
		var b bytes.Buffer
		again := NewWindows([]Watch{watch})
		if err := errors.Join(twin.Snapshot(&b), again.Restore(&b)); err != nil {
			t.Fatal(err)
		}
		twin = again
	}
	sameWeights(t, w, twin)
	s, same := w.Stats()[0], twin.Stats()[0]
	if s.Evicted == 0 || s.Groups < 100 || s.Groups != same.Groups || s.Evicted != same.Evicted {
		t.Errorf("%+v, of the twin %+v", s, same)
	}
}

func feedOne(w *Windows, rule, key, id string, at time.Duration) []Report {
	return w.Put(&Fact{Watch: rule, Key: key, ID: id, Time: epoch.Add(at)})
}

// TestMostGroups: beyond Most the key goes that was fed least recently, at once.
func TestMostGroups(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		watch := Watch{Rule: "rule.r", Kind: Count, Within: time.Hour, Least: 1000, Most: rapid.IntRange(1, 200).Draw(t, "most")}
		w := NewWindows([]Watch{watch})
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		var order []string // of the keys, by when they were last fed
		evicted := uint64(0)
		for i := range 600 {
			key := fmt.Sprint(random.IntN(300))
			feedOne(w, "rule.r", key, fmt.Sprint(i), time.Duration(i))
			if at := slices.Index(order, key); at >= 0 {
				order = slices.Delete(order, at, at+1)
			} else if len(order) == watch.Most {
				order = order[1:]
				evicted++
			}
			order = append(order, key)
			if random.IntN(100) == 0 {
				w = restarted(t, w, []Watch{watch})
			}
		}
		s := w.Stats()[0]
		if s.Groups != len(order) || s.Evicted != evicted {
			t.Fatalf("%+v, want %d groups and %d evicted", s, len(order), evicted)
		}
		r := w.rules["rule.r"]
		for i, e := range r.roster.fedUpTo(1 << 62) {
			if p := w.lay(r, e.group); string(p.bytes(p.key)) != order[i] {
				t.Fatalf("group %d is of %s, want %s", i, p.bytes(p.key), order[i])
			}
		}
	})
}

// TestEvictedIsTold: what a large report has grown by is told when its key is evicted.
func TestEvictedIsTold(t *testing.T) {
	w := NewWindows([]Watch{{Rule: "rule.r", Kind: Count, Within: time.Hour, Least: 1, Most: 1}})
	size := 0
	for i := range MaxMembers + 50 {
		for _, r := range feedOne(w, "rule.r", "a", fmt.Sprint(i), time.Duration(i)) {
			size = r.Size
		}
	}
	if size != MaxMembers+1 {
		t.Errorf("told of %d, want %d", size, MaxMembers+1)
	}
	reports := feedOne(w, "rule.r", "b", "0", 0)
	if len(reports) != 2 || reports[0].Key != "a" || reports[0].Size != MaxMembers+50 || reports[1].Key != "b" {
		t.Errorf("reports = %+v", reports)
	}
}

// TestFlood: a key with more facts than are kept still reports, lists the same first
// members, and counts them all.
func TestFlood(t *testing.T) {
	watch := Watch{Rule: "rule.r", Kind: Count, Within: time.Hour, Least: 3000}
	w, told := NewWindows([]Watch{watch}), 0
	var last Report
	const n = 50_000
	for i := range n {
		for _, r := range feedOne(w, "rule.r", "a", fmt.Sprint(i), time.Duration(i)*time.Millisecond) {
			last = r
			told++
		}
	}
	if told > 20 {
		t.Errorf("told %d times", told)
	}
	s := w.Stats()[0]
	if s.Facts > MaxFacts || int(s.Crowded)+s.Facts != n {
		t.Errorf("%+v", s)
	}
	reports := w.Pass("rule.r", epoch.Add(2*time.Hour))
	if len(reports) != 1 || reports[0].Size != n || reports[0].Members[MaxMembers-1].ID != fmt.Sprint(MaxMembers-1) || last.Bucket != reports[0].Bucket {
		t.Errorf("reports = %d, of size %d", len(reports), reports[0].Size)
	}
}

func TestLate(t *testing.T) {
	w := NewWindows([]Watch{{Rule: "rule.r", Kind: Count, Within: time.Hour, Least: 2}})
	feedOne(w, "rule.r", "", "a", time.Minute)
	w.Pass("rule.r", epoch.Add(time.Minute))
	if got := feedOne(w, "rule.r", "", "late", time.Minute); got != nil {
		t.Errorf("a late fact reports %+v", got)
	}
	if got := feedOne(w, "rule.r", "", "b", time.Minute+1); len(got) != 1 {
		t.Errorf("one that is not reports %+v", got)
	}
	if s := w.Stats()[0]; s.Late != 1 || s.Facts != 2 {
		t.Errorf("%+v", s)
	}
}

// TestConfigure: a rule keeps what it has unless what it looks for changes.
func TestConfigure(t *testing.T) {
	watch := Watch{Rule: "rule.r", Kind: Count, Within: time.Hour, Least: 2}
	other := Watch{Rule: "rule.s", Kind: First, Within: time.Hour}
	w := NewWindows([]Watch{watch, other})
	feedOne(w, "rule.r", "", "a", 0)
	feedOne(w, "rule.s", "", "a", 0)
	watch.Most, watch.Lateness = 7, time.Minute
	w.Configure([]Watch{watch})
	if s := w.Stats(); len(s) != 1 || s[0].Facts != 1 {
		t.Errorf("%+v", s)
	}
	watch.Least = 3
	var b bytes.Buffer
	if err := w.Snapshot(&b); err != nil {
		t.Fatal(err)
	}
	w.Configure([]Watch{watch, other})
	if err := w.Restore(&b); err != nil {
		t.Fatal(err)
	}
	if s := w.Stats(); len(s) != 2 || s[0].Facts != 0 || s[1].Facts != 0 {
		t.Errorf("%+v", s)
	}
	for _, p := range w.slab.pages {
		if p.used > 0 {
			t.Error("blocks of rules that are gone are kept")
		}
	}
}

// FuzzRestore: whatever bytes come, Restore says that they are no snapshot, or makes
// windows that write the same, and go on.
func FuzzRestore(f *testing.F) {
	var watches []Watch
	for kind := Count; kind <= Spike; kind++ {
		watches = append(watches, Watch{Rule: fmt.Sprint("rule.", kind), Kind: kind, Terms: 3, Unless: kind%2 == 0, Within: time.Hour, Least: 1, Past: 3 * time.Hour})
	}
	for n := range 4 {
		w := NewWindows(watches)
		for i := range 30 * n {
			for _, watch := range watches {
				w.Put(&Fact{
					Watch: watch.Rule, Term: i % 3, Key: fmt.Sprint(i % (2*n - 1)), ID: fmt.Sprint(i), Time: epoch.Add(time.Duration(i) * time.Minute),
					Value: fmt.Sprint(i), Number: int64(i), Techniques: []string{"T1"}, Observables: []sdk.Observable{{Kind: sdk.Host, Value: "a", Role: sdk.Subject}},
				})
			}
		}
		for _, watch := range watches {
			w.Pass(watch.Rule, epoch.Add(time.Duration(n)*10*time.Minute))
		}
		var b bytes.Buffer
		if err := w.Snapshot(&b); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
		f.Add(b.Bytes()[:b.Len()/2])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		w := NewWindows(watches)
		feedOne(w, watches[0].Rule, "kept", "a", 0)
		from := bytes.NewReader(b)
		if err := w.Restore(from); err != nil {
			if !errors.Is(err, ErrWindows) {
				t.Fatal(err)
			}
			if s := w.Stats()[0]; s.Facts != 1 {
				t.Fatalf("what there was is gone: %+v", s)
			}
			return
		}
		var out, again bytes.Buffer
		if err := w.Snapshot(&out); err != nil {
			t.Fatal(err)
		}
		twin := NewWindows(watches)
		if err := errors.Join(twin.Restore(bytes.NewReader(out.Bytes())), twin.Snapshot(&again)); err != nil || !bytes.Equal(out.Bytes(), again.Bytes()) {
			t.Fatalf("what it writes is not restored: %v", err)
		}
		for i, watch := range watches {
			feedOne(w, watch.Rule, "0", "new", time.Duration(i)*time.Minute)
			w.Pass(watch.Rule, epoch.Add(time.Hour))
			w.Pass(watch.Rule, epoch.Add(1000*time.Hour))
		}
	})
}
