package correlate

import (
	"math"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// Kind is what a rule over several looks for in the facts of one key.
//
// A hit is a fact, and whether a fact is one depends on the set of the facts of its
// key alone. The interval of a fact f is what lies in (f.Time-Within, f.Time]; of
// Sequence and All its beginning is part of it.
type Kind uint8

// The kinds. Of the eager ones, which further facts only add hits to, Put reports at
// once; the settled ones Pass reports, when nothing earlier can come.
const (
	// Count: at least Least facts lie in the interval. Eager.
	Count Kind = iota
	// Distinct: facts with at least Least different Values do. Eager.
	Distinct
	// Sum of the Numbers is at least Above; those below 0 count as 0. Eager.
	Sum
	// Average of the Numbers is at least Above, and there are at least Least. Settled.
	Average
	// Percentile of the Numbers, by nearest rank, is at least Above, and there are at
	// least Least. Settled.
	Percentile
	// Sequence: facts of terms 0, 1, … up to the last, which is that of f, lie in the
	// interval in this order, all of different events. Equal times are in order. Eager.
	Sequence
	// All: a fact of each term lies in the interval, all of different events. Eager.
	All
	// Absence: f is of term 0 and no other event has a fact of term 1 in
	// [f.Time, f.Time+Within]. The hit's time is the end of that. Settled.
	Absence
	// First: no fact lies in [f.Time-Within, f.Time), and f is the first by id of those
	// at its time. Settled.
	First
	// Spike: the Numbers in the interval add up to more than Factor times what the key
	// had on average in Past, and the interval has at least Least facts. Past is counted
	// in whole periods of Within, aligned to 1970: those that end at or before the
	// interval begins, Past/Within of them (at least one). A key without a past has an
	// average of 0. Numbers below 0 count as 0; to count facts, each has 1000. Settled.
	Spike
)

// Watch is what one rule over several looks for.
//
// With Unless the last term is one that must not come: it cuts the interval, so that
// a hit has only what is later than the latest such fact up to f.Time. It has no
// effect on Absence, First and Spike, and makes the eager kinds settled.
type Watch struct {
	Rule     string // its address
	Kind     Kind
	Terms    int // how many terms facts can be of, that of Unless included; 0 is 1
	Unless   bool
	Within   time.Duration
	Every    time.Duration // a key is reported once in each; 0: Within
	Least    int
	Above    int64         // in thousandths
	Percent  int           // of Percentile, 0 to 100
	Past     time.Duration // of Spike
	Factor   int64         // of Spike, in thousandths
	Lateness time.Duration // how far behind facts come; for the caller's use
	Most     int           // groups kept; 0: DefaultMostGroups
}

// Bounds of what a rule keeps.
const (
	DefaultMostGroups = 1_000_000 // keys with facts
	// MaxFacts is how many facts a key keeps, or some more than Least if that is more.
	// Of one that has more those go that came after the first MaxMembers, beginning with
	// the earliest of the term that has the most; the report counts them all the same.
	MaxFacts = 4096
	// What the groups of a rule hold is GroupRoom for each of Most in the mean, or LeastRoom
	// if that is more. Beyond that groups go as they do beyond Most.
	GroupRoom = 512
	LeastRoom = 64 << 20
	// MaxPast is how many periods of Within the Past of Spike is at most.
	MaxPast = 1024

	maxTerms = 64
)

// Fact is one event, or one signal, that matched a term of a rule over several. A
// second one with the same Watch, Term, Key and ID is a repeat. All facts of one ID
// have one Time.
type Fact struct {
	Watch       string // the rule's address
	Term        int
	Key         string // the canonical values that the rule groups by; who makes it bounds its length
	ID          string // of the event or signal; likewise
	Time        time.Time
	Value       string // what Distinct counts
	Number      int64  // what is added up or compared, in thousandths
	Seq         uint64 // where the event lies in EVENTS
	Index       int
	Observables []sdk.Observable // canonical
	Severity    int
	Techniques  []string
}

// Bounds of a report.
const (
	MaxMembers     = 100
	MaxObservables = 256 // and as many techniques
)

// Report is what the hits of one key in one period of Every come to. Its members are
// the events of which a fact lies in a hit's interval and, of Sequence, between what
// comes before it and what comes after.
type Report struct {
	Watch       string
	Key         string
	Bucket      time.Time // beginning of the period
	Time        time.Time // of the earliest hit
	First, Last time.Time // of the members
	Size        int       // of all members
	Members     []FactRef // the first MaxMembers by time, then id
	Observables []sdk.Observable
	Severity    int // the highest
	Techniques  []string
	Number      int64 // what was counted or computed at the strongest hit, in thousandths
	Again       bool  // the period was reported before
}

// FactRef is a member of a report: an event, with the lowest of the terms for which it
// is one.
type FactRef struct {
	ID    string
	Seq   uint64
	Index int
	Term  int
	Time  time.Time
}

// Stat is what one rule's facts cost.
type Stat struct {
	Rule    string
	Groups  int    // keys with facts
	Facts   int    // kept
	Bytes   int64  // about
	Evicted uint64 // keys let go since there were more than Most, or held too much
	Crowded uint64 // facts let go since their key had too many
	Late    uint64 // facts that came when their time was complete, and changed nothing
}

// normal returns the watch with its defaults filled in.
func (w Watch) normal() Watch {
	w.Terms = min(max(w.Terms, 1), maxTerms)
	w.Within = max(w.Within, 0)
	if w.Every <= 0 {
		w.Every = max(w.Within, 1)
	}
	w.Least = max(w.Least, 1)
	w.Percent = min(max(w.Percent, 0), 100)
	w.Factor = max(w.Factor, 0)
	if w.Within <= math.MaxInt64/MaxPast {
		w.Past = min(w.Past, MaxPast*w.Within)
	}
	if w.Most <= 0 {
		w.Most = DefaultMostGroups
	}
	w.Most = min(w.Most, math.MaxInt32)
	return w
}

// steps is how many terms a hit needs, that of Unless not among them.
func (w *Watch) steps() int {
	if w.Unless {
		return max(w.Terms-1, 1)
	}
	return w.Terms
}

// cuts tells whether facts of a term cut intervals short.
func (w *Watch) cuts() bool {
	return w.Unless && w.Terms > 1 && w.Kind != Absence && w.Kind != First && w.Kind != Spike
}

func (w *Watch) eager() bool {
	switch w.Kind {
	case Count, Distinct, Sum, Sequence, All:
		return !w.cuts()
	}
	return false
}

// inside tells whether t lies in the interval that ends at end; t is not after end.
func (w *Watch) inside(t, end int64) bool {
	d := uint64(end) - uint64(t)
	if w.Kind == Sequence || w.Kind == All {
		return d <= uint64(w.Within)
	}
	return d < uint64(w.Within)
}

// period is the number of the period of Every that a time is in.
func (w *Watch) period(t int64) int64 { return floorDiv(t, int64(w.Every)) }

// past is how many periods the Past of Spike is.
func (w *Watch) past() int64 { return max(int64(w.Past/max(w.Within, 1)), 1) }

// periodStart is the first time of a period that has a representable one.
func (w *Watch) periodStart(n int64) int64 { return startOf(n, int64(w.Every)) }

func startOf(n, every int64) int64 {
	if n < math.MinInt64/every {
		return math.MinInt64
	}
	return n * every
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// plus adds without going beyond what an int64 can hold.
func plus(a, b int64) int64 {
	if s := a + b; (s > a) == (b > 0) {
		return s
	}
	if b > 0 {
		return math.MaxInt64
	}
	return math.MinInt64
}

// times adds the same non-negative number n times.
func times(n, a int64) int64 {
	if a != 0 && n > math.MaxInt64/a {
		return math.MaxInt64
	}
	return n * a
}

// instant is the time of a fact: one that is before the end of time, so that there is
// a time by which it is complete.
func instant(t time.Time) int64 { return min(ticks(t), math.MaxInt64-1) }

// later is the instant that is d after another.
func later(at int64, d time.Duration) int64 { return min(plus(at, int64(d)), math.MaxInt64-1) }
