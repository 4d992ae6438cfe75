package measure

import (
	"math"
	"time"
)

// Said is a probability that was forecast, and whether it happened.
type Said struct {
	P        float64
	Happened bool
}

// Brier is the mean of the squares by which forecasts missed: 0 is perfect, and 0.25 is
// what "as likely as not" gets. By Brier (1950), "Verification of forecasts expressed in
// terms of probability", Monthly Weather Review 78 (1), 1-3, for what either happens or
// does not, in the form of one term, which is half of his:
//
//	(1/n) · Σ (p − o)², where o is 1 if it happened, else 0
//
// Of none it is not known: ok is false.
func Brier(all []Said) (score float64, ok bool) {
	for _, s := range all {
		o := 0.0
		if s.Happened {
			o = 1
		}
		score += (s.P - o) * (s.P - o)
	}
	if len(all) == 0 {
		return 0, false
	}
	return score / float64(len(all)), true
}

// Uncertainty is the Brier score of who had known how many of all would happen, and
// nothing of each: o(1−o), where o is their share. By Murphy (1973), "A new vector
// partition of the probability score", Journal of Applied Meteorology 12 (4), 595-600.
// Forecasts with a lower score say something.
func Uncertainty(all []Said) float64 {
	if len(all) == 0 {
		return 0
	}
	n := 0
	for _, s := range all {
		if s.Happened {
			n++
		}
	}
	o := float64(n) / float64(len(all))
	return o * (1 - o)
}

// Bin is a line of a reliability table: of what was forecast with From to To, how likely
// it was to be, and how often it was so.
type Bin struct {
	From     float64 `json:"from"`
	To       float64 `json:"to"`
	Forecast float64 `json:"forecast"` // mean
	Observed Share   `json:"observed"`
}

// Bins is how many a reliability table has at most.
const Bins = 10

// Reliability is the table by which it is seen whether what is forecast with 0.7 happens
// 7 times of 10: bins of a tenth, those that nothing was forecast in left out. A
// forecast at a border is in the higher one.
func Reliability(all []Said) []Bin {
	var sums [Bins]float64
	var is, of [Bins]int
	for _, s := range all {
		i := min(max(int(math.Floor(s.P*Bins+1e-9)), 0), Bins-1)
		sums[i] += s.P
		of[i]++
		if s.Happened {
			is[i]++
		}
	}
	bins := []Bin{}
	for i, n := range of {
		if n > 0 {
			bins = append(bins, Bin{float64(i) / Bins, float64(i+1) / Bins, sums[i] / float64(n), ShareOf(is[i], n)})
		}
	}
	return bins
}

// year is a mean one.
const year = 365.25 * 24 * float64(time.Hour)

// Within is how likely it is within a time what is p likely within a year, if it is as
// likely at any time: 1 − (1−p)^t, with t in years.
func Within(p float64, d time.Duration) float64 {
	return 1 - math.Pow(1-p, float64(d)/year)
}

// PerWeek is how many there are in a week, if there are n in a time.
func PerWeek(n int, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(n) * float64(7*24*time.Hour) / float64(d)
}

// PerYear is likewise of a year.
func PerYear(n float64, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return n * year / float64(d)
}
