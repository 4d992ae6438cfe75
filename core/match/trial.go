package match

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
)

// State is what a run leaves to the next one.
type State struct {
	// Running: the run has not ended as it should, or not yet.
	Running bool `json:"running,omitempty"`
	// Suspects by their sequence in EVENTS.
	Suspects map[uint64]Suspect `json:"suspects,omitempty"`
}

// Suspect is a message that was being matched when a process ended.
type Suspect struct {
	// Ends of a process counts those while this message alone was being matched.
	Ends int `json:"ends"`
	// Matching: it is being matched now, and of its events the one at Event (from 1;
	// 0: none).
	Matching bool `json:"matching,omitempty"`
	Event    int  `json:"event,omitempty"`
	// Blamed is the event that was being matched at the last end, once events are noted;
	// before: none was noted yet.
	Blamed int `json:"blamed,omitempty"`
	// Aside are the events (from 0) that are not matched any more; Whole: none is.
	Aside []int `json:"aside,omitempty"`
	Whole bool  `json:"whole,omitempty"`
}

// States keeps the state; it is durable when SaveMatching returns.
type States interface {
	SaveMatching(ctx context.Context, s State) error
}

const (
	// careful is how many messages are watched after a run that was cut off: at least
	// those that it can have had under way.
	careful = 64
	// ends of a watched message before it is matched event by event. With the one that
	// began the watch it has then ended three runs.
	ends = 2
)

// Trial finds the event that ends the process, as no recover can stop: after a run
// that was cut off the first messages are matched one at a time, each noted before. A
// message that has ended three runs is matched event by event, each noted before, and
// the one that was under way at two ends in a row is set aside: once may be chance, as
// when somebody else kills the process again and again. It is safe for concurrent use.
// A nil Trial watches nothing.
type Trial struct {
	states States
	log    *slog.Logger

	mu    sync.Mutex // held while a watched message is matched
	left  int
	state State
}

// NewTrial goes on from what the run before left.
func NewTrial(states States, last State, log *slog.Logger) *Trial {
	t := &Trial{states: states, log: log, state: State{Running: true, Suspects: map[uint64]Suspect{}}}
	for seq, s := range last.Suspects {
		if last.Running && s.Matching {
			s = s.accused()
		}
		s.Matching, s.Event = false, 0
		t.state.Suspects[seq] = s
	}
	if last.Running || len(last.Suspects) > 0 {
		t.left = careful
	}
	return t
}

// before the first event.
const before = -1

// accused is a suspect after one more end.
func (s Suspect) accused() Suspect {
	at := s.Event
	if at == 0 {
		at = before
	}
	switch {
	case s.Ends < ends: // no event was noted
		at = 0
	case s.Blamed != at:
	case at == before:
		s.Whole, at = true, 0
	default:
		s.Aside, at = append(slices.Clone(s.Aside), at-1), 0
	}
	s.Blamed = at
	s.Ends++
	return s
}

// State to leave, with whether it still runs.
func (t *Trial) State(running bool) State {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.state
	s.Running = running
	return s
}

// watch is one message under way.
type watch struct {
	trial   *Trial
	ctx     context.Context
	seq     uint64
	suspect Suspect
	err     error // the note of an event failed
}

// begin notes a message, and waits until no other that is watched is under way. It
// returns nil if nothing is watched any more.
func (t *Trial) begin(ctx context.Context, seq uint64) (*watch, error) {
	if t == nil {
		return nil, nil
	}
	t.mu.Lock()
	if t.left == 0 {
		t.mu.Unlock()
		return nil, nil
	}
	w := &watch{trial: t, ctx: ctx, seq: seq, suspect: t.state.Suspects[seq]}
	w.suspect.Matching = true
	if err := w.save(); err != nil {
		t.mu.Unlock()
		return nil, err
	}
	if w.suspect.Ends > 0 {
		t.log.Warn("a message was being matched when a run was cut off", "seq", seq, "ends", w.suspect.Ends+1)
	}
	return w, nil
}

func (w *watch) save() error {
	w.trial.state.Suspects[w.seq] = w.suspect
	if err := w.trial.states.SaveMatching(w.ctx, w.trial.state); err != nil {
		return fmt.Errorf("what is being matched can't be noted: %w", err)
	}
	return nil
}

// event notes the event that is next, where that is called for, and says why it is
// set aside instead.
func (w *watch) event(i int) (reason string) {
	if w == nil {
		return ""
	}
	switch {
	case w.err != nil:
		return "not matched"
	case w.suspect.Whole:
		return whole
	case slices.Contains(w.suspect.Aside, i):
		return fatal
	case w.suspect.Ends >= ends:
		w.suspect.Event = i + 1
		w.err = w.save()
	}
	return ""
}

// Reasons of what ends the process.
const (
	fatal = "ends the process: matching it has ended the program again and again"
	whole = "ends the process: reading its batch has ended the program again and again"
)

// end is after the last event, or after a failure.
func (w *watch) end() {
	t := w.trial
	defer t.mu.Unlock()
	delete(t.state.Suspects, w.seq)
	if t.left--; t.left == 0 {
		clear(t.state.Suspects)
	}
	// The note of a message whose events were noted must not outlive them: the last of
	// them would be set aside for whatever ends this run. Of the others the next note,
	// or the end of the run, takes care.
	if w.suspect.Ends >= ends || t.left == 0 {
		if err := t.states.SaveMatching(w.ctx, t.state); err != nil {
			t.log.Warn("what was matched can't be noted", "error", err)
		}
	}
}

// setAside is a whole message that must not be looked at.
func (w *watch) setAside() bool { return w != nil && w.suspect.Whole }
