package measure

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// The example is that of table 1 in Brier (1950): ten forecasts of rain; his score has a
// term for "no rain" as well, and so is twice this one: 0.19.
func TestBrier(t *testing.T) {
	rain := []Said{
		{0.7, false},
		{0.9, true},
		{0.8, true},
		{0.4, true},
		{0.2, false},
		{0, false},
		{0, false},
		{0, false},
		{0, false},
		{0.1, false},
	}
	if got, ok := Brier(rain); !ok || !near(2*got, 0.19) {
		t.Errorf("twice %v", got)
	}
	if got := Uncertainty(rain); !near(got, 0.21) {
		t.Errorf("%v", got)
	}
	if _, ok := Brier(nil); ok {
		t.Error("the score of no forecast is known")
	}
	if got, _ := Brier([]Said{{1, true}, {0, false}}); got != 0 {
		t.Errorf("perfect: %v", got)
	}
	want := []Bin{
		{0, 0.1, 0, ShareOf(0, 4)},
		{0.1, 0.2, 0.1, ShareOf(0, 1)},
		{0.2, 0.3, 0.2, ShareOf(0, 1)},
		{0.4, 0.5, 0.4, ShareOf(1, 1)},
		{0.7, 0.8, 0.7, ShareOf(0, 1)},
		{0.8, 0.9, 0.8, ShareOf(1, 1)},
		{0.9, 1, 0.9, ShareOf(1, 1)},
	}
	if diff := cmp.Diff(want, Reliability(rain)); diff != "" {
		t.Error(diff)
	}
}

// A forecast that is always the same scores its distance from what happened, squared,
// and the uncertainty: Murphy's reliability and uncertainty, without resolution.
func TestBrierOfOneForecast(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.Float64Range(0, 1).Draw(t, "p")
		var all []Said
		is := 0
		for _, happened := range rapid.SliceOfN(rapid.Bool(), 1, 50).Draw(t, "happened") {
			all = append(all, Said{p, happened})
			if happened {
				is++
			}
		}
		o := float64(is) / float64(len(all))
		if got, _ := Brier(all); !near(got, (p-o)*(p-o)+Uncertainty(all)) {
			t.Fatalf("%v", got)
		}
		bins := Reliability(all)
		if len(bins) != 1 || bins[0].From > p+1e-8 || bins[0].To < p || bins[0].Observed.Is != is {
			t.Fatalf("%+v", bins)
		}
	})
}

func TestWithin(t *testing.T) {
	day := 24 * time.Hour
	half := time.Duration(365.25 * 12 * float64(time.Hour))
	for _, c := range []struct {
		p    float64
		d    time.Duration
		want float64
	}{{0.19, 2 * half, 0.19}, {0.19, half, 0.1}, {0.19, 4 * half, 0.3439}, {0, half, 0}, {1, day, 1}, {0.5, 0, 0}} {
		if got := Within(c.p, c.d); !near(got, c.want) {
			t.Errorf("%v within %s: %v, want %v", c.p, c.d, got, c.want)
		}
	}
	if got := PerWeek(30, 30*day); !near(got, 7) {
		t.Error(got)
	}
	if got := PerYear(1200, 2*half); !near(got, 1200) {
		t.Error(got)
	}
	if PerWeek(3, 0) != 0 || PerYear(3, 0) != 0 {
		t.Error("in no time there were some")
	}
}
