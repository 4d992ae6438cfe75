package faulttest

import (
	"errors"
	"strings"
	"time"
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
	Log struct{ Unmatched, Undecided int }
}

// Work of the whole world. What a core that does not answer has done since it last
// did is not known, and counts as not done.
func (w *World) Work() Work {
	var k Work
	var s status
	if err := w.get("status", &s); err == nil {
		for _, src := range s.Sources {
			w.counted[strings.TrimPrefix(src.Source, "detector.")] = src.Counted
		}
		k.Asks, k.Intents = s.Counts.AsksPending, s.Counts.IntentsPending
	}
	for _, f := range w.Feeds {
		k.Events += max(f.Offered()-w.counted[f.Name()], 0)
	}
	for _, name := range []string{"enrichment.honest", "enrichment.wild", "action.edr", "action.desk"} {
		k.Calls += w.Far.Flying(name)
	}
	return k
}

// WorkOf a plugin's processes: what waits for them, or is with them.
func (w *World) WorkOf(plugin string) Work {
	all := w.Work()
	k := Work{}
	switch plugin {
	case "file", "script":
		for _, f := range w.Feeds {
			if strings.Contains(f.Block(w.dir), `"`+plugin+`"`) {
				k.Events += max(f.Offered()-w.counted[f.Name()], 0)
			}
		}
	case "lookup":
		k.Asks = all.Asks
		k.Calls = w.Far.Flying("enrichment.honest") + w.Far.Flying("enrichment.wild")
	case "vendor", "email":
		k.Intents = w.pending(plugin)
		if plugin == "vendor" {
			k.Calls = w.Far.Flying("action.edr") + w.Far.Flying("action.desk")
		}
	}
	return k
}

// pending intents of a plugin's actions.
func (w *World) pending(plugin string) int {
	var intents []struct {
		Action string `json:"action"`
	}
	if w.get("intents?state=pending", &intents) != nil {
		return 0
	}
	n := 0
	for _, in := range intents {
		if (in.Action == "action.mail") == (plugin == "email") {
			n++
		}
	}
	return n
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
