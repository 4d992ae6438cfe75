package correlate

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// Signal is what a grouping depends on.
type Signal struct {
	ID          string
	Time        time.Time
	Observables []sdk.Observable // canonical
}

// Group puts signals into cases: two signals that share a value, in whatever role,
// and are no further apart than the window are in one case, and so is everything
// that they are joined with by others. Values of NeverJoin join nothing. What people
// have decided stands above that: signals that are tied are in one case, and one that
// was split off shares no value with any other. Each case lists the ids of its signals
// by time, then id; the cases are in the order of their first.
//
// No case is cut here, however large (see Settings.Most).
//
// It compares every signal with every other: Index gives the same and is fast.
func Group(signals []Signal, s Settings) [][]string {
	h := readHand(s.Decisions)
	group := make([]int, len(signals))
	for i := range group {
		group[i] = i
	}
	for i := range signals {
		for j := range i {
			if group[i] == group[j] || !joined(&signals[i], &signals[j], s, h) {
				continue
			}
			from, to := group[i], group[j]
			for k := range group {
				if group[k] == from {
					group[k] = to
				}
			}
		}
	}
	order := make([]int, len(signals))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int {
		a, b := ticks(signals[i].Time), ticks(signals[j].Time)
		switch {
		case a < b:
			return -1
		case a > b:
			return 1
		}
		return strings.Compare(signals[i].ID, signals[j].ID)
	})
	var cases [][]string
	place := map[int]int{}
	for _, i := range order {
		at, ok := place[group[i]]
		if !ok {
			at = len(cases)
			place[group[i]] = at
			cases = append(cases, nil)
		}
		cases[at] = append(cases[at], signals[i].ID)
	}
	return cases
}

func joined(a, b *Signal, s Settings, h hand) bool {
	if slices.Contains(h.tied[a.ID], b.ID) {
		return true
	}
	if h.apart[a.ID] || h.apart[b.ID] || !near(ticks(a.Time), ticks(b.Time), s.Window) {
		return false
	}
	for _, o := range a.Observables {
		o.Role = ""
		if s.Never(o) || slices.Contains(h.never, o) {
			continue
		}
		for _, p := range b.Observables {
			if p.Kind == o.Kind && p.Value == o.Value {
				return true
			}
		}
	}
	return false
}

// ticks is a time in nanoseconds since 1970. Times that do not fit (before 1678,
// after 2262) count as the first or last that does.
func ticks(t time.Time) int64 {
	switch s := t.Unix(); {
	case s < math.MinInt64/int64(time.Second):
		return math.MinInt64
	case s >= math.MaxInt64/int64(time.Second):
		return math.MaxInt64
	}
	return t.UnixNano()
}

func fromTicks(n int64) time.Time { return time.Unix(0, n).UTC() }

// near tells whether two times are no further apart than the window.
func near(a, b int64, window time.Duration) bool {
	if a > b {
		a, b = b, a
	}
	return window >= 0 && uint64(b)-uint64(a) <= uint64(window)
}
