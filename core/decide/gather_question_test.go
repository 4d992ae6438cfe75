package decide

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// TestWhatIsGatheredIsAsked: however many questions come together, each is in a message
// that lists it, and only by that has it reached somebody.
func TestWhatIsGatheredIsAsked(t *testing.T) {
	const most = 2*maxGathered + 5
	f := newAsking(t, "base blind asks together")
	for n := range most {
		f.signals(sig(fmt.Sprintf("s-%d", n), f.now, 90, fmt.Sprintf("subject host:ws-%d", n)))
		f.settle()
	}
	f.tick(time.Second)
	f.tick(10 * time.Second)
	f.tick(0)
	listed, messages := map[string]string{}, 0
	for _, in := range f.tables.intents {
		if in.Gathers == 0 || in.Target.Value != "kim@example.org" {
			continue
		}
		messages++
		var parameters struct{ Notice sdk.Notice }
		if err := json.Unmarshal(in.Parameters, &parameters); err != nil {
			t.Fatal(err)
		}
		for _, c := range parameters.Notice.Gathered {
			listed[c.Question] = in.ID
		}
		if n := len(listed); n < most && messages == 1 {
			f.outcome(in, model.IntentDone)
		}
	}
	if messages != 3 || len(listed) != most {
		t.Fatalf("%d of %d questions are in %d messages", len(listed), most, messages)
	}
	for id, q := range f.tables.questions {
		if told := f.tables.intents[listed[id]].State == model.IntentDone; told == q.AcceptedAt.IsZero() {
			t.Errorf("%s was told: %t, and accepted %s", id, told, q.AcceptedAt)
		}
	}
}

// TestMessagesOfQuestionsCountForTheLimit, each once.
func TestMessagesOfQuestionsCountForTheLimit(t *testing.T) {
	f := newAsking(t, "base blind asks together")
	for n := range 2*maxGathered + 1 {
		f.signals(sig(fmt.Sprintf("s-%d", n), f.now, 90, fmt.Sprintf("subject host:ws-%d", n)))
		f.settle()
	}
	if got := f.m.counted("notify"); got != 2*3 { // to kim and to joe
		t.Errorf("%d messages count, want 6", got)
	}
}
