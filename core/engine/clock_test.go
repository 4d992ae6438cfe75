package engine

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestClockNeverGoesBackAndNeverStandsStill(t *testing.T) {
	start := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		decided  time.Time // before the start
		machine  []time.Duration
		want     []time.Duration
		wantLeft time.Duration
	}{
		"follows the machine's": {machine: []time.Duration{time.Second, time.Hour}, want: []time.Duration{time.Second, time.Hour}},
		"as slow as half after a step back": {
			machine: []time.Duration{time.Hour, time.Minute, 21 * time.Minute, 3 * time.Hour},
			want:    []time.Duration{time.Hour, time.Hour, time.Hour + 10*time.Minute, 3 * time.Hour},
		},
		"not before what was decided": {
			decided: start.Add(time.Hour),
			machine: []time.Duration{0, 10 * time.Minute},
			want:    []time.Duration{time.Hour, time.Hour + 5*time.Minute}, wantLeft: 55 * time.Minute,
		},
	} {
		t.Run(name, func(t *testing.T) {
			now := start
			clock := newClock(func() time.Time { return now }, c.decided)
			for i, at := range c.machine {
				now = start.Add(at)
				if got := clock.now().Sub(start); got != c.want[i] {
					t.Errorf("at %s it is %s, want %s", at, got, c.want[i])
				}
			}
			if got := clock.ahead(); got != c.wantLeft {
				t.Errorf("the machine's is %s behind, want %s", got, c.wantLeft)
			}
		})
	}
}

func TestClockIsMonotonic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(1e9, 0)
		clock := newClock(func() time.Time { return now }, time.Unix(rapid.Int64Range(0, 2e9).Draw(t, "decided"), 0))
		last := clock.now()
		for _, step := range rapid.SliceOf(rapid.Int64Range(-1e6, 1e6)).Draw(t, "steps") {
			now = now.Add(time.Duration(step) * time.Second)
			got := clock.now()
			if got.Before(last) {
				t.Fatalf("%s after %s", got, last)
			}
			if step > 1 && !got.After(last) {
				t.Fatalf("it stands at %s", got)
			}
			last = got
		}
	})
}
