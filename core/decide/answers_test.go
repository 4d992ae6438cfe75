package decide

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kelpie-sec/kelpie/core/model"
)

// answer is what came by a stream of answers.
func answered(by, address, option, cursor string) model.Command {
	return model.Command{
		By: by, Address: address, Option: option, Road: model.RoadAnswers, Feed: "action.chat", Cursor: []byte(cursor),
	}
}

// TestAnswersMoveTheirCursor: with the choice, in one change; also where the answer counts
// not, comes again, or is to nothing. A snapshot has it.
func TestAnswersMoveTheirCursor(t *testing.T) {
	f := newAsking(t, "base asks")
	f.alert(0)
	f.deliver("kim@example.org", model.IntentDone)
	cursors := func(c Changes, want string) {
		t.Helper()
		if diff := cmp.Diff(map[string][]byte{"action.chat": []byte(want)}, c.Cursors); diff != "" {
			t.Error(diff)
		}
	}
	order := func(id string, c model.Command) Changes {
		c.Kind, c.ID = model.Choose, id
		return f.apply(model.Input{Command: &c})
	}
	cursors(order("a", answered("", "", "", "1")), "1") // to nothing
	if n := len(f.question(0).Choices); n != 0 {
		t.Fatalf("%d choices", n)
	}
	foreign := answered("kim", "kim@example.org", "dance", "2")
	foreign.Question = f.question(0).ID
	cursors(order("b", foreign), "2")
	f.wantQuestion(0, model.QuestionOpen)
	good := answered("Kim@Example.org", "kim@example.org", "contain", "3")
	good.Question = foreign.Question
	c := order("c", good)
	cursors(c, "3")
	if len(c.Questions) != 1 || c.Questions[0].State != model.QuestionAnswered || c.Questions[0].By != "kim" || c.Questions[0].Road != model.RoadAnswers {
		t.Errorf("%+v", c.Questions)
	}
	before := f.question(0)
	c = order("c", good)
	cursors(c, "3")
	if len(c.Questions)+len(c.Intents)+len(c.Records) != 0 || !cmp.Equal(before, f.question(0)) {
		t.Errorf("the same again changes %+v", c)
	}
	if c = order("d", model.Command{Question: foreign.Question, Option: "contain", By: "kim", Road: model.RoadAPI}); len(c.Cursors) != 0 {
		t.Errorf("by another road: %v", c.Cursors)
	}

	var one, other bytes.Buffer
	if err := f.m.Snapshot(&one); err != nil {
		t.Fatal(err)
	}
	restored := New(f.m.compile)
	if err := restored.Restore(bytes.NewReader(one.Bytes())); err != nil {
		t.Fatal(err)
	}
	if err := restored.Snapshot(&other); err != nil || !bytes.Equal(one.Bytes(), other.Bytes()) {
		t.Error("a snapshot of the restored is another", err)
	}
	if string(restored.cursors["action.chat"]) != "3" {
		t.Errorf("cursors %q", restored.cursors)
	}
}

// TestAnswersOfWhoMayNot: by a stream of answers too only who was asked there chooses, and
// never a subject of the case.
func TestAnswersOfWhoMayNot(t *testing.T) {
	f := newAsking(t, "base asks")
	f.alert(0)
	f.suspect("kim")
	f.deliver("joe@example.org", model.IntentDone)
	for _, tt := range []struct {
		by, address, why string
		subject          bool
	}{
		{"kim", "kim@example.org", "user:kim is a subject of the case", true},
		{"kim.b@example.org", "kim@example.org", "user:kim is a subject of the case", true},
		{"kim", "joe@example.org", "kim is not who was asked at joe@example.org", false},
		{"", "joe@example.org", "it is not known who chose", false},
		{"joe", "", " was not asked", false},
		{"joe", "ann@example.org", "ann@example.org was not asked", false},
		{"ann", "joe@example.org", "ann is not who was asked at joe@example.org", false},
	} {
		ch := f.choose(answered(tt.by, tt.address, "contain", "1"))
		if ch.Counts || !strings.Contains(ch.Why, tt.why) || ch.Subject != tt.subject {
			t.Errorf("%s at %s: %+v", tt.by, tt.address, ch)
		}
	}
	f.wantQuestion(0, model.QuestionOpen)
	if ch := f.choose(answered("joe", "joe@example.org", "contain", "2")); !ch.Counts {
		t.Errorf("who was asked: %+v", ch)
	}
}
