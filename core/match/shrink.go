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
	size  int // of its signals, encoded
	err   error
}

// shrink makes a result fit that is too large, or can't be encoded, by setting the
// events aside whose signals are to blame; of those that are only too large, the
// largest first.
func (m *Matcher) shrink(res *model.MatchResult, msg Message) []model.Rejected {
	b, err := model.DecodeBatch(msg.Payload)
	if err != nil {
		return nil // such a message has no signals
	}
	b.Source = msg.Source
	total := resultRoom
	var rejected []model.Rejected
	for _, s := range shares(res.Signals) {
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
		res.Signals = slices.DeleteFunc(res.Signals, func(g model.Signal) bool { return g.Position.Index == s.index })
		res.Counts.Matched--
		rejected = append(rejected, setAside(&b, s.index, reason, res))
	}
	return rejected
}

// shares of the events in the signals, the smallest first.
func shares(signals []model.Signal) []share {
	var all []share
	for first := 0; first < len(signals); {
		end := first + 1
		for end < len(signals) && signals[end].Position == signals[first].Position {
			end++
		}
		s := share{index: signals[first].Position.Index}
		data, err := model.EncodeInput(model.Input{Match: &model.MatchResult{Signals: signals[first:end]}})
		s.size, s.err = len(data), err
		all = append(all, s)
		first = end
	}
	slices.SortStableFunc(all, func(a, b share) int { return cmp.Compare(a.size, b.size) })
	return all
}
