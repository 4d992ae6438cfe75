package decide

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kelpie-sec/kelpie/core/model"
)

// end ends the case of a signal.
func (f *feed) end(signal string, kind model.FindingKind) Changes {
	f.t.Helper()
	return f.apply(model.Input{Command: &model.Command{
		Kind: model.EndCase, By: "kim", Case: f.row(signal).FirstID, Finding: &model.Finding{Kind: kind, Notes: "I looked", Minutes: 5},
	}})
}

// row is the case that a signal is in.
func (f *feed) row(signal string) model.Case {
	f.t.Helper()
	c, ok := f.tables.cases[f.tables.members[signal]]
	if !ok {
		f.t.Fatalf("signal %s is in no case", signal)
	}
	return c
}

func (f *feed) reopen(signal string) Changes {
	f.t.Helper()
	return f.apply(model.Input{Command: &model.Command{Kind: model.ReopenCase, By: "ann", Because: "a slip", Case: f.row(signal).FirstID}})
}

// state is a case's in short, by a signal of it.
func (f *feed) state(signal string) string {
	c := f.row(signal)
	text := string(c.State)
	if c.Finding != nil {
		text += " " + string(c.Finding.Kind) + " by " + c.Finding.By
	}
	if c.Reopened != nil {
		text += ", was " + string(c.Reopened.Was.Kind) + ": " + c.Reopened.Because
	}
	return text
}

func (f *feed) wantState(signal, want string) {
	f.t.Helper()
	if got := f.state(signal); got != want {
		f.t.Errorf("the case of %s: %q, want %q", signal, got, want)
	}
}

// TestASubjectEndsNothing: what is asked about a case is not withdrawn by whom it is about.
func TestASubjectEndsNothing(t *testing.T) {
	f := newFeed(t)
	f.config("base blind", false)
	f.signals(sig("s-1", minutes(0), 50, "subject host:ws-1", "subject user:kim"))
	f.settle()
	id := f.row("s-1").FirstID
	for _, c := range []struct{ by, state, because string }{
		{"kim", "open", "it does not count: user:kim is a subject of the case"},
		{"Kim@example.org", "open", "it does not count: user:kim is a subject of the case"},
		{"ann", "closed benign by ann", ""},
		{"kim", "closed benign by ann", "it does not count: user:kim is a subject of the case"},
	} {
		changes := f.apply(model.Input{Command: &model.Command{Kind: model.EndCase, By: c.by, Case: id, Finding: &model.Finding{Kind: model.Benign}}})
		f.wantState("s-1", c.state)
		if len(changes.Records) != 1 || changes.Records[0].Because != c.because || changes.Records[0].By != c.by {
			t.Errorf("by %s: %+v", c.by, changes.Records)
		}
	}
}

// TestACaseEnds: a case that has ended is planned no more, whatever is learned of it; a
// new signal or a later revision has it go on, and a repeat does not.
func TestACaseEnds(t *testing.T) {
	f := newFeed(t)
	f.config("base blind", false)
	f.signals(sig("s-1", minutes(0), 50, "subject host:ws-1"))
	f.settle()
	c := f.end("s-1", model.Benign)
	f.wantState("s-1", "closed benign by kim")
	id := model.CaseID("s-1")
	want := model.Record{At: f.now, Kind: model.RecordFinding, By: "kim", Subject: id, Case: id, To: "benign", Message: "I looked"}
	if diff := cmp.Diff([]model.Record{want}, c.Records); diff != "" {
		t.Error(diff)
	}
	if got := f.row("s-1").Finding; got.Minutes != 5 || !got.At.Equal(f.now) {
		t.Errorf("%+v", got)
	}
	if c := f.end("s-1", model.Benign); len(c.Records) > 0 {
		t.Errorf("said twice: %+v", c.Records)
	}
	planned := len(f.tables.intents)
	f.config("base", false)
	f.settle()
	f.signals(sig("s-1", minutes(0), 50, "subject host:ws-1")) // a repeat
	f.wantState("s-1", "closed benign by kim")
	if n := len(f.tables.intents); n != planned {
		t.Errorf("%d steps were planned for what has ended", n-planned)
	}
	revised := sig("s-1", minutes(0), 90, "subject host:ws-1")
	revised.Revision = "2"
	f.signals(revised)
	f.wantState("s-1", "open, was benign: a later revision of a signal came: s-1, title of s-1")
	f.end("s-1", model.TruePositive)
	f.end("s-1", model.FalsePositive) // which corrects it
	f.wantState("s-1", "closed false_positive by kim, was benign: a later revision of a signal came: s-1, title of s-1")
	f.signals(sig("s-2", minutes(1), 10, "subject host:ws-1"))
	f.wantState("s-1", "open, was false_positive: a new signal came: s-2, title of s-2")
	f.end("s-1", model.TruePositive)
	f.reopen("s-1")
	f.wantState("s-2", "open, was true_positive: a slip")
	if got := f.row("s-2").Reopened; got.By != "ann" {
		t.Errorf("%+v", got)
	}
	if c := f.reopen("s-1"); len(c.Records) > 0 {
		t.Errorf("what is open was opened: %+v", c.Records)
	}
}

