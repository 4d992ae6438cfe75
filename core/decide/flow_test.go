package decide

import (
	"fmt"
	"testing"

	"github.com/kelpie-sec/kelpie/core/model"
)

// TestAlertToActions follows one alert: asked about, scored, told and acted on.
func TestAlertToActions(t *testing.T) {
	f := newFeed(t)
	c := f.signals(sig("s-1", minutes(0), 50, "subject ip:10.1.2.3", "indicator domain:bad.example"))
	if got := fmt.Sprint(len(c.Signals), len(c.Cases), len(c.Members), len(c.Asks), len(c.Intents)); got != "1 1 1 2 0" {
		t.Fatalf("signals, cases, members, asks, intents = %s", got)
	}
	if got := c.Cases[0].Notes; len(got) != 2 || got[0].Why != "waits for the answer of enrichment.reputation about domain:bad.example and 1 more" {
		t.Fatalf("notes = %+v", got)
	}
	f.answer("enrichment.assets", "ip:10.1.2.3", func() model.Reply {
		criticality := 70
		return asset(model.Asset{Name: "ws-17", Owner: "kim@example.org", Roles: []string{"workstation"}, Criticality: &criticality})
	}())
	c = f.answer("enrichment.reputation", "domain:bad.example", verdict(90, 90))

	k := c.Cases[0]
	if k.Score.Total != 6480+1400 || k.Score.Upper != k.Score.Total || len(k.Notes) != 0 {
		t.Errorf("score %d, upper %d, notes %+v", k.Score.Total, k.Score.Upper, k.Notes)
	}
	if got := fmt.Sprint(k.Subjects); got != "[{host ws-17 subject} {ip 10.1.2.3 subject}]" {
		t.Errorf("subjects = %s", got)
	}
	if got := fmt.Sprint(f.tables.planned()); got != "[isolate ws-17 pending mail kim@example.org pending]" {
		t.Errorf("planned = %s", got)
	}
	for id, in := range f.tables.intents {
		if in.Verb == "isolate_host" {
			f.apply(model.Input{Outcome: &model.Outcome{Intent: id, State: model.IntentDone, Attempts: 1}})
		}
	}
	if got := fmt.Sprint(f.tables.planned()); got != "[hook https://hook.example pending isolate ws-17 done mail kim@example.org pending]" {
		t.Errorf("planned = %s", got)
	}
}
