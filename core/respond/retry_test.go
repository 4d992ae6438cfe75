package respond

import (
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
)

// TestRetry: how a step is tried again is as its settings say, by what has failed.
func TestRetry(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	settings := Settings{
		Actions: map[string]Action{"action.edr": {}},
		Retries: map[string]Retry{
			"response.r.once":        {On: nil, Times: 5, First: time.Second, Most: time.Minute},
			"response.r.unavailable": {On: []string{KindUnavailable}, Times: 3, First: 5 * time.Second, Most: 7 * time.Second},
		},
	}
	r := &Responder{Settings: settings, Now: func() time.Time { return now }}
	failed, unavailable := Result{State: model.IntentFailed}, Result{State: model.IntentFailed, Unavailable: true}
	for name, c := range map[string]struct {
		in     model.Intent
		result Result
		want   []time.Duration // pauses; as many as there are further tries
		most   int             // tries that are looked at
	}{
		"not at all":           {model.Intent{Step: "once"}, failed, nil, 5},
		"nor what was not":     {model.Intent{Step: "once"}, unavailable, nil, 5},
		"only what could not":  {model.Intent{Step: "unavailable"}, failed, nil, 5},
		"be called":            {model.Intent{Step: "unavailable"}, unavailable, []time.Duration{5 * time.Second, 7 * time.Second}, 5},
		"as ever":              {model.Intent{Step: "other"}, failed, []time.Duration{time.Second, 2 * time.Second, 4 * time.Second}, 3},
		"an undo, as ever":     {model.Intent{Step: "once", Undoes: "i-1"}, failed, []time.Duration{time.Second, 2 * time.Second}, 2},
		"a dry run to approve": {model.Intent{Step: "other", Preview: true}, failed, []time.Duration{time.Second, 2 * time.Second}, 5},
		"the vendor's wish": {
			model.Intent{Step: "unavailable"},
			Result{State: model.IntentFailed, Unavailable: true, RetryAfter: time.Minute},
			[]time.Duration{time.Minute, time.Minute},
			5,
		},
	} {
		t.Run(name, func(t *testing.T) {
			c.in.ID, c.in.Action, c.in.Response, c.in.Verb = "i-2", "action.edr", "response.r", "isolate_host"
			var attempts []Attempt
			var pauses []time.Duration
			for n := 1; n <= c.most; n++ {
				attempts = append(attempts, r.learnt(c.in, Attempt{Intent: "i-2", Number: n}, c.result))
				todo := settings.next(c.in, attempts)
				if todo.what == report {
					if todo.outcome.State != model.IntentFailed || todo.outcome.Attempts != n {
						t.Errorf("reported %+v", todo.outcome)
					}
					break
				}
				pauses = append(pauses, todo.at.Sub(now))
			}
			if len(pauses) != len(c.want) {
				t.Fatalf("pauses %v, want %v", pauses, c.want)
			}
			for i := range pauses {
				if pauses[i] != c.want[i] {
					t.Errorf("pauses %v, want %v", pauses, c.want)
				}
			}
		})
	}
	uncalled := []Attempt{{Number: 1, State: model.IntentFailed, Uncalled: true}}
	if todo := settings.next(model.Intent{Action: "action.edr", Response: "response.r", Step: "once"}, uncalled); todo.what != try {
		t.Error("what was claimed and not called is not called again")
	}
}
