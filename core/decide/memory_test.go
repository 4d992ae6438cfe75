package decide

import (
	"testing"

	"github.com/google/go-cmp/cmp"
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
