package enrich

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

func testQueue(t *testing.T, d *desk, now *time.Time) *queue {
	e := &Enricher{
		Backlog: d, Asker: &vendor{answer: always}, Reporter: d, Shelf: d,
		Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return *now },
	}
	m, err := newMemory(memoryBytes)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.close)
	return newQueue(e, source(nil), nil, m)
}

// TestQueueIsBounded: however many asks come, answered at once, late, or never, what is
// kept of them has a bound.
func TestQueueIsBounded(t *testing.T) {
	for _, answered := range []bool{true, false} {
		t.Run(fmt.Sprint("answered ", answered), func(t *testing.T) {
			now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
			q := testQueue(t, newDesk(), &now)
			for i := range 90_000 {
				o := sdk.Observable{Kind: sdk.IP, Value: fmt.Sprint(i)}
				q.add(model.Ask{ID: fmt.Sprint("a-", i), Enrichment: feed, Observable: o, AskedAt: now})
				switch {
				case i == 0: // its asker stays the first in line
				case answered:
					q.finish(t.Context(), result{lookups: []*lookup{q.lookups[o]}, answers: []Answer{{}}})
				case i%maxWaiting == 0:
					now = now.Add(q.source.Patience)
					q.giveUp(t.Context())
				}
				bound := 2*(maxLookups+2*maxWaiting) + maxWaiting
				if len(q.ready.oldest.items) > 2*bound || len(q.deadlines.items) > 2*bound || len(q.lookups) > maxLookups+2*maxWaiting || len(q.late.items) > 8*maxLookups {
					t.Fatalf("after %d asks: %d ready, %d deadlines, %d lookups, %d late",
						i, len(q.ready.oldest.items), len(q.deadlines.items), len(q.lookups), len(q.late.items))
				}
			}
			waiting, late := 0, 0
			for _, l := range q.lookups {
				waiting += len(l.asks)
				if len(l.asks) == 0 {
					late++
				}
			}
			if waiting != q.waiting || late != q.onlyLate {
				t.Errorf("counted %d waiting and %d late, there are %d and %d", q.waiting, q.onlyLate, waiting, late)
			}
		})
	}
}
