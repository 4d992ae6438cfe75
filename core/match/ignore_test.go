package match

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
)

// An ignore of one rule takes an event out of that rule alone, and is counted where no
// other reports the event.
func TestIgnoreOfARule(t *testing.T) {
	const beacon = `{"event_type":"alert","src_ip":"10.1.1.1","alert":{"severity":1,"signature":"ET Beacon"}}`
	settings := func(alerts bool, expires time.Time) *Settings {
		s := suricata(t)
		p := &s.Sources[0].Pipelines[0]
		p.Alerts = alerts
		p.Rules[0].Ignores = []Ignore{{Address: "ignore.printer", When: program(t, `event.raw.src_ip == "10.1.1.1"`, true), Expires: expires}}
		p.Rules = append(p.Rules, Rule{Address: "rule.other", When: program(t, `event.raw.src_ip == "10.1.1.2"`, false)})
		return s
	}
	later := received.Add(time.Hour)
	for name, c := range map[string]struct {
		settings *Settings
		raw      string
		signals  []string
		counts   model.Counts
	}{
		"alone":                    {settings(false, later), beacon, nil, model.Counts{Ignored: map[string]int{"ignore.printer": 1}}},
		"the pipeline reports":     {settings(true, later), beacon, []string{"pipeline.ids"}, model.Counts{Matched: 1}},
		"over":                     {settings(false, received), beacon, []string{"rule.beacon"}, model.Counts{Matched: 1}},
		"another event":            {settings(false, later), `{"event_type":"alert","src_ip":"10.1.1.3","alert":{"severity":1,"signature":"ET Beacon"}}`, []string{"rule.beacon"}, model.Counts{Matched: 1}},
		"not what the rule is for": {settings(false, later), `{"event_type":"alert","src_ip":"10.1.1.1","alert":{"severity":1,"signature":"scan"}}`, nil, model.Counts{Passed: 1}},
		"what is absent":           {settings(false, later), `{"event_type":"alert","alert":{"severity":1,"signature":"ET Beacon"}}`, []string{"rule.beacon"}, model.Counts{Matched: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			w := NewWorker(c.settings)
			res, rejected := w.Match(batch(c.raw), 1)
			var rules []string
			for _, g := range res.Signals {
				rules = append(rules, g.Rule)
			}
			if diff := cmp.Diff(c.signals, rules); diff != "" || len(rejected) > 0 {
				t.Error(diff, rejected)
			}
			if diff := cmp.Diff(c.counts, res.Counts); diff != "" {
				t.Error(diff)
			}
			traced := w.Trace(batch(c.raw), 0, 1, expr.Conditions{})
			if len(traced.Signals) != len(c.signals) {
				t.Errorf("the trace has %d signals", len(traced.Signals))
			}
			if ignored := traced.Pipelines[0].Rules[0].Ignored; (ignored != "") != (name == "alone" || name == "the pipeline reports") {
				t.Errorf("the trace says ignored by %q", ignored)
			}
		})
	}
}

// Of a rule over several an ignore takes out what would feed it.
func TestIgnoreOfARuleOverSeveral(t *testing.T) {
	s := feeds(t)
	p := &s.Sources[0].Pipelines[0]
	p.Feeds = p.Feeds[2:] // bytes, users
	p.Feeds[0].Ignores = []Ignore{{Address: "ignore.backup", When: program(t, `event.raw.user == "backup"`, true), Expires: received.AddDate(1, 0, 0)}}
	res, _ := NewWorker(s).Match(batch(`{"ok":false,"user":"backup","bytes":3}`, `{"ok":false,"user":"bob","bytes":3}`), 7)
	var got []string
	for _, f := range res.Facts {
		got = append(got, f.Rule+" "+f.Value)
	}
	if diff := cmp.Diff([]string{"rule.users backup", "rule.bytes ", "rule.users bob"}, got); diff != "" {
		t.Error(diff)
	}
	p.Feeds = p.Feeds[:1]
	res, _ = NewWorker(s).Match(batch(`{"ok":false,"user":"backup","bytes":3}`, `{"ok":false,"user":"bob","bytes":3}`), 7)
	if diff := cmp.Diff(model.Counts{Fact: 1, Ignored: map[string]int{"ignore.backup": 1}}, res.Counts); diff != "" {
		t.Error(diff)
	}
}
