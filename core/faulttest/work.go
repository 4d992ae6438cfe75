//go:build linux

package faulttest

import (
	"errors"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
)

// Work is what is under way in a world at a moment: what a fault can spoil.
type Work struct {
	Events  int // offered, and not accounted for by decide yet
	Asks    int // lookups without an answer
	Intents int // steps without an outcome
	Calls   int // at the far end, neither answered nor given up
}

// Any tells whether there is any.
func (k Work) Any() bool { return k.Events+k.Asks+k.Intents+k.Calls > 0 }

// Add adds up two.
func (k Work) Add(o Work) Work {
	return Work{k.Events + o.Events, k.Asks + o.Asks, k.Intents + o.Intents, k.Calls + o.Calls}
}

// status is what of the core's own a harness looks at.
type status struct {
	Detectors []struct {
		Instance string
		State    string
		Total    int
	}
	Sources []struct {
		Source  string
		Counted int
		Total   int
	}
	Enrichments []struct {
		Enrichment string
		Waiting    int
	}
	Counts struct {
		Signals        int `json:"signals"`
		AsksPending    int `json:"asks_pending"`
		IntentsPending int `json:"intents_pending"`
	}
	Log    struct{ Unmatched, Undecided int }
	Tables []struct{ Table, Version string }
}

// Work of the whole world.
func (w *World) Work() Work {
	all := Work{}
	for _, k := range w.WorkOf() {
		all = all.Add(k)
	}
	return all
}

// WorkOf gives the work by plugin: what waits for its processes, or is with them. What
// a core that does not answer has done since it last did is not known, and counts as
// not done.
func (w *World) WorkOf() map[string]Work {
	all := map[string]Work{}
	add := func(plugin string, k Work) { all[plugin] = all[plugin].Add(k) }
	var s status
	if w.get("status", &s) == nil {
		for _, src := range s.Sources {
			w.counted[strings.TrimPrefix(src.Source, "detector.")] = src.Counted
		}
		add("lookup", Work{Asks: s.Counts.AsksPending})
	}
	for _, f := range w.Feeds {
		add(f.Plugin(), Work{Events: max(f.Offered()-w.counted[f.Name()], 0)})
	}
	var intents []model.Intent
	if s.Counts.IntentsPending > 0 && w.get("intents?state=pending", &intents) == nil {
		for _, in := range intents {
			add(pluginOf(in.Action), Work{Intents: 1})
		}
	}
	for _, name := range []string{"enrichment.honest", "enrichment.wild", "action.edr", "action.desk"} {
		add(pluginOf(name), Work{Calls: w.Far.Flying(name)})
	}
	return all
}

// caughtUp waits until all that was offered is decided, without a new start of the core.
func (w *World) caughtUp() error {
	life := w.core
	return w.Until("what was offered to be decided", func() (bool, error) {
		if w.core != life {
			return false, errors.New("the core was started again")
		}
		if err := w.alive(); err != nil {
			return false, err
		}
		if err := w.revive(); err != nil {
			return false, err
		}
		var s status
		return w.get("status", &s) == nil && w.decided(s), nil
	})
}

// pluginOf an enrichment or action.
func pluginOf(instance string) string {
	switch {
	case strings.HasPrefix(instance, "enrichment."):
		return "lookup"
	case instance == "action.mail":
		return "email"
	case instance == "action.fence":
		return "contain"
	}
	return "vendor"
}

// pressPatience is how long a fault waits to find work.
const pressPatience = 1500 * time.Millisecond

// Press offers events until there is work of the kind that the fault wants, and gives
// it as it last was; without any when it gives up.
func (w *World) Press(work func() Work) (Work, error) {
	burst := 1 + w.ration/4
	var found Work
	err := w.within(pressPatience, "work", func() (bool, error) {
		if err := w.Drip(burst); err != nil {
			return false, err
		}
		burst = 1
		found = work()
		return found.Any(), nil
	})
	if errors.Is(err, errPatience) {
		err = nil
	}
	return found, err
}
