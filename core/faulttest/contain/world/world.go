//go:build unix

// Package world is the vendor behind the plugin "contain": a file in which everything is
// written down that ever happened to it, one JSON entry a line, so that it survives
// whatever dies. What is contained now, and how often each key took effect, is read from
// there. Several processes may use one world at a time.
//
// A request can be on its way: it takes effect when its time has come, whether or not
// anybody still waits for the answer, as vendors' queues do. The time is the machine's
// monotonic clock, which nobody can set.
package world

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Op is what is asked.
type Op string

// The operations.
const (
	Execute Op = "execute"
	Undo    Op = "undo"
	Check   Op = "check"
)

// What happened.
type What string

// The kinds of entries.
const (
	Called  What = "called"  // a request came
	Sent    What = "sent"    // it is on its way, and takes effect at Due
	Effect  What = "effect"  // it changed something
	Already What = "already" // it found things so already, and changed nothing
)

// Entry is a line of the world.
type Entry struct {
	At     time.Duration `json:"at"` // the machine's uptime
	What   What          `json:"what"`
	Op     Op            `json:"op"`
	Verb   string        `json:"verb"`
	Target string        `json:"target"`
	// Key of the request; empty: somebody else did it, by hand.
	Key string        `json:"key,omitempty"`
	Due time.Duration `json:"due,omitempty"`
}

// World is the file.
type World struct{ Path string }

// State is what a world's entries come to.
type State struct {
	Entries []Entry
	// Calls, Effects and Found count by operation and key: requests that came, those that
	// changed something, and those that found it so.
	Calls, Effects, Found map[Op]map[string]int
	// Contained is, by verb and target ("isolate_host ws-1"), the key by which it is.
	Contained map[string]string
	// Flying are the requests on their way, the next first.
	Flying []Entry
	// Times counts the requests by operation and target.
	Times map[Op]map[string]int
}

// Read returns the state as it is now.
func (w World) Read() (*State, error) {
	var now *State
	err := w.Change(func(s *State) []Entry { now = s; return nil })
	return now, err
}

// Change adds what change returns to the world. Nobody else changes it meanwhile.
func (w World) Change(change func(*State) []Entry) error {
	f, err := os.OpenFile(w.Path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer f.Close() // and with it the lock
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("%s: %w", w.Path, err)
	}
	s, end, err := read(f)
	if err != nil {
		return fmt.Errorf("%s: %w", w.Path, err)
	}
	if err := f.Truncate(end); err != nil { // a line that a crash cut short
		return err
	}
	var all []Entry
	add := func(e Entry) {
		if e.At == 0 {
			e.At = Uptime()
		}
		s.add(e)
		all = append(all, e)
	}
	for len(s.Flying) > 0 && s.Flying[0].Due <= Uptime() {
		e := s.land()
		add(e)
	}
	for _, e := range change(s) {
		add(e)
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	for _, e := range all {
		if err := enc.Encode(e); err != nil {
			return err
		}
	}
	_, err = f.Write(text.Bytes())
	return err
}

// read returns what a world's lines come to, and where the last whole one ends.
func read(f io.Reader) (s *State, end int64, err error) {
	s = &State{
		Calls: counts(), Effects: counts(), Found: counts(), Times: counts(), Contained: map[string]string{},
	}
	r := bufio.NewReader(f)
	for {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return s, end, nil
		}
		if err != nil {
			return nil, 0, err
		}
		var e Entry
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, 0, err
		}
		end += int64(len(line))
		s.add(e)
	}
}

func counts() map[Op]map[string]int {
	return map[Op]map[string]int{Execute: {}, Undo: {}, Check: {}}
}

func (s *State) add(e Entry) {
	s.Entries = append(s.Entries, e)
	what := e.Verb + " " + e.Target
	switch e.What {
	case Called:
		s.Calls[e.Op][e.Key]++
		s.Times[e.Op][e.Target]++
	case Sent:
		s.Flying = append(s.Flying, e)
		slices.SortStableFunc(s.Flying, func(a, b Entry) int { return cmp.Compare(a.Due, b.Due) })
	case Effect, Already:
		s.Flying = slices.DeleteFunc(s.Flying, func(f Entry) bool { return f.Op == e.Op && f.Key == e.Key && e.Key != "" })
		if e.What == Already {
			s.Found[e.Op][e.Key]++
			return
		}
		s.Effects[e.Op][e.Key]++
		if e.Op == Undo {
			delete(s.Contained, what)
		} else {
			s.Contained[what] = e.Key
		}
	}
}

// Act is what a request does now: it changes something, or finds it so.
func (s *State) Act(op Op, verb, target, key string) Entry {
	e := Entry{What: Effect, Op: op, Verb: verb, Target: target, Key: key}
	if _, contained := s.Contained[verb+" "+target]; contained == (op == Execute) {
		e.What = Already
	}
	return e
}

// land is what the next request on its way does.
func (s *State) land() Entry {
	f := s.Flying[0]
	s.Flying = s.Flying[1:]
	e := s.Act(f.Op, f.Verb, f.Target, f.Key)
	e.At = f.Due
	return e
}

// Uptime of the machine.
func Uptime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		panic(err)
	}
	return time.Duration(t.Nano())
}
