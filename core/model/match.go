package model

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// The first byte of an encoded MatchResult; JSON begins with another. A result with
// events of a shadow has the second and one with facts the third; those that have
// neither are as they ever were.
const (
	matchVersion  = 1
	shadowVersion = 2
	factsVersion  = 3
)

// ErrMatch means that bytes are no encoded MatchResult.
var ErrMatch = errors.New("not an encoded match result")

// Flags of an encoded MatchResult and of its signals.
const isDamaged = 1

const (
	signalStopped    = 1 << iota // Stopped is known
	signalWasStopped             // and true
	signalReceipt
	sameRule   // as the signal before
	sameSource // as the result
	sameEvent  // as the signal before: position, event id, revision and payload
	signalExperimental
)

// appendMatch appends a match result and its time. Lengths are unsigned varints, times
// are seconds since 1970 and nanoseconds. Equal results give equal bytes.
func appendMatch(dst []byte, at time.Time, m *MatchResult) []byte {
	var flags byte
	if m.Damaged {
		flags |= isDamaged
	}
	version := byte(matchVersion)
	if len(m.Counts.Shadow) > 0 {
		version = shadowVersion
	}
	if len(m.Facts) > 0 {
		version = factsVersion
	}
	dst = append(dst, version, flags)
	dst = appendTime(dst, at)
	dst = binary.AppendUvarint(dst, m.Seq)
	dst = appendText(dst, m.Source)
	dst = binary.AppendUvarint(dst, m.Total)
	dst = binary.AppendVarint(dst, int64(m.Count))
	dst = appendText(dst, m.Config)
	for _, n := range []int{m.Counts.Matched, m.Counts.Fact, m.Counts.Passed} {
		dst = binary.AppendVarint(dst, int64(n))
	}
	dst = appendTally(dst, m.Counts.Ignored)
	dst = appendTally(dst, m.Counts.Rejected)
	if version >= shadowVersion {
		dst = appendTally(dst, m.Counts.Shadow)
	}
	dst = binary.AppendUvarint(dst, uint64(len(m.Signals)))
	for i := range m.Signals {
		before := &Signal{}
		if i > 0 {
			before = &m.Signals[i-1]
		}
		dst = appendSignal(dst, &m.Signals[i], before, m.Source, i > 0)
	}
	if version == factsVersion {
		dst = binary.AppendUvarint(dst, uint64(len(m.Facts)))
		before := &Fact{}
		for i := range m.Facts {
			dst = appendFact(dst, &m.Facts[i], before)
			before = &m.Facts[i]
		}
	}
	return dst
}

func appendTally(dst []byte, t map[string]int) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(t)))
	for _, name := range slices.Sorted(maps.Keys(t)) {
		dst = appendText(dst, name)
		dst = binary.AppendVarint(dst, int64(t[name]))
	}
	return dst
}

func appendSignal(dst []byte, s, before *Signal, source string, follows bool) []byte {
	var flags byte
	if s.Stopped != nil {
		flags |= signalStopped
		if *s.Stopped {
			flags |= signalWasStopped
		}
	}
	if s.Receipt {
		flags |= signalReceipt
	}
	if s.Experimental {
		flags |= signalExperimental
	}
	if follows && s.Rule == before.Rule {
		flags |= sameRule
	}
	if s.Source == source {
		flags |= sameSource
	}
	if follows && s.Position == before.Position && s.EventID == before.EventID && s.Revision == before.Revision {
		flags |= sameEvent
	}
	dst = append(dst, flags)
	dst = appendText(dst, s.ID)
	if flags&sameRule == 0 {
		dst = appendText(dst, s.Rule)
	}
	if flags&sameSource == 0 {
		dst = appendText(dst, s.Source)
	}
	if flags&sameEvent == 0 {
		dst = binary.AppendUvarint(dst, s.Position.Seq)
		dst = binary.AppendVarint(dst, int64(s.Position.Index))
		dst = appendText(dst, s.EventID)
		dst = appendText(dst, s.Revision)
		dst = binary.AppendUvarint(dst, uint64(len(s.Raw)))
		dst = append(dst, s.Raw...)
	}
	dst = appendTime(dst, s.Time)
	dst = appendText(dst, s.Title)
	dst = binary.AppendVarint(dst, int64(s.Severity))
	dst = appendObservables(dst, s.Observables)
	dst = appendTexts(dst, s.Techniques)
	dst = appendText(dst, s.Link)
	return appendTexts(dst, s.Notes)
}

