package model

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// Fact is an event that matched one term of a rule over several, and only feeds it.
type Fact struct {
	// Rule is the rule's address, and Term which of its terms this is of, from 0.
	Rule string `json:"rule"`
	Term int    `json:"term,omitempty"`
	// Key is the text of the values that the rule groups by; see KeyText.
	Key string `json:"key,omitempty"`
	// ID is FactID of the event, and Position its place in EVENTS.
	ID       string    `json:"id"`
	Position Position  `json:"position"`
	Time     time.Time `json:"time"`
	// Value is what a rule over distinct values counts, and Number, in thousandths, what
	// one over numbers adds up.
	Value       string           `json:"value,omitempty"`
	Number      int64            `json:"number,omitempty"`
	Observables []sdk.Observable `json:"observables,omitempty"`
	Severity    int              `json:"severity,omitempty"`
	Techniques  []string         `json:"techniques,omitempty"`
}

// FactID names an event of a source as rules over several count it: each once, whatever
// its revisions.
func FactID(source, maker, eventID string) string { return ID("e", source, maker, eventID) }

// Member is one of the events or signals behind a signal that a rule over several
// reported.
type Member struct {
	// ID is FactID of an event, or the id of a signal.
	ID string `json:"id"`
	// Position is the event's place in EVENTS; of a signal of a rule, that of its first
	// event.
	Position Position  `json:"position"`
	Term     int       `json:"term,omitempty"`
	Time     time.Time `json:"time"`
}

const sameFacts = 1 // as the fact before: the event and what it says of itself

// appendFact appends a fact of a match result.
func appendFact(dst []byte, f, before *Fact) []byte {
	var flags byte
	if f.sameEvent(before) {
		flags |= sameFacts
	}
	dst = append(dst, flags)
	dst = appendText(dst, f.Rule)
	dst = binary.AppendVarint(dst, int64(f.Term))
	dst = appendText(dst, f.Key)
	dst = appendText(dst, f.Value)
	dst = binary.AppendVarint(dst, f.Number)
	if flags&sameFacts != 0 {
		return dst
	}
	dst = appendText(dst, f.ID)
	dst = binary.AppendUvarint(dst, f.Position.Seq)
	dst = binary.AppendVarint(dst, int64(f.Position.Index))
	dst = appendTime(dst, f.Time)
	dst = binary.AppendVarint(dst, int64(f.Severity))
	dst = appendObservables(dst, f.Observables)
	return appendTexts(dst, f.Techniques)
}

func (f *Fact) sameEvent(o *Fact) bool {
	return f.ID == o.ID && f.Position == o.Position && f.Time.Equal(o.Time) && f.Severity == o.Severity &&
		slices.Equal(f.Observables, o.Observables) && slices.Equal(f.Techniques, o.Techniques)
}

// fact reads what appendFact wrote. Facts of one event share what they have in common.
func (r *batchReader) fact(f, before *Fact) {
	flags := r.byte()
	f.Rule, f.Term, f.Key, f.Value, f.Number = r.word(), r.int(), r.text(), r.text(), r.varint()
	if flags&sameFacts != 0 {
		f.ID, f.Position, f.Time, f.Severity = before.ID, before.Position, before.Time, before.Severity
		f.Observables, f.Techniques = before.Observables, before.Techniques
		return
	}
	f.ID = r.text()
	f.Position = Position{Seq: r.uvarint(), Index: r.int()}
	f.Time, f.Severity, f.Observables, f.Techniques = r.time(), r.int(), r.observables(), r.texts()
}

func appendObservables(dst []byte, all []sdk.Observable) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(all)))
	for _, o := range all {
		dst = appendText(dst, o.Kind)
		dst = appendText(dst, o.Value)
		dst = appendText(dst, string(o.Role))
	}
	return dst
}

func (r *batchReader) observables() []sdk.Observable {
	n := r.count(3)
	if n == 0 {
		return nil
	}
	all := make([]sdk.Observable, n)
	for i := range all {
		all[i] = sdk.Observable{Kind: r.word(), Value: r.text(), Role: sdk.Role(r.word())}
	}
	return all
}
