package decide

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/kelpie-sec/kelpie/core/model"
)

// TestSeveralRecalls: what was brought back for a further step of an input is brought back
// before that step when it is replayed, so that each input leaves the same memory behind.
func TestSeveralRecalls(t *testing.T) {
	further := 0
	rapid.Check(t, func(t *rapid.T) {
		all := happenings(rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1)), 80)
		limits := drawLimits(t)
		compile := func(c model.Config) (*Settings, error) {
			s, err := severalCompiler(c)
			s.Memory = limits
			return s, err
		}
		var inputs []part
		var memory [][]byte // behind each
		whole := &severalRun{t: t, compile: compile, answerAt: 5}
		whole.applied = func(p part) { inputs, memory = append(inputs, p), append(memory, snapshot(t, whole.m)) }
		whole.run(all)
		for _, r := range whole.rows.recalls {
			if slices.ContainsFunc(r.Rounds, func(r Recalled) bool { return r.Step > 0 }) {
				further++
			}
		}

		again := New(compile)
		for i, p := range inputs {
			if err := whole.rows.again(again, p); err != nil {
				t.Fatal(err)
			}
			again.drop()
			if !bytes.Equal(snapshot(t, again), memory[i]) {
				t.Fatalf("input %v leaves another memory behind", p.at)
			}
		}
	})
	if further == 0 {
		t.Error("nothing was brought back for a further step")
	}
}
