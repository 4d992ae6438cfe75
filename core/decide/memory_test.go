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
	if f.has(HashValue("ip:10.0.0.1")) {
		t.Error("an empty filter has something")
	}
	for i := range 100_000 {
		f.add(HashValue(fmt.Sprint("ip:", i)))
	}
	wrong := 0
	for i := range 100_000 {
		if !f.has(HashValue(fmt.Sprint("ip:", i))) {
			t.Fatalf("%d was added, and is not there", i)
		}
		if f.has(HashValue(fmt.Sprint("host:", i))) {
			wrong++
		}
	}
	if wrong > 100 {
		t.Errorf("%d of 100,000 that were not added are there", wrong)
	}
}