// TestPeopleAreToldAnew: once a case has ended, they are told of what comes for it.
func TestPeopleAreToldAnew(t *testing.T) {
	f := newFeed(t)
	f.config("base blind", false)
	told := func() (n int) {
		for _, in := range f.tables.intents {
			if in.Step == "mail" {
				n++
				if in.State == model.IntentPending {
					f.outcome(in, model.IntentDone)
				}
			}
		}
		return n
	}
	f.signals(sig("s-1", minutes(0), 50, "subject host:ws-1"))
	f.settle()
	before := told()
	f.now = f.now.Add(time.Minute)
	f.signals(sig("s-2", minutes(1), 50, "subject host:ws-1"))
	if n := told(); n != before || n == 0 {
		t.Fatalf("told %d times, then %d", before, n)
	}
	f.end("s-1", model.Benign)
	f.now = f.now.Add(time.Minute)
	f.signals(sig("s-3", minutes(2), 50, "subject host:ws-1"))
	if n := told(); n != 2*before {
		t.Errorf("told %d times after it had ended, want %d", n-before, before)
	}
	f.now = f.now.Add(time.Minute)
	f.signals(sig("s-4", minutes(3), 50, "subject host:ws-1"))
	if n := told(); n != 2*before {
		t.Errorf("told %d times", n)
	}
}

// TestWhatIsNoFinding changes nothing.
func TestWhatIsNoFinding(t *testing.T) {
	f := newFeed(t)
	f.signals(sig("s-1", minutes(0), 50, "subject host:ws-1"))
	id := f.row("s-1").FirstID
	for _, c := range []model.Command{
		{Case: id},
		{Case: id, Finding: &model.Finding{}},
		{Case: id, Finding: &model.Finding{Kind: "bad luck"}},
		{Case: "c-nonsense", Finding: &model.Finding{Kind: model.Benign}},
	} {
		c.Kind, c.By = model.EndCase, "kim"
		if ch := f.apply(model.Input{Command: &c}); len(ch.Records)+len(ch.Cases) > 0 {
			t.Errorf("%+v came to something", c)
		}
	}
	f.apply(model.Input{Command: &model.Command{
		Kind: model.EndCase, By: "kim", Case: id,
		Finding: &model.Finding{Kind: model.Benign, By: "mallory", Minutes: -4, Loss: 1 << 60, Notes: strings.Repeat("ä", 5000)},
	}})
	got := f.row("s-1").Finding
	if got == nil || got.By != "kim" || got.Minutes != 0 || got.Loss != model.MostLoss || len(got.Notes) > model.MostFindingNotes+3 {
		t.Errorf("%+v", got)
	}
}

