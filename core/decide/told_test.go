package decide

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kelpie-sec/kelpie/core/model"
)

// TestPeopleAreNotToldAgain: of a subject that people were told of a short time ago they
// are told again only if it is worse, and after that as of what came before.
func TestPeopleAreNotToldAgain(t *testing.T) {
	for name, c := range map[string]struct {
		config   string
		after    time.Duration
		severity int
		failed   bool
		want     []string // what the second case says of telling
	}{
		"no worse":         {"base fido", 12 * time.Minute, 50, false, []string{"told of host:ws-1 12 minutes before, and it is no worse"}},
		"worse":            {"base fido", 12 * time.Minute, 60, false, []string{"tell: the score is 48 of 100; worse than what was told of host:ws-1 12 minutes before"}},
		"at the window":    {"base fido", 30 * time.Minute, 50, false, []string{"told of host:ws-1 30 minutes before, and it is no worse"}},
		"the same":         {"base fido", 31 * time.Minute, 50, false, []string{"tell: the score is 40 of 100; the same as was told of host:ws-1 31 minutes before"}},
		"again":            {"base fido", 5 * time.Hour, 50, false, []string{"tell: the score is 40 of 100; host:ws-1 was told of 5 hours before"}},
		"long ago":         {"base fido", 13 * time.Hour, 50, false, []string{"tell: the score is 40 of 100"}},
		"nobody was told":  {"base fido", 12 * time.Minute, 50, true, []string{"tell: the score is 40 of 100"}},
		"always":           {"base", 12 * time.Minute, 50, false, []string{"tell: the score is 40 of 100"}},
		"a planned as dry": {"base dry fido", 12 * time.Minute, 50, false, []string{"told of host:ws-1 12 minutes before, and it is no worse"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFeed(t)
			f.config(c.config+" blind", false)
			f.signals(sig("s-1", minutes(0), 50, "subject host:ws-1"))
			f.settle()
			for _, in := range f.tables.intents {
				if c.failed {
					f.outcome(in, model.IntentFailed)
				}
			}
			f.now = f.now.Add(c.after)
			// Two hours later by its own time: a case of its own, though of the same host.
			f.signals(sig("s-2", minutes(120), c.severity, "subject host:ws-1"))
			f.settle()
			var got []string
			for _, k := range f.tables.open() {
				if k.ID != model.CaseID("s-2") {
					continue
				}
				for _, n := range k.Notes {
					if n.Step == "mail" {
						got = append(got, n.Why)
					}
				}
			}
			for _, in := range f.tables.intents {
				if in.Case == model.CaseID("s-2") && in.Step == "mail" {
					got = append(got, in.Because)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s\n%s", diff, strings.Join(f.notes(), "\n"))
			}
		})
	}
}
