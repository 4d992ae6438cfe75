package config

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestMovesLeadToTheFirstName: in whatever order the blocks stand, and however long the
// chain is, a block is known by its first name and shown by its last; a chain that is cut
// is refused.
func TestMovesLeadToTheFirstName(t *testing.T) {
	const rest = `
pipeline "all" {
  from = [detector.%[1]s]
}
rule "everything" {
  state = "experimental"
  on    = [pipeline.all]
  when  = true
}
detector "file" "%[1]s" {
  path = "/eve.json"
}
`
	_, before, diags := parseText(t, fmt.Sprintf(rest, "n0"), Options{})
	if len(diags) > 0 {
		t.Fatal(diags)
	}
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 6).Draw(rt, "moves")
		numbers := make([]int, n)
		for i := range numbers {
			numbers[i] = i
		}
		cut := rapid.IntRange(0, 2*n).Draw(rt, "cut") // beyond n: whole
		var moves strings.Builder
		for _, i := range rapid.Permutation(numbers).Draw(rt, "order") {
			if i != cut {
				fmt.Fprintf(&moves, "moved {\n  from = detector.n%d\n  to   = detector.n%d\n}\n", i, i+1)
			}
		}
		last := fmt.Sprintf("n%d", n)
		_, c, diags := parseText(t, moves.String()+fmt.Sprintf(rest, last), Options{})
		if cut > 0 && cut < n {
			if !diags.HasErrors() {
				rt.Fatal("a chain that is cut is taken")
			}
			return
		}
		if diags.HasErrors() {
			rt.Fatal(diags)
		}
		first := "n0"
		if cut == 0 {
			first = "n1"
		}
		if n == 1 && cut == 0 {
			if len(c.Names) != 0 || c.Detectors[0].Address != "detector.n1" {
				rt.Fatalf("%v %v", c.Names, c.Detectors)
			}
			return
		}
		identity, shown := "detector."+first, "detector."+last
		if c.Detectors[0].Address != identity || c.Match.Sources[0].Detector != identity || c.Match.Sources[0].Name != shown || c.Shown(identity) != shown {
			rt.Fatalf("known as %s, shown as %s", c.Detectors[0].Address, c.Shown(identity))
		}
		if cut == 0 {
			return
		}
		for _, d := range before.Differences(c) {
			if d.Address == shown && (d.What != Moved || d.From != identity) || d.What == Added || d.What == Removed {
				rt.Fatalf("difference: %+v", d)
			}
		}
	})
}