// TestEndedCasesTogether: one that has ended goes on if it becomes one with an open one;
// of two that have, what was said last holds. What comes apart keeps what was said.
func TestEndedCasesTogether(t *testing.T) {
	f := newFeed(t)
	f.signals(sig("s-1", minutes(0), 50, "subject host:a"), sig("s-2", minutes(1), 50, "subject host:b"), sig("s-3", minutes(2), 50, "subject host:c"))
	b := f.row("s-2").ID
	f.end("s-1", model.Benign)
	merged := f.decide(1, model.MergeCases, "s-1", "s-2")
	f.wantState("s-2", "open, was benign: it became one with "+b+", which had not ended")
	f.end("s-2", model.TruePositive)
	f.apply(model.Input{Command: &model.Command{Kind: model.UndoDecision, By: "kim", Decision: merged}})
	f.wantState("s-1", "closed true_positive by kim, was benign: it became one with "+b+", which had not ended")
	f.wantState("s-2", "closed true_positive by kim, was benign: it became one with "+b+", which had not ended")
	f.now = f.now.Add(time.Minute)
	f.end("s-3", model.FalsePositive)
	f.decide(2, model.MergeCases, "s-1", "s-3")
	if got := f.state("s-1"); !strings.HasPrefix(got, "closed false_positive") {
		t.Error(got)
	}
	// A signal that makes one of an open and an ended case.
	f.signals(sig("s-4", minutes(300), 50, "subject host:d"))
	f.end("s-4", model.Benign)
	f.signals(sig("s-5", minutes(301), 50, "subject host:e"))
	f.signals(sig("s-6", minutes(302), 50, "subject host:d", "host:e"))
	if got := f.state("s-4"); !strings.HasPrefix(got, "open, was benign: ") || f.row("s-4").ID != f.row("s-5").ID {
		t.Error(got)
	}
}

// TestFindingsAreKept: over a snapshot, and after a case has left memory and come back.
func TestFindingsAreKept(t *testing.T) {
	f := newFeed(t)
	f.signals(sig("s-1", minutes(0), 50, "subject host:a"))
	f.end("s-1", model.TruePositive)
	f.signals(sig("s-2", minutes(1), 50, "subject host:a"))
	f.end("s-1", model.Benign)
	var first, second bytes.Buffer
	if err := f.m.Snapshot(&first); err != nil {
		t.Fatal(err)
	}
	m := New(testCompiler)
	if err := m.Restore(bytes.NewReader(first.Bytes())); err != nil {
		t.Fatal(err)
	}
	if err := m.Snapshot(&second); err != nil || !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Errorf("another snapshot, %v", err)
	}
	cs := m.caseFirst(f.row("s-1").FirstID)
	before := m.row(cs)
	doc := m.settled(cs)
	back, err := readSettled(Back{Doc: doc.Doc})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(found{Now: before.Finding, Worked: before.Worked, Again: before.Reopened, Anew: before.Reopened.At}, back.found); diff != "" {
		t.Error(diff)
	}
}

// TestHistoryOfFindings: a case knows what people found of the earlier ones that had its
// values, by rules of its own as well as by others, until they are seen again.
func TestHistoryOfFindings(t *testing.T) {
	f := newFeedOf(t, within(Limits{Signals: 1}, 20*time.Minute))
	past := func(signal string) (all []string) {
		for _, p := range f.row(signal).History {
			v := pastValues([]model.Past{p}, f.row(signal).Rules).Index(0)
			all = append(all, p.Value+" "+v.Attr("outcome").String()+" "+v.Attr("benigns").String()+" "+v.Attr("false_positives").String()+" "+foundText(&p))
		}
		return all
	}
	other := sig("s-2", minutes(200), 50, "subject host:ws-1")
	other.Rule = "pipeline.other"
	f.signals(sig("s-1", minutes(0), 50, "subject host:ws-1", "indicator ip:192.0.2.1"))
	f.end("s-1", model.Benign)
	f.signals(other)
	if got := past("s-2"); !slices.Equal(got, []string{`host:ws-1 "benign" 0 0 in an earlier case found to be benign, by kim on 2026-03-01`}) {
		t.Errorf("%q", got)
	}
	f.end("s-2", model.Benign)
	f.signals(sig("s-3", minutes(400), 50, "subject host:ws-1"))
	if got := past("s-3"); !slices.Equal(got, []string{`host:ws-1 "benign" 1 0 in 2 earlier cases found to be benign, by kim on 2026-03-01`}) {
		t.Errorf("%q", got)
	}
	f.signals(sig("s-4", minutes(600), 50, "subject host:ws-1"))
	if got := past("s-4"); !slices.Equal(got, []string{`host:ws-1 null 1 0 in 2 earlier cases found to be benign, by kim on 2026-03-01`}) {
		t.Errorf("%q", got) // nobody has said of s-3
	}
	f.reopen("s-2")
	f.end("s-3", model.FalsePositive)
	f.signals(sig("s-5", minutes(800), 50, "subject host:ws-1"))
	if got := past("s-5"); !slices.Equal(got, []string{`host:ws-1 null 0 1 in an earlier case found to be a false positive, by kim on 2026-03-01`}) {
		t.Errorf("%q", got)
	}
}
