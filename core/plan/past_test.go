package plan

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
)

// turned is what was planned by some settings, planned on by others.
func (p *played) turned(s Settings) *played {
	p.planner = New(s)
	return p
}

// TestWhatWasAskedAsADryRun is no silence and no approval when actions are on: nobody has
// seen it.
func TestWhatWasAskedAsADryRun(t *testing.T) {
	dry := func(s Settings) Settings {
		s.Mode = DryRun
		return s
	}
	s := settings(asking()...)
	for name, state := range map[string]model.QuestionState{"timed out": model.QuestionTimedOut, "answered": model.QuestionAnswered} {
		t.Run(name, func(t *testing.T) {
			p := play(dry(s), oneHost()).plan().want(t, "ask choice asked (open) kim@example.org", "ask kim@example.org asks")
			p.closes("ask", state, "contain", "kim").turned(s).plan().want(t, "ask: it was asked as a dry run, and is not asked now")
		})
	}
	t.Run("as a dry run it goes on", func(t *testing.T) {
		p := play(dry(s), oneHost()).plan().closes("ask", model.QuestionTimedOut, "", "").plan().want(t, "isolate ws-1")
		if !p.last.Intents[0].DryRun {
			t.Errorf("%+v", p.last.Intents)
		}
	})
	t.Run("approved since nobody refused", func(t *testing.T) {
		s := approving(func(a *Approval) { a.Otherwise = model.OptionApprove })
		p := play(dry(s), oneHost()).plan().ends("isolate", model.IntentDone).plan()
		p.closes("isolate", model.QuestionTimedOut, "", "").turned(s).plan()
		p.want(t, "isolate host:ws-1: not done: its approval was withdrawn")
	})
}

// TestAskedAnew: a case that ended and goes on asks again, once, and takes nothing from what
// was answered before.
func TestAskedAnew(t *testing.T) {
	for name, state := range map[string]model.QuestionState{
		"answered": model.QuestionAnswered, "withdrawn": model.QuestionWithdrawn, "timed out": model.QuestionTimedOut,
	} {
		t.Run(name, func(t *testing.T) {
			ask := asking()
			p := play(settings(ask[0]), oneHost()).plan().closes("ask", state, "ignore", "kim").plan().want(t)
			before := p.question("ask").ID
			p.c.Anew = p.at
			p.at = p.at.Add(time.Minute)
			p.plan().want(t, "ask choice asked (open) kim@example.org", "ask kim@example.org asks").plan().want(t)
			if q := p.question("ask"); q.ID == before || q.Round != 1 {
				t.Errorf("%+v", q)
			}
		})
	}
	t.Run("what is open stays", func(t *testing.T) {
		p := play(settings(asking()...), oneHost()).plan()
		p.c.Anew = p.at
		p.at = p.at.Add(time.Minute)
		p.plan().want(t)
	})
	t.Run("an approval", func(t *testing.T) {
		p := play(approving(nil), oneHost()).plan().ends("isolate", model.IntentDone).plan()
		p.closes("isolate", model.QuestionAnswered, "approve", "kim")
		p.c.Anew = p.at
		p.at = p.at.Add(time.Minute)
		p.plan().want(t, "isolate ws-1 preview")
	})
}

// TestOneStepAsksOnceByEachID: a step that waited for an answer and needs an approval now
// asks for that by an id of its own.
func TestOneStepAsksOnceByEachID(t *testing.T) {
	ask := tell()
	ask.Name, ask.Wait, ask.Notice = "isolate", time.Minute, true
	p := play(settings(ask), oneHost()).plan().closes("isolate", model.QuestionTimedOut, "", "")
	before := p.question("isolate").ID
	p.turned(approving(nil)).plan().ends("isolate", model.IntentDone).plan()
	if q := p.question("isolate"); q.Kind != model.QuestionApproval || q.ID == before {
		t.Errorf("%+v", q)
	}
}

// TestApprovalsAreOfWhatIsSeen: who approves is shown the dry run of each target, of however
// many there are.
func TestApprovalsAreOfWhatIsSeen(t *testing.T) {
	var hosts []any
	facts := known{}
	for n := range mostApproved + 7 {
		host := fmt.Sprintf("ws-%d", n)
		hosts, facts["host:"+host] = append(hosts, host), "workstation"
	}
	c := testCase(map[string]any{"hosts": hosts})
	c.Facts = facts
	p := play(approving(nil), c).plan()
	if n := len(p.last.Intents); n != mostApproved {
		t.Errorf("%d dry runs", n)
	}
	p.ends("isolate", model.IntentDone).plan().closes("isolate", model.QuestionAnswered, "approve", "kim")
	if n := len(p.question("isolate").Targets); n != mostApproved {
		t.Errorf("%d are to be approved together", n)
	}
	p.plan().ends("isolate", model.IntentDone).plan()
	if q := p.question("isolate"); len(q.Targets) != 7 || q.Round != 1 || !q.Open() {
		t.Errorf("%+v", q)
	}
}

// TestNoMoreAreAskedThan: the owners of what a case has may be many; who is next is asked
// all the same.
func TestNoMoreAreAskedThan(t *testing.T) {
	var assets []any
	for n := range mostAsked + 9 {
		assets = append(assets, map[string]any{"owner": fmt.Sprintf("u%d@example.org", n)})
	}
	s := settings(asking()...)
	s.Routes[0].Escalate = []Escalate{{After: time.Minute, To: program(`["lead@example.org"]`)}}
	p := play(s, testCase(map[string]any{"hosts": "ws-1", "assets": assets})).plan()
	q := p.question("ask")
	if len(q.Levels[0].To) != mostAsked || q.Levels[1].To[0] != "lead@example.org" {
		t.Errorf("%+v", q.Levels)
	}
	if all := notes(p.last); len(all) != 1 || !strings.Contains(all[0], "9 more, since no more than 50 are asked together") {
		t.Errorf("%v", all)
	}
}
