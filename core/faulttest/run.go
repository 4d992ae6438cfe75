//go:build linux

package faulttest

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// Report is what became of one seed.
type Report struct {
	Seed     uint64
	Schedule []Step
	// Trace tells what each step found, a line each.
	Trace []string
	// Problems are what is not as the model says; none: all is well.
	Problems []string
	Tally    Tally
	Took     time.Duration
}

// Run makes a seed's world in an empty folder, lets its schedule loose on it, lets it
// come to rest, and compares with the model.
func Run(p Programs, dir string, seed uint64, steps []Step) (rep Report) {
	began := time.Now()
	rep = Report{Seed: seed, Schedule: steps, Tally: NewTally()}
	w, err := NewWorld(p, dir, seed)
	if err == nil {
		err = w.live(steps, &rep)
	}
	lived := time.Now()
	if err == nil {
		err = w.rest()
	}
	rested := time.Now()
	var o Outcome
	if err == nil {
		o, err = w.outcome()
	}
	rep.Trace = append(rep.Trace, fmt.Sprintf("%.1f s of faults, %.1f s to come to rest, %.1f s to be judged",
		lived.Sub(began).Seconds(), rested.Sub(lived).Seconds(), time.Since(rested).Seconds()))
	if err != nil {
		rep.Problems = append(rep.Problems, err.Error())
	} else {
		rep.Problems = append(rep.Problems, o.Check(w, &rep.Tally)...)
	}
	if w != nil {
		if err := w.count(&rep.Tally); err != nil {
			rep.Problems = append(rep.Problems, err.Error())
		}
		if err == nil {
			rep.Problems = append(rep.Problems, w.left()...)
		}
		if err := w.Close(); err != nil {
			rep.Problems = append(rep.Problems, err.Error())
		}
	}
	rep.Tally.Worlds, rep.Took = 1, time.Since(began)
	rep.Tally.Took = rep.Took
	return rep
}

// count adds what plugins and what is behind them did on their own.
func (w *World) count(t *Tally) error {
	for manner, n := range w.Far.Manners() {
		t.Faults[string(manner)] += n
	}
	for _, f := range w.Feeds {
		if l, ok := f.(liar); ok {
			t.Faults["beside a rogue detector: "+l.way]++
		}
		script, ok := f.(*scriptFeed)
		if !ok {
			continue
		}
		plays, err := script.Played(w.dir)
		if err != nil {
			return err
		}
		for play, n := range plays {
			t.Faults[string(play)] += n
		}
	}
	return nil
}

// live applies the schedule while the feeds grow.
func (w *World) live(steps []Step, rep *Report) error {
	began := time.Now()
	if err := w.Start(); err != nil {
		return err
	}
	if err := w.Offer(20); err != nil {
		return err
	}
	for i, s := range steps {
		w.ration = w.Left() / (len(steps) - i)
		if err := w.trickle(w.ration/2, s.After); err != nil {
			return err
		}
		at := time.Since(began)
		work, err := s.Fault.Apply(w, s.rand(w.Seed))
		note := fmt.Sprintf("%3d  %6.2fs  %-18s %+v", i+1, at.Seconds(), s.Fault.Name(), work)
		if work.Any() {
			rep.Tally.Faults[s.Fault.Name()]++
		} else {
			rep.Tally.Idle++
			note += "  found no work"
		}
		rep.Trace = append(rep.Trace, note)
		if err != nil {
			return fmt.Errorf("step %d, %s: %w", i+1, s.Fault.Name(), err)
		}
	}
	return nil
}

// trickle offers n events over a time.
func (w *World) trickle(n int, over time.Duration) error {
	const parts = 10
	for range parts {
		if err := w.Drip(n / parts); err != nil {
			return err
		}
		time.Sleep(over / parts)
	}
	return nil
}

// restInterval keeps a core that has much to do from answering questions instead.
const restInterval = 50 * time.Millisecond

// rest ends all faults, offers what is left, and waits until nothing is under way.
func (w *World) rest() error {
	w.Far.settle()
	if err := ignoreMissing(os.Remove(w.path("plan"))); err != nil {
		return err
	}
	// While the clock is behind what was decided, the program's time passes slowly.
	if err := w.SetClock(w.ahead); err != nil {
		return err
	}
	if err := w.Up(); err != nil {
		return err
	}
	if err := w.tableComplete(); err != nil {
		return err
	}
	if err := w.Offer(w.Left()); err != nil {
		return err
	}
	var s status
	ended := false
	err := w.within(2*patience, "all work to be done", func() (_ bool, err error) {
		time.Sleep(restInterval)
		if err := w.alive(); err != nil {
			return false, err
		}
		if err := w.revive(); err != nil {
			return false, err
		}
		if w.get("status", &s) != nil {
			return false, nil
		}
		if !w.resting(s) {
			return false, nil
		}
		if !ended { // what is in the log by then must still come to rest
			ended, err = w.ended()
			return false, err
		}
		held, err := w.unfinished()
		return err == nil && held == 0, nil
	})
	if errors.Is(err, errPatience) {
		for _, f := range w.Feeds {
			err = fmt.Errorf("%w; %s offered %d", err, f.Name(), f.Offered())
		}
		err = fmt.Errorf("%w: %+v", err, s)
	}
	return err
}

// ended tells whether the log has the ends of all scripts.
func (w *World) ended() (bool, error) {
	log, err := w.log()
	if err != nil {
		return false, err
	}
	for _, f := range w.Feeds {
		if script, ok := f.(*scriptFeed); ok && !script.ends(log[f.Name()]) {
			return false, nil
		}
	}
	return true, nil
}

func (w *World) resting(s status) bool {
	return w.decided(s) && s.Counts.AsksPending+s.Counts.IntentsPending == 0
}

// decided tells whether all that was offered is.
func (w *World) decided(s status) bool {
	counted := map[string]int{}
	for _, src := range s.Sources {
		counted[src.Source] = src.Counted
		if src.Counted != src.Total {
			return false
		}
	}
	for _, f := range w.Feeds {
		if counted["detector."+f.Name()] < f.Offered() {
			return false
		}
	}
	return s.Log.Undecided+s.Log.Unmatched == 0
}

// revive does what an operator does about plugins that ended too often: it starts them
// again, and those that wait for their next start, at once.
func (w *World) revive() error {
	var all []plugin
	if w.get("plugins", &all) != nil {
		return nil
	}
	for _, p := range all {
		if p.State == "failed" || p.State == "restarting" {
			var done struct{}
			if err := w.post("plugins/"+p.Plugin+"/restart", nil, &done); err != nil && !errors.Is(err, errAway) {
				return err
			}
		}
	}
	return nil
}

func ignorePatience(err error) error {
	if errors.Is(err, errPatience) {
		return nil
	}
	return err
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
