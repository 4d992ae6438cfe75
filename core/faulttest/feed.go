//go:build linux

package faulttest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Class is what must become of an event.
type Class string

// The classes.
const (
	Matched  Class = "matched"
	Passed   Class = "passed"
	Ignored  Class = "ignored"
	Rejected Class = "rejected"
	// Fact: nothing but rules over several reads it.
	Fact Class = "fact"
)

// Why an event is rejected, as the ledger says it.
const (
	notAnEvent = "not an event"
	notRead    = "not read"
	tooLarge   = "too large"
)

// Event is what a feed offers, and all that the model knows of it.
type Event struct {
	// Key tells it from all others of its feed: the n of its JSON or, in a script, its
	// id, which revisions of it share.
	Key      string
	N        int
	Revision int // 0 is the first
	Class    Class
	Reason   string // why it is rejected
	// Groups whose hosts and addresses it bears; events that share one are one case.
	Groups   []int
	Severity int
	// Door is what it says if it is of a door feed.
	Door *Door
}

// Feed is a source of events that grows, and that can wait.
type Feed interface {
	// Name of its detector block, without the kind.
	Name() string
	// Plugin that reads it.
	Plugin() string
	// Block is that block.
	Block(dir string, v variant) string
	// Events in the order in which they are offered, those that are offered twice too.
	Events() []Event
	// Offer lets the plugin see n more of them, or a few more or less.
	Offer(dir string, n int) error
	// Offered is how many it may have seen.
	Offered() int
	// Key of an event that it reported, by what the log holds of it.
	Key(id string, raw []byte) string
	// Exactly tells that each offer comes into the log once, in order: the source never
	// offers again what it knows to be durable.
	Exactly() bool
}

// began is when the feeds' first events happened.
var began = time.Date(2026, 11, 1, 10, 0, 0, 0, time.UTC)

// draw makes an event; one in six is an alert.
func draw(r *rand.Rand, n, groups int) Event {
	e := Event{Key: strconv.Itoa(n), N: n, Groups: []int{r.IntN(groups)}, Class: Passed}
	e.Severity = 20 + 10*(e.Groups[0]%8) + r.IntN(10)
	switch k := r.IntN(120); {
	case k < 20:
		e.Class = Matched
		if g := e.Groups[0]; k < 3 && g%4 == 0 && g+1 < groups { // joins two cases
			e.Groups = append(e.Groups, g+1)
		}
	case k < 26:
		e.Class = Ignored
	case k < 28:
		e.Class, e.Reason = Rejected, notAnEvent
	}
	return e
}

// Time of the event.
func (e Event) Time() time.Time {
	if e.Door != nil {
		return began.Add(e.Door.After)
	}
	return began.Add(time.Duration(e.N) * 10 * time.Millisecond)
}

// JSON of the event, which for one that is to be rejected is none.
func (e Event) JSON() []byte {
	if e.Door != nil {
		return e.Door.json(&e)
	}
	kind := map[Class]string{Matched: "alert", Passed: "flow", Ignored: "noise", Rejected: "broken"}[e.Class]
	var hosts, users, from []string
	for _, g := range e.Groups {
		users = append(users, user(g))
		hosts, from = append(hosts, host(g)), append(from, address(g))
	}
	data, err := json.Marshal(map[string]any{
		"n": e.N, "kind": kind, "time": e.Time(), "hosts": hosts, "users": users, "from": from, "severity": e.Severity,
		"title": fmt.Sprintf("%d.%d", e.N, e.Revision), "pad": strings.Repeat("x", 200+e.N%300),
	})
	if err != nil {
		panic(err) // it is all text and numbers
	}
	if e.Class == Rejected {
		return data[:len(data)-2]
	}
	return data
}

func host(group int) string { return fmt.Sprintf("ws-%d", group) }

func address(group int) string { return fmt.Sprintf("198.51.%d.%d", 100+group/200, group%200+1) }

// fileFeed is a file that grows, read by the plugin that ships. An event's id is its
// place in the file.
type fileFeed struct {
	name    string
	events  []Event
	offered int
	gate    *gate
}

func newFileFeed(name string, r *rand.Rand, n, groups int) *fileFeed {
	f := &fileFeed{name: name}
	for i := range n {
		f.events = append(f.events, draw(r, i, groups))
	}
	return f
}

func (f *fileFeed) Name() string    { return f.name }
func (f *fileFeed) Plugin() string  { return "file" }
func (f *fileFeed) Events() []Event { return f.events }
func (f *fileFeed) Offered() int    { return f.offered }
func (f *fileFeed) Exactly() bool   { return true }

func (f *fileFeed) Block(dir string, v variant) string {
	return fmt.Sprintf("detector \"file\" %q {\n  path     = %q\n  interval = \"%dms\"\n}\n", f.name, f.path(dir), v.interval)
}

func (f *fileFeed) path(dir string) string { return filepath.Join(dir, f.name+".json") }

func (f *fileFeed) Offer(dir string, n int) error {
	var text []byte
	for ; n > 0 && f.offered < len(f.events) && f.gate.open(f.events[f.offered]); f.offered++ {
		text = append(append(text, f.events[f.offered].JSON()...), '\n')
		n--
	}
	return appendTo(f.path(dir), text)
}

func (f *fileFeed) Key(_ string, raw []byte) string {
	// Not all of them are JSON.
	_, rest, _ := strings.Cut(string(raw), `"n":`)
	rest = strings.TrimSpace(rest)
	return rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
}

func appendTo(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.Write(text); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
