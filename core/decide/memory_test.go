package decide

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/kelpie-sec/kelpie/core/model"
	"pgregory.net/rapid"
)

// TestMemoryIsNoPartOfADecision: the same inputs give the same rows, however little
// the machine has room for.
func TestMemoryIsNoPartOfADecision(t *testing.T) {
	left := 0
	rapid.Check(t, func(t *rapid.T) {
		lateness := drawLateness(t)
		ample := within(Limits{}, lateness)
		parts := story(t, ample, rapid.SampledFrom(allConfigs).Draw(t, "configuration"))
		small := within(drawLimits(t), lateness)

		run := func(compile Compiler) (*Machine, *tables) {
			m, rows := New(compile), newTables()
			for _, p := range parts {
				apply(t, m, rows, p)
				if rapid.Bool().Draw(t, "commit") {
					rows.commit(m.Changes())
				}
			}
			rows.commit(m.Changes())
			return m, rows
		}
		_, want := run(ample)
		m, got := run(small)
		left += m.away
		if diff := cmp.Diff(want.dump(), got.dump()); diff != "" {
			t.Fatalf("with little memory the rows are others: %s", diff)
		}
	})
	if left == 0 {
		t.Error("nothing ever left the memory")
	}
}

// roomFor is a machine with a limit of its own, and what a store has of it.
func roomFor(t *testing.T, l Limits) *feed {
	f := &feed{t: t, m: New(within(l, 48*time.Hour)), now: start, tables: newTables()}
	f.config("base quiet", false)
	return f
}

// TestRoom: at the limit all stays; beyond it what changed longest ago leaves.
func TestRoom(t *testing.T) {
	for name, c := range map[string]struct {
		limits Limits
		values int // of each signal
		fits   int // signals
	}{
		"signals": {Limits{Signals: 5}, 1, 5},
		"values":  {Limits{Values: 6}, 2, 3},
	} {
		t.Run(name, func(t *testing.T) {
			f := roomFor(t, c.limits)
			for i := range c.fits + 1 {
				if f.m.away != 0 {
					t.Fatalf("%d of %d cases left", f.m.away, i)
				}
				s := sig(fmt.Sprintf("s-%d", i), minutes(i), 10)
				for v := range c.values {
					s.Observables = append(s.Observables, sig("", start, 0, fmt.Sprintf("file:%d-%d", i, v)).Observables...)
				}
				f.signals(s)
			}
			if _, there := f.m.index.Signal("s-0"); there || f.m.away != 1 {
				t.Errorf("%d cases left, the oldest is there: %v", f.m.away, there)
			}
		})
	}
}

// TestRoomForSteps: of steps that are done so many stay as there is room for.
func TestRoomForSteps(t *testing.T) {
	const fits = 3
	f := roomFor(t, Limits{Intents: fits})
	f.config("base", false)
	for i := range fits + 1 {
		if f.m.away != 0 {
			t.Fatalf("%d of %d cases left", f.m.away, i)
		}
		f.signals(sig(fmt.Sprintf("s-%d", i), minutes(i), 50, fmt.Sprintf("subject file:%d", i)))
		for _, in := range f.tables.intents {
			if in.State == model.IntentPending {
				f.outcome(in, model.IntentDone)
			}
		}
	}
	if f.m.away != 1 || len(f.m.intents) != fits {
		t.Errorf("%d cases left, and %d steps stay; want 1, and %d", f.m.away, len(f.m.intents), fits)
	}
}

// TestRoomForAnswers: of what lookups have said so much stays as there is room for.
func TestRoomForAnswers(t *testing.T) {
	answered := func(f *feed, i int) {
		f.signals(sig(fmt.Sprintf("s-%d", i), minutes(i), 10, fmt.Sprintf("subject host:ws-%d", i)))
		f.settle()
	}
	one := roomFor(t, Limits{})
	answered(one, 0)
	for name, c := range map[string]struct{ room, away int }{
		"enough":        {3 * one.m.answers, 0},
		"a byte short":  {3*one.m.answers - 1, 1},
		"for one alone": {one.m.answers, 2},
	} {
		t.Run(name, func(t *testing.T) {
			f := roomFor(t, Limits{Answers: c.room})
			for i := range 3 {
				answered(f, i)
			}
			if f.m.away != c.away || f.m.answers > c.room {
				t.Errorf("%d cases left, and %d bytes stay; want %d, and %d at most", f.m.away, f.m.answers, c.away, c.room)
			}
		})
	}
}

