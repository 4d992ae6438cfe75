package trace

import (
	"fmt"
	"strings"

	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/match"
	"github.com/kelpie-sec/kelpie/core/plan"
)

// maxAnswer bounds the sentence, in bytes.
const maxAnswer = 2000

// answer is one sentence: did it fire, and if not, why. Where what happened is not what
// the configuration would make of it, it says both.
func answer(r *Report) string {
	text := now(r)
	if s := r.Stored; s != nil && s.Decided {
		had, has := len(s.Signals) > 0, len(r.Signals) > 0
		text = strings.TrimPrefix(text, "did not fire: ")
		switch {
		case had && !has:
			text = "fired: " + rules(s.Signals) + "; by this configuration it would not: " + text
		case had && rules(s.Signals) != rules(r.Signals):
			text = "fired: " + rules(s.Signals) + "; by this configuration it would be " + strings.TrimPrefix(text, "fired: ")
		case had, len(r.Facts) > 0:
			text = now(r)
		case has && s.Rejected != "":
			text = "did not fire: it was set aside; by this configuration it would be " + strings.TrimPrefix(text, "fired: ")
		case has:
			text = "did not fire; by this configuration it would be " + strings.TrimPrefix(text, "fired: ")
		default:
			text = "did not fire: " + text
		}
	}
	if len(text) > maxAnswer {
		text = strings.ToValidUTF8(text[:maxAnswer], "") + "…"
	}
	return text
}

// now says what the configuration makes of the event.
func now(r *Report) string {
	m := &r.Match
	switch {
	case m.Reason != "":
		first, _, _ := strings.Cut(m.Reason, "\n")
		return "did not fire: it is set aside: " + first
	case m.Shadow != "":
		return fmt.Sprintf("did not fire: %s is a shadow, and only compared with %s", r.Event.Source, m.Shadow)
	case len(r.Signals) > 0:
		return "fired: " + rules(r.Signals) + responded(r)
	case len(r.Facts) > 0:
		return several(r)
	case len(m.Pipelines) == 0:
		return "did not fire: no pipeline reads " + r.Event.Source
	}
	best := &m.Pipelines[0]
	for i := range m.Pipelines {
		if f := &m.Pipelines[i]; progress(f) > progress(best) {
			best = f
		}
	}
	return "did not fire: " + stopped(best)
}

func rules(signals []Signal) string {
	var all []string
	for _, g := range signals {
		all = append(all, g.Rule)
	}
	return strings.Join(all, ", ")
}

// several says what an event is to the rules over several that it feeds.
func several(r *Report) string {
	var fired, not []string
	for i := range r.Facts {
		f := &r.Facts[i]
		of := f.Rule
		if f.Key != "" {
			of += " for " + f.Key
		}
		if f.Signal != "" {
			fired = append(fired, of)
			continue
		}
		not = append(not, fmt.Sprintf("%s needs %s, and has %s", of, f.Needs, f.Has))
	}
	if len(fired) > 0 {
		return "fired, with others: " + strings.Join(fired, ", ") + responded(r)
	}
	return "did not fire: it only feeds rules over several: " + strings.Join(not, "; ")
}

// progress is how far an event came in a pipeline that reports nothing of it.
func progress(f *match.Followed) int {
	switch {
	case !f.Through:
		return 0
	case f.Ignored != "":
		return 1
	case len(f.Rules)+len(f.Feeds) == 0:
		return 2
	}
	return 3
}

