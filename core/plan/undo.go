package plan

import (
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// Forever is what UndoBy gives for a hold that ends when a person lets it go.
const Forever = "forever"

// doubtful is how long something is held if the configuration gives no time for it: long
// enough that a person can say, and not for ever.
const doubtful = time.Hour

// undoAfter is how long a case wants what a step holds; 0: until a person lets it go. Why
// says that the configuration gives no time.
func (r *run) undoAfter(s *Step) (after time.Duration, why string) {
	if s.UndoBy == nil {
		return s.UndoAfter, ""
	}
	v := s.UndoBy.Eval(&r.scope)
	text, _ := v.Str()
	if text == Forever && !r.scope.Exceeded() {
		return 0, ""
	}
	after, err := sdk.ParseDuration(text)
	if err != nil || after <= 0 || r.scope.Exceeded() {
		return doubtful, "it is held for 1h, since undo_after is no time: " + v.Text()
	}
	return after, ""
}
