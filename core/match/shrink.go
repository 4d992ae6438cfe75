package match

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/kelpie-sec/kelpie/core/model"
)

// resultRoom is kept for what a result holds beside its signals.
const resultRoom = 256 << 10

// share is what one event has in a result.
type share struct {
	index int // of the event
	size  int // of its signals and facts, encoded
	err   error
}

// shrink makes a result fit that is too large, or can't be encoded, by setting the
// events aside whose signals are to blame; of those that are only too large, the
// largest first.
func (m *Matcher) shrink(res *model.MatchResult, msg Message) []model.Rejected {
	b, err := model.DecodeBatch(msg.Payload)
	if err != nil {
		return nil // such a message has neither signals nor facts
	}
	b.Source = msg.Source
	total := resultRoom
	var rejected []model.Rejected
	for _, s := range shares(res) {
		reason := ""
		switch total += s.size; {
		case s.err != nil:
			reason = "can't be written: " + s.err.Error()
		case m.MaxResult > 0 && total > m.MaxResult:
			total -= s.size
			reason = fmt.Sprintf("too large: with its signals it takes %d bytes, more than is left in a message of the log", s.size)
		default:
			continue
		}
		signals := len(res.Signals)
		res.Signals = slices.DeleteFunc(res.Signals, func(g model.Signal) bool { return g.Position.Index == s.index })
		res.Facts = slices.DeleteFunc(res.Facts, func(f model.Fact) bool { return f.Position.Index == s.index })
		if len(res.Signals) < signals {
			res.Counts.Matched--
		} else {
			res.Counts.Fact--
		}
		rejected = append(rejected, setAside(&b, s.index, reason, res))
	}
	return rejected
}

// shares of the events in the signals and facts, the smallest first.
func shares(res *model.MatchResult) []share {
	var all []share
	signals, facts := res.Signals, res.Facts
	for len(signals)+len(facts) > 0 {
		at := 0 // the next event; those of both lists are in order
		if len(facts) > 0 {
			at = facts[0].Position.Index
		}
		if len(signals) > 0 && (len(facts) == 0 || signals[0].Position.Index < at) {
			at = signals[0].Position.Index
		}
		n, f := 0, 0
		for n < len(signals) && signals[n].Position.Index == at {
			n++
		}
		for f < len(facts) && facts[f].Position.Index == at {
			f++
		}
		data, err := model.EncodeInput(model.Input{Match: &model.MatchResult{Signals: signals[:n], Facts: facts[:f]}})
		all = append(all, share{at, len(data), err})
		signals, facts = signals[n:], facts[f:]
	}
	slices.SortStableFunc(all, func(a, b share) int { return cmp.Compare(a.size, b.size) })
	return all
}
