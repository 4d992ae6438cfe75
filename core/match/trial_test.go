package match

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
)

// kept is a store of one process after the other.
type kept struct {
	data  []byte
	saves int
	err   error
}

func (k *kept) SaveMatching(_ context.Context, s State) (err error) {
	if k.err != nil {
		return k.err
	}
	k.saves++
	k.data, err = json.Marshal(s)
	return err
}

func (k *kept) trial(t *testing.T) *Trial {
	t.Helper()
	var before State
	if k.data != nil {
		if err := json.Unmarshal(k.data, &before); err != nil {
			t.Fatal(err)
		}
	}
	trial := NewTrial(k, before, slog.New(slog.DiscardHandler))
	if err := k.SaveMatching(t.Context(), trial.State(true)); err != nil {
		t.Fatal(err)
	}
	return trial
}

// matchedBy runs one process over messages of n events each. It ends, as by a fatal
// error, at the event of a message for which dies says so: nothing after that happens.
func matchedBy(t *testing.T, trial *Trial, messages, n int, dies func(seq uint64, event int) bool) (aside map[uint64][]int, died bool) {
	t.Helper()
	aside = map[uint64][]int{}
	for seq := uint64(1); seq <= uint64(messages); seq++ {
		w, err := trial.begin(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			if w.event(i) != "" {
				aside[seq] = append(aside[seq], i)
				continue
			}
			if dies(seq, i) {
				return aside, true
			}
		}
		if w != nil {
			w.end()
		}
	}
	if err := trial.states.SaveMatching(t.Context(), trial.State(false)); err != nil {
		t.Fatal(err)
	}
	return aside, false
}

func TestTrialSetsAsideTheEventsThatEndTheProcess(t *testing.T) {
	poison := func(seq uint64, event int) bool { return seq == 3 && (event == 5 || event == 8) }
	k := &kept{}
	for end := 1; ; end++ {
		aside, died := matchedBy(t, k.trial(t), 6, 10, poison)
		if !died {
			if want := map[uint64][]int{3: {5, 8}}; fmt.Sprint(aside) != fmt.Sprint(want) {
				t.Errorf("set aside %v, want %v", aside, want)
			}
			// Three ends until it is matched event by event, two for each such event.
			if end != 3+2*2+1 {
				t.Errorf("it went well the %d. time, want the 8.", end)
			}
			break
		}
		if end > 10 {
			t.Fatal("the process ends again and again")
		}
	}
	// A good end leaves nothing to be careful about.
	before := k.saves
	if aside, died := matchedBy(t, k.trial(t), 6, 10, func(uint64, int) bool { return false }); died || len(aside) != 0 {
		t.Errorf("later %v is set aside", aside)
	}
	if n := k.saves - before; n != 2 {
		t.Errorf("%d notes in a run after a good one, want those of its begin and end", n)
	}
}

// A process that is killed again and again while it matches loses nothing by that
// alone, wherever that is, as long as it is not three times in one message.
func TestTrialSetsNothingAsideForKillsElsewhere(t *testing.T) {
	k := &kept{}
	for n := range 12 {
		at := uint64(n%6 + 1)
		if n >= 6 {
			at = 0 // nowhere in particular
		}
		aside, _ := matchedBy(t, k.trial(t), 6, 4, func(seq uint64, _ int) bool { return seq == at })
		if len(aside) != 0 {
			t.Fatalf("run %d sets aside %v", n, aside)
		}
	}
}

// A process that somebody kills again and again, also while it matches one message,
// loses nothing by that as long as it is not twice in a row at one event.
func TestTrialSetsNothingAsideForKillsAtOneMessage(t *testing.T) {
	k := &kept{}
	for n := range 12 {
		aside, died := matchedBy(t, k.trial(t), 6, 4, func(seq uint64, event int) bool { return seq == 3 && event == n%4 })
		if len(aside) != 0 || !died {
			t.Fatalf("run %d sets aside %v", n, aside)
		}
	}
}

func TestTrialSetsAWholeBatchAsideThatCantBeRead(t *testing.T) {
	k := &kept{}
	for range 5 {
		w, err := k.trial(t).begin(t.Context(), 1)
		if err != nil || w.setAside() {
			t.Fatal(err, "set aside too early")
		}
		// The process ends before the first event.
	}
	w, err := k.trial(t).begin(t.Context(), 1)
	if err != nil || !w.setAside() {
		t.Errorf("not set aside (%v)", err)
	}
}

func TestTrialMatchesNothingThatItCantNote(t *testing.T) {
	full := errors.New("no room")
	k := &kept{}
	matchedBy(t, k.trial(t), 1, 1, func(uint64, int) bool { return true })
	m, log := matcher(t, suricata(t))
	m.Trial = k.trial(t)
	k.err = full
	if err := m.one(t.Context(), NewWorker(m.Settings), message(batch(`{}`), 1), log); !errors.Is(err, full) {
		t.Errorf("error is %v, want %v", err, full)
	}
	if log.done != 0 || log.back != 1 || len(log.parts) != 0 {
		t.Errorf("%d parts, %d done, %d handed back; want the message handed back", len(log.parts), log.done, log.back)
	}
}

// TestMatcherSetsAsideWhatATrialHasFound goes the whole way.
func TestMatcherSetsAsideWhatATrialHasFound(t *testing.T) {
	k := &kept{}
	for range 5 { // each ends in message 7, the last two at its second event
		w, err := k.trial(t).begin(t.Context(), 7)
		if err != nil {
			t.Fatal(err)
		}
		w.event(0)
		w.event(1)
	}
	m, log := matcher(t, suricata(t))
	m.Trial = k.trial(t)
	alert := `{"event_type":"alert","alert":{"severity":1,"signature":"x"}}`
	if err := m.one(t.Context(), NewWorker(m.Settings), message(batch(alert, alert, alert), 7), log); err != nil {
		t.Fatal(err)
	}
	if len(log.rejected) != 1 || log.rejected[0].Index != 1 || string(log.rejected[0].Raw) != alert || !strings.HasPrefix(log.rejected[0].Reason, "ends the process: ") {
		t.Errorf("set aside %+v, want the second event", log.rejected)
	}
	in, err := model.DecodeInput(log.parts[0])
	if err != nil || in.Match.Counts.Matched != 2 || in.Match.Counts.Rejected["ends the process"] != 1 {
		t.Errorf("counts %+v (%v), want 2 matched and 1 set aside", in.Match.Counts, err)
	}
}

// sink is EVENTS, INPUTS and REJECTED for one message at a time.
type sink struct {
	err        error // of INPUTS, when it is to be durable
	parts      [][]byte
	rejected   []model.Rejected
	done, back int
}

func (s *sink) Done() { s.done++ }
func (s *sink) Back() { s.back++ }

func (s *sink) Add(_ context.Context, data []byte, done func(error)) error {
	if s.err == nil {
		s.parts = append(s.parts, data)
	}
	done(s.err)
	return nil
}

func (s *sink) Reject(_ context.Context, _ string, _ uint64, all []model.Rejected) error {
	s.rejected = append(s.rejected, slices.Clone(all)...)
	return nil
}

func matcher(t *testing.T, s *Settings) (*Matcher, *sink) {
	t.Helper()
	out := &sink{}
	return &Matcher{
		Settings: s, Inputs: out, Rejects: out, Log: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return received },
	}, out
}

func message(b *model.Batch, seq uint64) Message {
	return Message{Seq: seq, Source: b.Source, Total: uint64(len(b.Events)), Count: len(b.Events), Payload: model.AppendBatch(nil, b)}
}
