package faulttest

import (
	"flag"
	"fmt"
	"os"
	"sync"
	"testing"
)

var (
	torture = flag.Bool("torture", false, "kill core and plugin at every point, three times each; with -short once")
	hits    = 3
)

var build = sync.OnceValues(func() (Programs, error) {
	return temporary("kelpiefault")
})

// made are the folders to remove at the end.
var made struct{ dirs []string }

func temporary(tags string) (Programs, error) {
	dir, err := os.MkdirTemp("", "kelpie-faulttest-")
	if err != nil {
		return Programs{}, err
	}
	made.dirs = append(made.dirs, dir)
	return Build(dir, tags)
}

func TestMain(m *testing.M) {
	code := m.Run()
	for _, dir := range made.dirs {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

func programs(t *testing.T) Programs {
	t.Helper()
	p, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// feed of a trial: small enough to be quick, large enough for several batches at
// every point.
var feed = Model{Events: 3000, Sources: 12, Every: 10}

var reference = sync.OnceValue(func() *Outcome { return new(Outcome) })

// undisturbed runs the feed without a kill, once for all trials.
func undisturbed(t *testing.T) *Outcome {
	t.Helper()
	r := reference()
	if r.Cases == "" {
		w := NewWorld(t, programs(t), feed)
		*r = w.Finish()
		r.Check(t, feed)
	}
	return r
}

// TestTorture kills with SIGKILL at each named point.
func TestTorture(t *testing.T) {
	if !*torture {
		t.Skip("takes minutes: \"make torture\", or for the short form \"make torture SHORT=1\"")
	}
	want := undisturbed(t)
	if t.Failed() {
		t.Fatal("the undisturbed run is not as the model says")
	}
	most := hits
	if testing.Short() {
		most = 1
	}
	kills := 0
	for _, point := range points {
		for _, victim := range []string{"core", "file"} {
			for hit := 1; hit <= most; hit++ {
				t.Run(fmt.Sprintf("%s/%s/%d", point, victim, hit), func(t *testing.T) {
					got := trial(t, point, victim, hit)
					got.Check(t, feed)
					if got.Cases != want.Cases {
						t.Errorf("cases are not as without the kill:\n%s\nwant\n%s", got.Cases, want.Cases)
					}
					kills++
				})
			}
		}
	}
	t.Logf("%d aimed kills", kills)
}

// trial is one kill while the feed grows, and all that follows.
func trial(t *testing.T, point, victim string, hit int) Outcome {
	w := NewWorld(t, programs(t), feed)
	w.Feed(100)
	w.Start(plan(point, hit, victim))
	// The feed goes on until the kill has happened, and has work left then.
	w.Until("the kill", func() bool {
		if len(w.Kills()) > 0 {
			return true
		}
		if w.Left() > 500 {
			w.Feed(10)
		}
		return false
	})
	kill := w.Kills()[0]
	var name, who string
	var pid int
	if _, err := fmt.Sscanf(kill, "%s %s %d", &name, &who, &pid); err != nil || pid <= 0 || w.Left() == 0 {
		t.Fatalf("kill %q found no work (%d lines left)", kill, w.Left())
	}
	if victim == "core" {
		w.Died()
		w.Start("")
	}
	w.Feed(w.Left() / 2)
	w.Stop()
	return w.Finish()
}
