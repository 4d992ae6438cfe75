package eventlog

import (
	"errors"
	"fmt"
	"strings"
)

// ErrLost says that messages which the log has acknowledged are missing or damaged.
var ErrLost = errors.New("acknowledged messages are lost")

// Damage is a stretch of a stream that was acknowledged and is not there as it was.
type Damage struct {
	Stream      string
	First, Last uint64 // sequences
	// Sources are the instances whose batches these were and, of EVENTS, how many of
	// their events; as far as the messages around the stretch tell.
	Sources []SourceLoss
	// Reason says what was found: bytes with a wrong checksum in a file, or nothing
	// where the messages should be.
	Reason string
	// Certain: the messages had reached the disk. Otherwise they came within the last
	// sync intervals, which a power cut may take.
	Certain bool
}

// SourceLoss is what one source lost.
type SourceLoss struct {
	Source string
	Events uint64
}

func (d Damage) String() string {
	text := fmt.Sprintf("%s %d", d.Stream, d.First)
	if d.Last > d.First {
		text = fmt.Sprintf("%s %d to %d", d.Stream, d.First, d.Last)
	}
	var all []string
	for _, s := range d.Sources {
		one := s.Source
		if s.Events > 0 {
			one = fmt.Sprintf("%s (%d events)", s.Source, s.Events)
		}
		all = append(all, one)
	}
	if len(all) == 0 {
		all = []string{"unknown sources"} // the bytes themselves would have told
	}
	return text + " of " + strings.Join(all, ", ") + ": " + d.Reason
}

// DamageError refuses to open a log. It matches ErrLost.
type DamageError struct {
	Dir     string
	Damages []Damage
}

func (e *DamageError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %v:", e.Dir, ErrLost)
	const most = 20
	for i, d := range e.Damages {
		if i == most {
			fmt.Fprintf(&b, "\n  and %d more", len(e.Damages)-most)
			break
		}
		b.WriteString("\n  " + d.String())
	}
	return b.String()
}

func (e *DamageError) Unwrap() error { return ErrLost }
