package decide

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/kelpie-sec/kelpie/core/model"
	"pgregory.net/rapid"
)

// committing are inputs, and after which of them rows are committed anyway.
type committing struct {
	part
	commit bool
}

// endInRecall runs a machine, and another that begins anew after rows were committed for
// a recall that had brought something back before, the nth time that this happens. It
// tells whether it happened, and how the rows differ.
func endInRecall(t interface{ Fatal(...any) }, compile Compiler, parts []committing, nth int) (ended bool, diff string) {
	give := func(m *Machine, rows *tables, p part) {
		if err := rows.bring(m, p.at, &p.in); err != nil {
			t.Fatal(err)
		}
		if err := m.apply(p.at, p.in, func() error { return rows.bring(m, p.at, nil) }); err != nil {
			t.Fatal(err)
		}
	}
	whole, rows := New(compile), newTables()
	var left *tables // as they are when it ends
	rows.recalling = func() {
		if nth--; nth == 0 {
			left = rows.clone()
			left.recalling = nil
		}
	}
	for _, p := range parts {
		give(whole, rows, p.part)
		if p.commit {
			rows.commit(whole.Changes())
		}
	}
	if left == nil {
		return false, ""
	}
	rows.commit(whole.Changes())
	from, again := left.position, New(compile)
	for _, p := range parts {
		if p.at.After(from) {
			give(again, left, p.part)
			continue
		}
		if err := left.again(again, p.at); err != nil {
			t.Fatal(err)
		}
		if err := again.Apply(p.at.Seq, p.at.Part, p.in); err != nil {
			t.Fatal(err)
		}
		if p.at == from {
			again.drop()
		}
	}
	left.commit(again.Changes())
	return true, cmp.Diff(rows.rows, left.rows)
}

// TestEndInRecall: what was brought back is not lost by an end right after rows were
// committed for what else an input wants.
func TestEndInRecall(t *testing.T) {
	compile := within(Limits{Signals: 1}, 48*time.Hour)
	parts := []committing{{part{Position{Seq: 1}, model.Input{At: start, Config: &model.Config{Hash: "base quiet", Text: []byte(`"base quiet"`)}}}, true}}
	for i, s := range []model.Signal{
		sig("s-1", minutes(0), 10, "file:a", "file:b"),
		sig("s-2", minutes(180), 10, "file:b"), // s-1 leaves
		sig("s-3", minutes(90), 10, "file:c"),  // s-2 leaves, which is not committed
		sig("s-4", minutes(1), 10, "file:a"),   // wants s-1, and what is known of b
	} {
		seq := uint64(i + 1)
		s.Position = model.Position{Seq: seq}
		parts = append(parts, committing{
			part{Position{Seq: seq + 1}, model.Input{At: start, Match: &model.MatchResult{
				Seq: seq, Source: s.Source, Total: seq, Count: 1, Counts: model.Counts{Matched: 1}, Signals: []model.Signal{s},
			}}}, i < 2,
		})
	}
	ended, diff := endInRecall(t, compile, parts, 1)
	if !ended {
		t.Error("nothing was committed between two rounds of a recall")
	}
	if diff != "" {
		t.Error(diff)
	}
}

// TestEndInAnyRecall is the same for any inputs.
func TestEndInAnyRecall(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		compile := within(drawLimits(t), drawLateness(t))
		var parts []committing
		for _, p := range story(t, compile, allConfigs...) {
			parts = append(parts, committing{p, rapid.IntRange(0, 3).Draw(t, "commit") == 0})
		}
		if _, diff := endInRecall(t, compile, parts, rapid.IntRange(1, 3).Draw(t, "end")); diff != "" {
			t.Fatal(diff)
		}
	})
}