func appendTime(dst []byte, t time.Time) []byte {
	dst = binary.AppendVarint(dst, t.Unix())
	return binary.AppendUvarint(dst, uint64(t.Nanosecond()))
}

// appendText appends a text as JSON would have it: what is no UTF-8 is replaced.
func appendText(dst []byte, s string) []byte {
	return appendString(dst, strings.ToValidUTF8(s, "\ufffd"))
}

func appendTexts(dst []byte, all []string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(all)))
	for _, s := range all {
		dst = appendText(dst, s)
	}
	return dst
}

// decodeMatch reads what appendMatch wrote. The payloads are parts of data; the texts are
// not, since who remembers one of them would keep the whole message.
func decodeMatch(data []byte) (time.Time, *MatchResult, error) {
	r := batchReader{data: data, words: map[string]string{}}
	version := r.byte()
	if version < matchVersion || version > factsVersion {
		return time.Time{}, nil, fmt.Errorf("version: %w", ErrMatch)
	}
	m := &MatchResult{Damaged: r.byte()&isDamaged != 0}
	at := r.time()
	m.Seq, m.Source, m.Total, m.Count, m.Config = r.uvarint(), r.text(), r.uvarint(), r.int(), r.text()
	m.Counts.Matched, m.Counts.Fact, m.Counts.Passed = r.int(), r.int(), r.int()
	m.Counts.Ignored, m.Counts.Rejected = r.tally(), r.tally()
	if version >= shadowVersion {
		m.Counts.Shadow = r.tally()
	}
	if n := r.count(8); n > 0 {
		m.Signals = make([]Signal, n)
	}
	for i := range m.Signals {
		before := &Signal{}
		if i > 0 {
			before = &m.Signals[i-1]
		}
		r.signal(&m.Signals[i], before, m.Source)
	}
	if version == factsVersion {
		if n := r.count(6); n > 0 {
			m.Facts = make([]Fact, n)
		}
		before := &Fact{}
		for i := range m.Facts {
			r.fact(&m.Facts[i], before)
			before = &m.Facts[i]
		}
	}
	if r.bad || len(r.data) != 0 {
		return time.Time{}, nil, ErrMatch
	}
	return at, m, nil
}

func (r *batchReader) signal(s, before *Signal, source string) {
	flags := r.byte()
	s.ID = r.text()
	if s.Rule = before.Rule; flags&sameRule == 0 {
		s.Rule = r.word()
	}
	if s.Source = source; flags&sameSource == 0 {
		s.Source = r.word()
	}
	s.Position, s.EventID, s.Revision, s.Raw = before.Position, before.EventID, before.Revision, before.Raw
	if flags&sameEvent == 0 {
		s.Position = Position{Seq: r.uvarint(), Index: r.int()}
		s.EventID, s.Revision = r.text(), r.text()
		if s.Raw = r.bytes(); len(s.Raw) == 0 {
			s.Raw = nil
		}
	}
	s.Time, s.Title, s.Severity = r.time(), r.text(), r.int()
	s.Observables = r.observables()
	s.Techniques, s.Link, s.Notes = r.texts(), r.text(), r.texts()
	if flags&signalStopped != 0 {
		stopped := flags&signalWasStopped != 0
		s.Stopped = &stopped
	}
	s.Receipt = flags&signalReceipt != 0
	s.Experimental = flags&signalExperimental != 0
}

// text is a text of its own, and no part of the data.
func (r *batchReader) text() string { return strings.Clone(r.string()) }

// word is a text that comes again and again.
func (r *batchReader) word() string {
	s := r.string()
	own, known := r.words[s]
	if !known {
		own = strings.Clone(s)
		r.words[own] = own
	}
	return own
}

func (r *batchReader) time() time.Time {
	sec, nsec := r.varint(), r.uvarint()
	return time.Unix(sec, int64(nsec%1e9)).UTC()
}

func (r *batchReader) int() int {
	n := r.varint()
	if n > math.MaxInt32 || n < math.MinInt32 {
		r.fail()
		return 0
	}
	return int(n)
}

func (r *batchReader) texts() []string {
	n := r.count(1)
	if n == 0 {
		return nil
	}
	all := make([]string, n)
	for i := range all {
		all[i] = r.text()
	}
	return all
}

func (r *batchReader) tally() map[string]int {
	n := r.count(2)
	if n == 0 {
		return nil
	}
	t := make(map[string]int, n)
	for range n {
		name := r.text()
		t[name] = r.int()
	}
	return t
}
