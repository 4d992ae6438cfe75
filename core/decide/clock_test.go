package decide

import (
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
)

// TestClock: what passes is the machine's uptime; between two lives of it, what its clock
// says, where that can be believed.
func TestClock(t *testing.T) {
	type reading struct {
		boot   string
		uptime time.Duration // of the machine
		wall   time.Duration // of its clock, from the start
	}
	const year = 365 * 24 * time.Hour
	for name, c := range map[string]struct {
		ticks []reading
		want  time.Duration
	}{
		"one life":                                  {[]reading{{"a", 0, 0}, {"a", time.Hour, time.Hour}, {"a", 3 * time.Hour, 3 * time.Hour}}, 3 * time.Hour},
		"the clock jumps forward":                   {[]reading{{"a", 0, 0}, {"a", time.Hour, year}}, time.Hour},
		"the clock jumps back":                      {[]reading{{"a", 0, 0}, {"a", time.Hour, -year}, {"a", 2 * time.Hour, -year}}, 2 * time.Hour},
		"uptime does not go back":                   {[]reading{{"a", time.Hour, 0}, {"a", time.Minute, 0}, {"a", 2 * time.Minute, 0}}, time.Minute},
		"a reboot":                                  {[]reading{{"a", time.Hour, 0}, {"b", time.Minute, time.Hour}}, time.Hour},
		"a reboot, and the clock stands back":       {[]reading{{"a", 0, 0}, {"a", time.Hour, time.Hour}, {"b", 0, -year}, {"b", time.Minute, -year}}, time.Hour + time.Minute},
		"a reboot, and the clock is put right":      {[]reading{{"a", 0, 0}, {"a", time.Hour, time.Hour}, {"b", 0, -year}, {"b", time.Minute, 2 * time.Hour}, {"c", 0, 3 * time.Hour}}, 2*time.Hour + time.Minute},
		"the clock was ahead, and a reboot":         {[]reading{{"a", 0, 0}, {"a", time.Hour, year}, {"b", 0, 2 * time.Hour}}, time.Hour},
		"the clock was behind, and a reboot":        {[]reading{{"a", 0, 0}, {"a", time.Hour, -year}, {"b", 0, 2 * time.Hour}}, 2 * time.Hour},
		"it began behind, is right, and a reboot":   {[]reading{{"a", 0, -year}, {"a", time.Hour, time.Hour}, {"b", 0, 2 * time.Hour}}, 2 * time.Hour},
		"nobody knows the lives, only the clock":    {[]reading{{"", 0, 0}, {"", 0, time.Hour}, {"", 0, time.Minute}, {"", 0, 2 * time.Minute}}, time.Hour + time.Minute},
		"a tick that tells nothing changes nothing": {[]reading{{"a", 0, 0}, {"", 0, -1}, {"a", time.Hour, 0}}, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			var k clock
			for _, r := range c.ticks {
				tick := model.Tick{Boot: r.boot, Uptime: r.uptime, Wall: start.Add(r.wall)}
				if r.boot == "" && r.wall == -1 {
					tick = model.Tick{}
				}
				before := k.Elapsed
				if k.tick(&tick); k.Elapsed < before {
					t.Fatal("time went back")
				}
			}
			if k.Elapsed != c.want {
				t.Errorf("%s have passed, want %s", k.Elapsed, c.want)
			}
		})
	}
}

// TestAClockThatJumps neither frees early nor holds for ever.
func TestAClockThatJumps(t *testing.T) {
	for name, skew := range map[string]time.Duration{"forward": 1000 * time.Hour, "back": -1000 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			f := newHolding(t, "base held")
			f.alert(0)
			f.done(f.step(0))
			f.tick(0)
			f.skew = skew
			if skew > 0 { // decide's time follows
				f.now = f.now.Add(skew)
			}
			f.tick(59 * time.Minute)
			f.wantHold("in_force 0")
			until := f.tables.holds[onWS1].Owners[0].Until
			if left := until.Sub(f.m.At()); left < 30*time.Second || left > 90*time.Second {
				t.Errorf("a minute is left, and it shows %s", left)
			}
			f.tick(time.Minute)
			f.wantHold("releasing")
		})
	}
}
