//go:build linux

package faulttest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"
)

// The doors are where people sign in: two feeds of facts, which only rules over several
// events read. Their events come in disorder, within the lateness, and twice.

// Door is what an event of a door feed says.
type Door struct {
	After time.Duration // since the feeds began
	Kind  string
	User  string
	From  string // address
	// Watch is the row of the table by which an event that is tried is one that counts.
	Watch int
}

// The kinds.
const (
	failed = "failed"
	ok     = "ok"
	badge  = "badge"
	tried  = "tried"
	quiet  = "quiet" // in no pipeline
)

const (
	doorAddresses = 24
	// doorStep is from one event to the next, in the order of their times.
	doorStep = 30 * time.Second
	// doorDisorder is how far an event may come behind its place: by time that is a part
	// of the lateness, so that a delivery that comes behind the next is within it.
	doorDisorder = 70
	// doorDelivery is how many events a delivery has.
	doorDelivery = 8
	// doorClosed is how long after the last event one comes by which nothing earlier is
	// waited for any more, and of which no rule makes anything.
	doorClosed = 4 * time.Hour
)

func doorUser(n int) string { return fmt.Sprintf("lee-%d", n) }

func doorAddress(n int) string { return fmt.Sprintf("203.0.113.%d", n+1) }

// drawDoors makes so many events of a feed, in the order in which they come.
func drawDoors(r *rand.Rand, n int) []Event {
	all := make([]Event, 0, n+1)
	hot := 0
	for i := range n {
		if i%15 == 0 {
			hot = r.IntN(2 * doorAddresses) // of half of them none
		}
		from := r.IntN(doorAddresses)
		user := 2*from + r.IntN(2)
		if r.IntN(200) == 0 {
			user = r.IntN(2 * doorAddresses)
		}
		d := &Door{After: time.Duration(i) * doorStep, User: doorUser(user), From: doorAddress(from)}
		e := Event{Key: strconv.Itoa(i), N: i, Class: Fact, Door: d}
		switch k := r.IntN(20); {
		case k < 9:
			d.Kind = failed
			if hot < doorAddresses {
				d.From = doorAddress(hot)
			}
		case k < 13:
			d.Kind = ok
			if hot < doorAddresses && k == 9 {
				d.From = doorAddress(hot)
			}
		case k < 16:
			d.Kind = badge
		case k < 18:
			d.Kind, d.Watch = tried, i*watchRows/n
		default:
			d.Kind, e.Class = quiet, Passed
		}
		all = append(all, e)
	}
	places := map[int]int{}
	for i := range all {
		places[i] = i + r.IntN(doorDisorder)
	}
	slices.SortStableFunc(all, func(a, b Event) int { return places[a.N] - places[b.N] })
	last := &Door{After: time.Duration(n)*doorStep + doorClosed, Kind: tried, User: "nobody", From: "203.0.113.250"}
	return append(all, Event{Key: strconv.Itoa(n), N: n, Class: Fact, Door: last})
}

func newDoorFile(name string, r *rand.Rand, n int, g *gate) *fileFeed {
	return &fileFeed{name: name, events: drawDoors(r, n), gate: g}
}

// newDoorScript has some events twice, at once, later, as a later revision, or under two
// ids.
func newDoorScript(name string, r *rand.Rand, n, again int, g *gate) *scriptFeed {
	f := &scriptFeed{name: name, again: again, gate: g}
	var all []Event
	drawn := drawDoors(r, n)
	for _, e := range drawn[:n] {
		all = append(all, e)
		if r.IntN(10) == 0 {
			e.Key += "-twin"
			all = append(all, e)
		}
	}
	f.deliver(r, repeats(r, all), doorDelivery)
	f.end(drawn[n])
	return f
}

func (d *Door) json(e *Event) []byte {
	data, err := json.Marshal(map[string]any{
		"n": e.N, "kind": d.Kind, "time": e.Time(), "user": d.User, "from": d.From, "watch": watchRow(d.Watch),
		"title": fmt.Sprintf("%d.%d", e.N, e.Revision),
	})
	if err != nil {
		panic(err) // it is all text and numbers
	}
	return data
}
