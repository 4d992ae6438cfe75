package decide

import (
	"fmt"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
)

// TestWhatIsGatheredIsAsked: however many questions come together, each is in a message,
// and only by that has it reached somebody.
func TestWhatIsGatheredIsAsked(t *testing.T) {
	const most = maxAsked + 5
	f := newAsking(t, "base blind asks together")
	for n := range most {
		f.signals(sig(fmt.Sprintf("s-%d", n), f.now, 90, fmt.Sprintf("subject host:ws-%d", n)))
		f.settle()
	}
	if got := f.m.counted("notify"); got != 2*2 { // to kim and to joe
		t.Errorf("%d messages count, want 4", got)
	}
	f.tick(time.Second)
	f.tick(10 * time.Second)
	f.tick(0)
	var messages []model.Intent
	asked := map[string]string{} // by question
	for _, in := range f.tables.intents {
		switch {
		case in.Target.Value != "kim@example.org":
		case in.Gathers > 0:
			messages = append(messages, in)
		case in.Question != "" && in.ChosenBy == "":
			asked[in.Question] = in.Gathered
		}
	}
	if len(messages) != 2 || len(asked) != most {
		t.Fatalf("%d of %d questions are in %d messages", len(asked), most, len(messages))
	}
	f.outcome(messages[0], model.IntentDone)
	for id, q := range f.tables.questions {
		if told := asked[id] == messages[0].ID; told == q.AcceptedAt.IsZero() {
			t.Errorf("%s was told: %t, and accepted %s", id, told, q.AcceptedAt)
		}
	}
}

// TestADigestThatIsFullIsTold: what waits keeps its case in memory.
func TestADigestThatIsFullIsTold(t *testing.T) {
	f := gatherFeed(t, "gather digest")
	for n := range maxWaiting {
		f.alert(n, 30)
	}
	f.passes(time.Second)
	f.passes(time.Second)
	for _, in := range f.tables.intents {
		if in.Gathers == maxWaiting && in.State == model.IntentPending {
			return
		}
	}
	t.Errorf("%d wait, and nothing is told", maxWaiting)
}
