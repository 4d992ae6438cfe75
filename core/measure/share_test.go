package measure

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

func near(a, b float64) bool { return math.Abs(a-b) < 0.00005 }

// The intervals are those of method 3 in table I of Newcombe (1998), "Two-sided
// confidence intervals for the single proportion", Statistics in Medicine 17, 857-872.
func TestShareOf(t *testing.T) {
	for _, c := range []struct {
		is, of    int
		low, high float64
	}{
		{81, 263, 0.2553, 0.3662},
		{15, 148, 0.0624, 0.1605},
		{0, 20, 0, 0.1611},
		{1, 29, 0.0061, 0.1718},
		{20, 20, 0.8389, 1},
		{0, 0, 0, 1},
	} {
		if s := ShareOf(c.is, c.of); !near(s.Low, c.low) || !near(s.High, c.high) {
			t.Errorf("%d of %d: %.4f to %.4f, want %.4f to %.4f", c.is, c.of, s.Low, s.High, c.low, c.high)
		}
	}
}

func TestShareIsWithinItsInterval(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		of := rapid.IntRange(1, 100_000).Draw(t, "of")
		s := ShareOf(rapid.IntRange(0, of).Draw(t, "is"), of)
		if v := s.Value(); s.Low-1e-12 > v || v > s.High+1e-12 || s.Low < 0 || s.High > 1 {
			t.Fatalf("%+v is %v", s, v)
		}
	})
}
