package plan

import (
	"fmt"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
)

// Repeat is how often people are told of the same subject in several cases.
type Repeat struct {
	// Quiet: so long after they were told of a subject people are told of it only if it
	// is worse; 0: they are told of each case.
	Quiet time.Duration
	// Same: until then what they are told is marked as the same event, and until Again as
	// one that came before.
	Same, Again time.Duration
}

// Repeats are the presets, the default first.
func Repeats() []string { return []string{"always", "fido"} }

// RepeatOf is a preset. "fido" has the windows of Netflix's FIDO, as they were meant.
func RepeatOf(name string) Repeat {
	if name == "fido" {
		return Repeat{Quiet: 30 * time.Minute, Same: 240 * time.Minute, Again: 720 * time.Minute}
	}
	return Repeat{}
}

// Told is when people were told last of a subject that a case has, in another case.
type Told struct {
	At time.Time
	Of string // "kind:value"
	// Score is the highest that they were told of it within Repeat.Quiet before At.
	Score model.Hundredths
}

// Tells tells whether a verb is there to tell people.
func Tells(verb string) bool { return verb == "notify" || verb == "ticket" }

// repeats tells whether a step would tell people what they know: the case has a subject
// that they were told of a short time before its newest signal, and is no worse. Else
// it says what is to be told of that.
func (r *run) repeats(response string, s *Step, t model.Target) (quiet bool, text string) {
	again := r.settings.Repeat
	if again.Quiet <= 0 || !Tells(s.Verb) || r.c.Told == nil {
		return false, ""
	}
	told, ok := r.c.Told(response, s.Name, t)
	if !ok {
		return false, ""
	}
	since := max(r.c.ChangedAt.Sub(told.At), 0)
	switch {
	case since <= again.Quiet && r.c.Score <= told.Score:
		return true, fmt.Sprintf("told of %s %s before, and it is no worse", told.Of, span(since))
	case since <= again.Quiet:
		return false, fmt.Sprintf("; worse than what was told of %s %s before", told.Of, span(since))
	case since <= again.Same:
		return false, fmt.Sprintf("; the same as was told of %s %s before", told.Of, span(since))
	case since <= again.Again:
		return false, fmt.Sprintf("; %s was told of %s before", told.Of, span(since))
	}
	return false, ""
}

// span is a time in one unit, for people.
func span(d time.Duration) string {
	n, unit := int(d/time.Minute), "minute"
	if d >= 2*time.Hour {
		n, unit = int(d/time.Hour), "hour"
	}
	if n != 1 {
		unit += "s"
	}
	return fmt.Sprintf("%d %s", n, unit)
}
