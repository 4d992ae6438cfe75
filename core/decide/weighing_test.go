package decide

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kelpie-sec/kelpie/core/model"
)

// stored is the case of the machine's one signal, as its rows have it.
func (f *feed) stored(signals ...model.Signal) Stored {
	f.t.Helper()
	open := f.tables.open()
	if len(open) != 1 {
		f.t.Fatalf("%d cases", len(open))
	}
	c := Stored{Case: open[0], Signals: signals}
	for _, ask := range f.tables.asks {
		l := StoredLookup{Ask: ask}
		if reply, ok := f.tables.answers[ask.ID]; ok {
			l.Reply = &reply
		}
		c.Lookups = append(c.Lookups, l)
	}
	return c
}

// flips is a weighing as "response asked, at most: without … gives …".
func flips(d Weighing) []string {
	var all []string
	for _, c := range d.Responses {
		text := fmt.Sprintf("%s %v, at most %v", strings.TrimPrefix(c.Response, "response."), c.Asked, c.AskedAtMost)
		if c.Waits {
			text += ", waits"
		}
		for _, f := range c.Flips {
			var without []string
			for _, p := range f.Without {
				without = append(without, strings.Join(strings.Fields(p.Kind+" "+p.About+" "+p.Because), " "))
			}
			slices.Sort(without)
			text += fmt.Sprintf("; %s: %s", strings.Join(without, " + "), f.Total)
		}
		all = append(all, text)
	}
	return all
}

func (f *feed) decided(c Stored) Weighing {
	f.t.Helper()
	d, err := c.Weighing(f.m.settings)
	if err != nil || d.Why != "" {
		f.t.Fatal(d.Why, err)
	}
	return d
}

func wantTold(t *testing.T, d Weighing, want ...string) {
	t.Helper()
	got := flips(d)
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got  %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

// TestWeighing: one verdict decides, then it takes two, and while an answer is pending
// the range is known.
func TestWeighing(t *testing.T) {
	f := newFeed(t)
	s := sig("s-1", minutes(0), 10, "subject ip:10.1.2.3", "indicator domain:bad.example", "indicator domain:evil.example")
	f.signals(s)
	f.answer("enrichment.assets", "ip:10.1.2.3", workstation("ws-17"))
	f.answer("enrichment.reputation", "domain:bad.example", verdict(90, 90))
	d := f.decided(f.stored(s))
	wantTold(t, d,
		"tell true, at most true, waits; asset ip:10.1.2.3 + verdict domain:bad.example: 8.00; line reported at 10 + verdict domain:bad.example: 14.00",
		"contain true, at most true, waits; verdict domain:bad.example: 22.00")
	if steps := d.Responses[1].Steps; len(steps) != 2 || steps[0].Verb != "isolate_host" || !steps[1].Later {
		t.Errorf("steps %+v", steps)
	}

	f.answer("enrichment.reputation", "domain:evil.example", verdict(95, 95))
	f.settle()
	wantTold(t, f.decided(f.stored(s)),
		"tell true, at most true",
		"contain true, at most true; verdict domain:bad.example + verdict domain:evil.example: 22.00")
}

// TestDecisionAsItIs: what a response reads besides the score counts as well, and a case
// that can't be scored again says so.
func TestDecisionAsItIs(t *testing.T) {
	f := newFeed(t)
	s := sig("s-1", minutes(0), 30, "subject ip:10.1.2.3", "indicator domain:bad.example")
	f.signals(s)
	f.settle()
	f.m.settings.Plan.Responses[1].When = expression(`length(case.assets) == 0 && case.score.total >= 20`)
	c := f.stored(s)
	wantTold(t, f.decided(c),
		"tell true, at most true; line reported at 30: 0.00",
		"contain true, at most true; line reported at 30: 0.00")

	c.Case.Score.Total++
	if d, err := c.Weighing(f.m.settings); err != nil || !strings.Contains(d.Why, "can't be worked out again") || len(d.Responses) > 0 {
		t.Errorf("%+v, %v", d, err)
	}
	c.Case.Size = mostMembers + 1
	if d, _ := c.Weighing(f.m.settings); d.Why != "it has too many signals" {
		t.Errorf("%+v", d)
	}
}

// TestDecisionIsBounded: of very many pieces of evidence those are paired that weigh
// most.
func TestDecisionIsBounded(t *testing.T) {
	f := newFeed(t)
	var values []string
	for i := range 120 {
		values = append(values, fmt.Sprintf("indicator domain:d%03d.example", i))
	}
	s := sig("s-1", minutes(0), 10, values...)
	f.signals(s)
	for i := range 120 {
		points := 1
		if i == 40 || i == 77 {
			points = 80
		}
		f.answer("enrichment.reputation", fmt.Sprintf("domain:d%03d.example", i), verdict(points, 100))
	}
	f.settle()
	d := f.decided(f.stored(s))
	if d.Pieces != mostPieces || d.Paired != mostPaired || d.Left != 21 {
		t.Errorf("%d pieces, %d paired, %d left", d.Pieces, d.Paired, d.Left)
	}
	wantTold(t, d,
		"tell true, at most true; verdict domain:d040.example + verdict domain:d077.example: 8.00",
		"contain true, at most true; verdict domain:d040.example + verdict domain:d077.example: 8.00")
}
