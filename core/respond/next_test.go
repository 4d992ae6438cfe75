package respond

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/kelpie-sec/kelpie/core/model"
)

func TestNext(t *testing.T) {
	later := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	a := func(states ...model.IntentState) []Attempt {
		var all []Attempt
		for i, s := range states {
			all = append(all, Attempt{Intent: "i", Number: i + 1, State: s, Message: "m"})
		}
		return all
	}
	const lost, cut = model.IntentUnknown, model.IntentState("")
	ended := func(s model.IntentState, attempts int) todo {
		return todo{what: report, outcome: model.Outcome{Intent: "i", State: s, Attempts: attempts, Message: "m"}}
	}
	repeated := func(d todo) todo { d.outcome.Repeat = true; return d }
	again := func(d todo) todo { d.at = later; return d }
	with := func(all []Attempt, change func(*Attempt)) []Attempt {
		change(&all[len(all)-1])
		return all
	}
	for name, c := range map[string]struct {
		verb     string
		attempts []Attempt
		change   func(*model.Intent)
		want     todo
	}{
		"new":                            {verb: "plain", want: todo{what: try}},
		"done":                           {verb: "plain", attempts: a(model.IntentDone), want: ended(model.IntentDone, 1)},
		"already":                        {verb: "plain", attempts: a(model.IntentAlready), want: ended(model.IntentAlready, 1)},
		"refused":                        {verb: "plain", attempts: a(model.IntentRefused), want: ended(model.IntentRefused, 1)},
		"failed, once":                   {verb: "plain", attempts: with(a(model.IntentFailed), func(a *Attempt) { a.Again = later }), want: again(todo{what: try})},
		"failed, to the bound":           {verb: "plain", attempts: a(model.IntentFailed, model.IntentFailed, model.IntentFailed, model.IntentFailed, model.IntentFailed), want: ended(model.IntentFailed, 5)},
		"lost":                           {verb: "plain", attempts: a(lost), want: ended(model.IntentUnknown, 1)},
		"cut off":                        {verb: "plain", attempts: a(cut), want: ended(model.IntentUnknown, 1)},
		"lost, and it can tell":          {verb: "checked", attempts: with(a(lost), func(a *Attempt) { a.Again = later }), want: again(todo{what: check})},
		"cut off, and it can tell":       {verb: "checked", attempts: a(cut), want: todo{what: check}},
		"it could not tell":              {verb: "checked", attempts: with(a(lost), func(a *Attempt) { a.Checks = MaxChecks }), want: ended(model.IntentUnknown, 1)},
		"lost, one key once":             {verb: "idempotent", attempts: a(lost, cut), want: todo{what: try}},
		"lost, one key once, another's":  {verb: "idempotent", attempts: with(a(lost), func(a *Attempt) { a.Maker.Instance = "another" }), want: ended(model.IntentUnknown, 1)},
		"another's, and it can tell":     {verb: "both", attempts: with(a(lost), func(a *Attempt) { a.Maker.Instance = "another" }), want: todo{what: check}},
		"lost, one key once, too often":  {verb: "idempotent", attempts: a(lost, lost, lost), want: ended(model.IntentUnknown, 3)},
		"lost, one key once, can tell":   {verb: "both", attempts: a(lost), want: todo{what: check}},
		"could not tell, one key once":   {verb: "both", attempts: with(a(lost), func(a *Attempt) { a.Checks = MaxChecks }), want: todo{what: try}},
		"too often, but it can tell":     {verb: "both", attempts: a(lost, lost, lost), want: todo{what: check}},
		"notify lost":                    {verb: Notify, attempts: a(cut), want: todo{what: try}},
		"notify lost, then done":         {verb: Notify, attempts: a(lost, model.IntentDone), want: repeated(ended(model.IntentDone, 2))},
		"notify failed, then done":       {verb: Notify, attempts: a(model.IntentFailed, model.IntentDone), want: ended(model.IntentDone, 2)},
		"notify lost too often":          {verb: Notify, attempts: a(lost, lost, lost), want: repeated(ended(model.IntentUnknown, 3))},
		"dry run lost":                   {verb: "plain", change: func(in *model.Intent) { in.DryRun = true }, attempts: a(lost), want: todo{what: try}},
		"dry run lost too often":         {verb: "checked", change: func(in *model.Intent) { in.DryRun = true }, attempts: a(lost, cut, lost), want: ended(model.IntentFailed, 3)},
		"an action that is gone":         {verb: "plain", change: gone, want: todo{what: report, outcome: model.Outcome{Intent: "i", State: model.IntentFailed, Message: "action.gone is not configured any more; nothing was done"}}},
		"an action that is gone, lost":   {verb: "idempotent", change: gone, attempts: a(lost), want: ended(model.IntentUnknown, 1)},
		"an action that is gone, failed": {verb: "idempotent", change: gone, attempts: a(model.IntentFailed), want: ended(model.IntentFailed, 1)},
	} {
		t.Run(name, func(t *testing.T) {
			in := intent("i", c.verb)
			if c.change != nil {
				c.change(&in)
			}
			s := Settings{Actions: testActions, MaxAttempts: 5}
			got := s.next(in, c.attempts)
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(todo{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func gone(in *model.Intent) { in.Action = "action.gone" }

func TestCutOffIsExplained(t *testing.T) {
	s := Settings{Actions: testActions}
	got := s.next(intent("i", "plain"), []Attempt{{Intent: "i", Number: 1}})
	if want := "attempt 1 has no answer, and nothing tells what became of it"; got.outcome.Message != want {
		t.Errorf("message %q, want %q", got.outcome.Message, want)
	}
}

func TestBackoff(t *testing.T) {
	want := []time.Duration{1, 2, 4, 8, 16, 32, 60, 60}
	for i, w := range want {
		if got := backoff(i + 1); got != w*time.Second {
			t.Errorf("backoff(%d) = %v, want %v", i+1, got, w*time.Second)
		}
	}
	if got := backoff(1 << 20); got != lastRetry {
		t.Errorf("backoff of many = %v", got)
	}
}
