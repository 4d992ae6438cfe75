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

// DefaultMostGroups bounds how many keys a rule keeps facts of.
const DefaultMostGroups = 1_000_000

// Fact is one event, or one signal, that matched a term of a rule over several. A
// second one with the same Watch, Term, Key and ID is a repeat.
type Fact struct {
	Watch       string // the rule's address
	Term        int
	Key         string // the canonical values that the rule groups by
	ID          string // of the event or signal
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
	Evicted uint64 // keys let go since there were more than Most
	Crowded uint64 // facts let go since their key had too many
	Late    uint64 // facts that came when their time was complete, and changed nothing
}

// normal returns the watch with its defaults filled in.
func (w Watch) normal() Watch {
	w.Terms = max(w.Terms, 1)
	w.Within = max(w.Within, 0)
	if w.Every <= 0 {
		w.Every = max(w.Within, 1)
	}
	w.Least = max(w.Least, 1)
	w.Percent = min(max(w.Percent, 0), 100)
	if w.Most <= 0 {
		w.Most = DefaultMostGroups
	}
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

// periodStart is the first time of a period that has a representable one.
func (w *Watch) periodStart(n int64) int64 {
	if n < math.MinInt64/int64(w.Every) {
		return math.MinInt64
	}
	return n * int64(w.Every)
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
