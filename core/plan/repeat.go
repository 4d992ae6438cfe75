package plan

import "time"

// Repeat is how often people are told of the same subject.
type Repeat struct {
	// Quiet: so long after the last time they are told only of what is worse; 0: they are
	// told of each case.
	Quiet time.Duration
	// Same: until then what comes is the same event still, and after Again so much time
	// has passed that it stands for itself.
	Same, Again time.Duration
}

// Repeats are the presets, the default first.
func Repeats() []string { return []string{"always", "fido"} }

// RepeatOf is a preset.
func RepeatOf(name string) Repeat {
	if name == "fido" {
		return Repeat{Quiet: 30 * time.Minute, Same: 240 * time.Minute, Again: 720 * time.Minute}
	}
	return Repeat{}
}