// TestLoad: what waits for an answer stays, however little room there is, and counts.
func TestLoad(t *testing.T) {
	f := roomFor(t, Limits{Signals: 4})
	for i := range 8 {
		f.signals(sig(fmt.Sprintf("s-%d", i), minutes(i), 10, fmt.Sprintf("subject host:ws-%d", i)))
	}
	if f.m.away != 0 || f.m.Load() != 2 {
		t.Fatalf("%d cases left, the load is %v; want none, and 2", f.m.away, f.m.Load())
	}
	f.settle()
	if f.m.away != 4 || f.m.Load() != 0 {
		t.Errorf("answered: %d cases left, the load is %v; want 4, and 0", f.m.away, f.m.Load())
	}
	f.config("base quiet", true)
	f.signals(sig("once", minutes(9), 10, "subject host:ws-9"))
	if f.m.Load() != 0 {
		t.Errorf("under --once the load is %v", f.m.Load())
	}
}

// TestNothingIsLeftBehind: when all cases have left there is nothing in memory that an
// attacker could fill it with.
func TestNothingIsLeftBehind(t *testing.T) {
	f := roomFor(t, Limits{Signals: 1})
	for i := range 2000 {
		f.signals(sig(fmt.Sprintf("s-%d", i), minutes(i), 10, fmt.Sprintf("subject host:ws-%d", i), fmt.Sprintf("indicator domain:d%d.example", i)))
		for id, l := range f.m.asks {
			if l.pending() {
				f.apply(model.Input{Reply: &model.Reply{Ask: id, State: model.Unknown, AnsweredAt: f.now, Expires: f.now.Add(time.Hour)}})
			}
		}
	}
	m := f.m
	for what, n := range map[string]int{
		"signals": m.index.SignalRoom(), "values": m.index.ValueRoom(), "texts": len(m.texts.texts), "cases": len(m.cases),
		"opened ids": len(m.opened), "first ids": len(m.firsts), "names": len(m.named), "asks": len(m.asks),
		"parents": len(m.parents), "intents": len(m.intents), "answers": m.answers / 1000,
	} {
		if n > 20 {
			t.Errorf("%d %s are left", n, what)
		}
	}
	if n := m.closing.byTime.Len(); n > spareQueued+20 {
		t.Errorf("%d entries of cases that are gone are left", n)
	}
}

func TestFilter(t *testing.T) {
	var f filter
	if f.has(HashValue("ip:10.0.0.1")) || !f.empty() {
		t.Error("an empty filter has something")
	}
	for _, n := range []int{100_000, 3_000_000} { // in its first part, and after it has grown
		for i := range n {
			f.add(HashValue(fmt.Sprint("ip:", i)))
		}
		wrong := 0
		for i := range 100_000 {
			if !f.has(HashValue(fmt.Sprint("ip:", i*n/100_000))) {
				t.Fatalf("%d was added, and is not there", i)
			}
			if f.has(HashValue(fmt.Sprint("host:", i))) {
				wrong++
			}
		}
		if wrong > n/1000 {
			t.Errorf("%d of 100,000 that were not added are there, with %d that were", wrong, n)
		}
	}
	if got := f.bytes(); got <= filterFirst || got > 8<<20 {
		t.Errorf("it takes %d bytes", got)
	}
}

// TestFilterIsBounded: a full filter grows no more, and still has all.
func TestFilterIsBounded(t *testing.T) {
	var f filter
	for f.bytes() < filterBytes || f.room > 0 {
		f.add(uint64(f.bytes()+f.room) * 0x9e3779b97f4a7c15)
	}
	for i := range 1000 {
		f.add(HashValue(fmt.Sprint("ip:", i)))
	}
	if f.bytes() != filterBytes {
		t.Errorf("it takes %d bytes, and %d are the bound", f.bytes(), filterBytes)
	}
	for i := range 1000 {
		if !f.has(HashValue(fmt.Sprint("ip:", i))) {
			t.Fatalf("%d was added, and is not there", i)
		}
	}
}
