package correlate

import (
	"slices"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// hand is what people have decided about which signals belong together: a pure
// function of the decisions that stand, in their order.
type hand struct {
	// tied lists, by id, the signals that one is in a case with whatever values they
	// have and however far apart they are.
	tied map[string][]string
	// apart has the signals that were split off: they share no value with any other.
	apart map[string]bool
	never []sdk.Observable
}

// readHand works out what decisions come to. A signal that was split off more than
// once belongs to the last of these; a split cuts the joins before it that tie what it
// took to what it left.
func readHand(decisions []model.Decision) hand {
	h := hand{tied: map[string][]string{}, apart: map[string]bool{}}
	realm := map[string]int{} // by signal, the last split that took it, +1
	for i, d := range decisions {
		switch d.Kind {
		case model.SplitCase:
			for _, id := range d.Signals {
				realm[id], h.apart[id] = i+1, true
			}
		case model.NeverJoin:
			h.never = append(h.never, d.Value)
		}
	}
	for i, d := range decisions {
		switch d.Kind {
		case model.SplitCase:
			last := ""
			for _, id := range d.Signals {
				if realm[id] != i+1 {
					continue
				}
				if last != "" {
					h.tie(last, id)
				}
				last = id
			}
		case model.MergeCases:
			for n := 1; n < len(d.Signals); n++ {
				if a, b := d.Signals[n-1], d.Signals[n]; !cut(decisions[i+1:], a, b) {
					h.tie(a, b)
				}
			}
		}
	}
	return h
}

func (h *hand) tie(a, b string) {
	if a != b && !slices.Contains(h.tied[a], b) {
		h.tied[a], h.tied[b] = append(h.tied[a], b), append(h.tied[b], a)
	}
}

// cut tells whether a later split took one of two signals and left the other.
func cut(later []model.Decision, a, b string) bool {
	return slices.ContainsFunc(later, func(d model.Decision) bool {
		return d.Kind == model.SplitCase && slices.Contains(d.Signals, a) != slices.Contains(d.Signals, b)
	})
}