// stopped says what held an event up in a pipeline.
func stopped(f *match.Followed) string {
	switch {
	case !f.Through && len(f.When) > 0:
		return condition(f.Pipeline+"'s when", &f.When[len(f.When)-1])
	case f.Ignored != "":
		return f.Ignored + " takes it out of " + f.Pipeline
	case len(f.Rules) == 0 && len(f.Feeds) > 0:
		if feed := &f.Feeds[0]; !feed.When.True() {
			return condition(feed.Rule+"'s when", &feed.When)
		} else if feed.Ignored != "" {
			return feed.Ignored + " takes it out of " + feed.Rule
		}
		return f.Feeds[0].Rule + " takes it, but it has no value to group or count by"
	case len(f.Rules) == 0:
		return f.Pipeline + " lets it through, reports nothing itself, and no rule reads it"
	}
	text := condition(f.Rules[0].Address+"'s when", &f.Rules[0].When)
	if first := &f.Rules[0]; first.Ignored != "" {
		text = first.Ignored + " takes it out of " + first.Address
	}
	if n := len(f.Rules) - 1; n > 0 {
		text += fmt.Sprintf("; nor did %d other rule%s of %s", n, map[bool]string{true: "s"}[n > 1], f.Pipeline)
	}
	return text
}

// condition is what the first part of a condition said that is not true.
func condition(of string, e *expr.Explanation) string {
	switch {
	case e.Truth == expr.GivenUp:
		return of + " would take too much work, and was given up"
	case len(e.Reasons) == 0:
		return of + " is " + e.Truth
	}
	first := &e.Reasons[0]
	return of + ": " + Reason(first)
}

// Reason is a part of a condition with what it said and read, on one line.
func Reason(r *expr.Reason) string {
	text := r.Text + " is " + r.Truth
	for i, read := range r.Reads {
		switch {
		case read.Name == r.Text:
			continue // which says it already
		case i == 0 || !strings.Contains(text, ": "):
			text += ": "
		default:
			text += ", "
		}
		text += read.Name + " is " + read.Value
	}
	return text
}

// responded says what came of the case of an event that has fired.
func responded(r *Report) string {
	if len(r.Cases) == 0 {
		return ""
	}
	c := &r.Cases[len(r.Cases)-1] // those that would be come last
	text := fmt.Sprintf("; case %s, score %s", c.ID, c.Score.Total)
	if r.Event.Seq == 0 { // and so its ids are made up
		text = fmt.Sprintf("; its case would have the score %s", c.Score.Total)
	}
	for i := range c.Responses {
		f := &c.Responses[i]
		switch {
		case f.Waits != "":
			text += "; " + f.Response + " " + f.Waits
		case f.Off:
			text += `; nothing is planned, for actions are "off"`
		case !f.When.True():
			text += "; " + condition(f.Response+"'s when", &f.When)
		default:
			text += "; " + f.Response + ": " + steps(f, c.Would)
		}
	}
	return text
}

// steps says what the steps of a response came to.
func steps(f *plan.Followed, would bool) string {
	var all []string
	for i := range f.Steps {
		s := &f.Steps[i]
		switch {
		case s.Waits != "":
			all = append(all, s.Step+" waits for "+s.Waits)
		case s.Untaken && s.Why != "":
			all = append(all, s.Step+" is "+s.Why)
		case s.Untaken && s.Called && s.When.Text == "":
			all = append(all, s.Step+" is not called for")
		case s.Untaken:
			all = append(all, condition(s.Step+"'s when", &s.When))
		case len(s.Targets) == 0 && s.Why != "":
			all = append(all, s.Step+": "+s.Why)
		}
		for j := range s.Targets {
			t := &s.Targets[j]
			switch {
			case t.Intent != "" && would:
				all = append(all, fmt.Sprintf("%s for %s would be done", s.Step, t.Value))
			case t.Intent != "":
				all = append(all, fmt.Sprintf("%s for %s is %s", s.Step, t.Value, t.State))
			case t.Protect != "":
				all = append(all, fmt.Sprintf("%s for %s is held back: protected by %q", s.Step, t.Value, t.Protect))
			case t.Held != "":
				all = append(all, fmt.Sprintf("%s for %s is held back: %s", s.Step, t.Value, t.Held))
			}
		}
	}
	if len(all) == 0 {
		return "no steps"
	}
	return strings.Join(all, ", ")
}
