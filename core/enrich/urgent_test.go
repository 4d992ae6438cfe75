package enrich

import (
	"fmt"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// TestUrgentGoesBeforeAFlood: behind a flood of questions of low cases that memory does
// not hold, that of a severe case is the next to be asked, and the oldest of the flood
// have their share.
func TestUrgentGoesBeforeAFlood(t *testing.T) {
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	d := newDesk()
	ask := func(severity int) string {
		n := len(d.pending) + 1
		a := model.Ask{
			ID: fmt.Sprint("a-", n), Enrichment: feed, Severity: severity, AskedAt: now,
			Observable: sdk.Observable{Kind: sdk.IP, Value: fmt.Sprint(n)},
		}
		d.pending = append(d.pending, Pending{Number: int64(n), Ask: a})
		return a.Observable.Value
	}
	for range 3 * maxWaiting {
		ask(10)
	}
	q := testQueue(t, d, &now)
	q.scan(t.Context())
	if q.waiting < maxWaiting || q.waiting > maxWaiting+urgentPage {
		t.Fatalf("%d wait in memory", q.waiting)
	}
	soon, highest, later := ask(80), ask(95), ask(80)
	q.scan(t.Context())
	var got []string
	some, _ := q.take(3)
	for _, l := range some {
		got = append(got, l.observable.Value)
	}
	if fmt.Sprint(got) != fmt.Sprint([]string{highest, soon, later}) {
		t.Errorf("asked about %v, want %v", got, []string{highest, soon, later})
	}
	for range 100 {
		ask(90)
	}
	for range 10 { // no end of them comes in
		q.scan(t.Context())
	}
	if q.waiting > maxWaiting+urgentRoom+urgentPage {
		t.Errorf("%d wait in memory", q.waiting)
	}
	old := 0
	oldest, _ := q.take(4 * fairShare)
	for _, l := range oldest {
		if l.severity == 10 {
			old++
		}
	}
	if old != 4 {
		t.Errorf("%d of %d were about the oldest, want 4", old, 4*fairShare)
	}
}

// TestARaisedLookupComesForward: a severe case that asks the same as a low one.
func TestARaisedLookupComesForward(t *testing.T) {
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	q := testQueue(t, newDesk(), &now)
	for i, value := range []string{"a", "b", "c", "b"} {
		q.add(model.Ask{ID: fmt.Sprint(i), Observable: sdk.Observable{Kind: sdk.IP, Value: value}, AskedAt: now, Severity: i})
	}
	var got []string
	some, _ := q.take(9)
	for _, l := range some {
		got = append(got, l.observable.Value)
	}
	if fmt.Sprint(got) != "[b c a]" || q.ready.len() != 0 {
		t.Errorf("asked about %v, and %d left", got, q.ready.len())
	}
}
