package decide

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestSpans holds the set against a plain one.
func TestSpans(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const most = 60
		var s Spans
		plain := map[uint64]bool{}
		for range rapid.IntRange(0, 40).Draw(t, "adds") {
			add := Span{From: uint64(rapid.IntRange(0, most).Draw(t, "from"))}
			add.To = add.From + uint64(rapid.IntRange(0, 9).Draw(t, "more")) - 1
			had := uint64(0)
			for n := add.From; n <= add.To && add.From > 0 && add.To < 1000; n++ {
				if plain[n] {
					had++
				}
				plain[n] = true
			}
			if got := s.Add(add); got != had {
				t.Fatalf("%v had %d of %v, it says %d", s, had, add, got)
			}
			checkSpans(t, s)
		}
		high := uint64(0)
		for n := range plain {
			high = max(high, n)
		}
		if s.High() != high || s.Len() != uint64(len(plain)) {
			t.Fatalf("%v: high %d, length %d; want %d, %d", s, s.High(), s.Len(), high, len(plain))
		}
		of := Span{From: uint64(rapid.IntRange(1, most).Draw(t, "of"))}
		of.To = of.From + uint64(rapid.IntRange(0, most).Draw(t, "long"))
		some := false
		for n := of.From; n <= of.To; n++ {
			some = some || plain[n]
		}
		if s.Some(of) != some {
			t.Fatalf("%v has some of %v: %v", s, of, !some)
		}
		var missing, want []uint64
		for _, x := range s.Missing(of) {
			for n := x.From; n <= x.To; n++ {
				missing = append(missing, n)
			}
		}
		for n := of.From; n <= of.To; n++ {
			if !plain[n] {
				want = append(want, n)
			}
			if s.Has(n) != plain[n] {
				t.Fatalf("%v has %d: %v", s, n, s.Has(n))
			}
		}
		if diff := cmp.Diff(want, missing); diff != "" {
			t.Fatalf("missing of %v in %v: %s", of, s, diff)
		}
	})
}

// checkSpans: in order, and something is missing before each.
func checkSpans(t *rapid.T, s Spans) {
	end := s.Low
	for _, x := range s.Above {
		if x.From < end+2 || x.To < x.From {
			t.Fatalf("spans are %v", s)
		}
		end = x.To
	}
}

func TestSpanText(t *testing.T) {
	if got := []string{Span{7, 7}.String(), Span{7, 9}.String()}; !slices.Equal(got, []string{"7", "7 to 9"}) {
		t.Error(got)
	}
}
