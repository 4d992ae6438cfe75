package decide

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/plan"
)

// told is what people were told of a subject by one step.
type told struct {
	At     time.Time        `json:"at"`
	Score  model.Hundredths `json:"score"`
	Intent string           `json:"intent"`
	Case   string           `json:"case"` // as first opened
}

const (
	// maxTold bounds what is remembered of what people were told. Beyond it they are told
	// more rather than less.
	maxTold = 20_000
	// maxToldOf is how many subjects of one case are remembered.
	maxToldOf = 20
)

func toldKey(response, step string, t model.Target, dry bool, subject string) string {
	mode := "on"
	if dry {
		mode = "dry"
	}
	return strings.Join([]string{response, step, mode, t.Kind + ":" + t.Value, subject}, "\n")
}

// toldOf says when people were told last of a subject of a case, in another.
func (m *Machine) toldOf(v *view) func(response, step string, t model.Target) (plan.Told, bool) {
	if m.settings.Plan.Repeat.Quiet <= 0 {
		return nil
	}
	dry := m.settings.Plan.Mode != plan.On
	return func(response, step string, t model.Target) (last plan.Told, ok bool) {
		subjects, _ := v.ranked(maxToldOf)
		for _, s := range subjects {
			of, was := m.told[toldKey(response, step, t, dry, s.Key())]
			if !was || slices.Contains(v.cs.names, of.Case) {
				continue
			}
			if !ok || of.At.After(last.At) {
				last.At, last.Of, ok = of.At, s.Key(), true
			}
			last.Score = max(last.Score, of.Score)
		}
		return last, ok
	}
}

// scoreTold is the score by which it is seen whether a case is worse than what was told.
func (m *Machine) scoreTold(v *view) model.Hundredths {
	if m.settings.Plan.Repeat.Quiet <= 0 {
		return 0
	}
	return v.score().Total
}

// tell remembers what a step tells people of a case's subjects.
func (m *Machine) tell(v *view, intents []model.Intent) {
	again := m.settings.Plan.Repeat
	if again.Quiet <= 0 {
		return
	}
	for i := range intents {
		in := &intents[i]
		if !plan.Tells(in.Verb) {
			continue
		}
		if len(m.told) >= maxTold {
			maps.DeleteFunc(m.told, func(_ string, t told) bool { return m.at.Sub(t.At) > again.Again })
		}
		subjects, _ := v.ranked(maxToldOf)
		for _, s := range subjects {
			key := toldKey(in.Response, in.Step, in.Target, in.DryRun, s.Key())
			old, was := m.told[key]
			if !was && len(m.told) >= maxTold {
				continue
			}
			next := told{At: m.at, Score: v.score().Total, Intent: in.ID, Case: in.Case}
			if was && m.at.Sub(old.At) <= again.Quiet {
				next.Score = max(next.Score, old.Score)
			}
			m.told[key] = next
		}
	}
}

// untold forgets what people were not told, since the step came to nothing.
func (m *Machine) untold(in *intentState) {
	if plan.Tells(in.Verb) && (in.State == model.IntentFailed || in.State == model.IntentRefused) {
		maps.DeleteFunc(m.told, func(_ string, t told) bool { return t.Intent == in.ID })
	}
}
