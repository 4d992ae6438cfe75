package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/match"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/plan"
	"github.com/kelpie-sec/kelpie/core/trace"
	"github.com/kelpie-sec/kelpie/sdk"
)

func printTrace(w io.Writer, r trace.Report) {
	printTraced(w, &r)
	printThen(w, &r)
	printMatch(w, &r)
	for i := range r.Cases {
		printTracedCase(w, &r.Cases[i], r.Event.Seq > 0)
	}
	if len(r.Differs) > 0 {
		heading(w, "WHAT THIS CONFIGURATION WOULD DO ANOTHER WAY")
		for _, text := range r.Differs {
			indented(w, "  - ", text)
		}
	}
	fmt.Fprintln(w)
	indented(w, "", r.Answer)
}

// printTraced shows the event, and by which configuration it is traced.
func printTraced(w io.Writer, r *trace.Report) {
	e := &r.Event
	title := e.Source
	if e.Seq > 0 {
		title += fmt.Sprintf("  %d/%d", e.Seq, e.Index)
	}
	fmt.Fprintln(w, line(title, width))
	heading(w, "EVENT")
	field := func(name, text string) { indented(w, "  "+pad(name, 10), text) }
	if e.Seq > 0 {
		came := stamp(e.Received)
		if e.Batch > 1 {
			came += fmt.Sprintf(", number %d of the %d of its batch", e.Index+1, e.Batch)
		}
		field("received", came)
		field("id", cutText(e.ID, mostShown))
		field("revision", cutText(e.Revision, mostShown))
	}
	if !e.Time.IsZero() || e.Title != "" || e.Severity != nil || len(e.Observables) > 0 {
		field("reported", reported(e))
	}
	if e.Problem != "" {
		field("problem", cutText(e.Problem, mostShown))
	}
	payload := string(e.Raw) + string(e.Bytes) // one of them
	fmt.Fprintln(w, "  "+pad("payload", 10)+line(strings.Join(strings.Fields(payload), " "), width-12))
	if r.Note != "" {
		field("note", r.Note)
	}
	inForce := ""
	if r.InForce == r.Config {
		inForce = ", which is in force"
	}
	field("by", "configuration "+short(r.Config)+inForce)
	if r.InForce != "" && r.InForce != r.Config {
		field("in force", "configuration "+short(r.InForce))
	}
	if r.Then != "" && r.Then != r.Config && r.Then != r.InForce {
		field("then", "configuration "+short(r.Then)+", which has changed since")
	}
}

// mostShown bounds a text of an event, in bytes.
const mostShown = 400

func cutText(s string, n int) string {
	if len(s) > n {
		return strings.ToValidUTF8(s[:n], "") + "…"
	}
	return s
}

// reported is what the connector could read.
func reported(e *trace.Event) string {
	var parts []string
	if !e.Time.IsZero() {
		parts = append(parts, stamp(e.Time))
	}
	if e.Severity != nil {
		parts = append(parts, fmt.Sprintf("severity %d", *e.Severity))
	}
	if e.Title != "" {
		parts = append(parts, cutText(e.Title, mostShown))
	}
	if len(e.Observables) > 0 {
		parts = append(parts, several(e.Observables, mostValues))
	}
	return strings.Join(parts, "; ")
}

// printThen says what became of a stored event.
func printThen(w io.Writer, r *trace.Report) {
	s := r.Stored
	if s == nil {
		return
	}
	heading(w, "WHAT BECAME OF IT")
	switch {
	case s.Rejected != "":
		indented(w, "  ", "It was set aside: "+firstLine(s.Rejected))
	case !s.Decided:
		fmt.Fprintln(w, "  It waits in the log, and is not decided yet.")
	case len(s.Signals) == 0 && len(r.Facts) > 0:
		fmt.Fprintln(w, "  It only fed rules over several events.")
	case len(s.Signals) == 0:
		fmt.Fprintln(w, "  No signal came of it.")
	}
	for _, f := range r.Facts {
		if f.Stored {
			indented(w, "  ", fmt.Sprintf("%s by %s, of which it is part, in %s", f.Signal, f.Rule, inCase(f.Case)))
		}
	}
	for _, g := range s.Signals {
		indented(w, "  ", fmt.Sprintf("%s by %s, severity %d, in %s: %s", g.ID, g.Rule, g.Severity, inCase(g.Case), g.Title))
	}
}

// inCase names a case; what is experimental is in none.
func inCase(id string) string {
	if id == "" {
		return "no case, since it is experimental"
	}
	return id
}

// printMatch shows the way through the pipelines.
func printMatch(w io.Writer, r *trace.Report) {
	heading(w, "PIPELINES")
	switch {
	case r.Match.Shadow != "":
		indented(w, "  ", r.Event.Source+" is a shadow of "+r.Match.Shadow+": its events are compared, and nothing else becomes of them.")
		return
	case r.Match.Reason != "":
		indented(w, "  ", "It is set aside: "+firstLine(r.Match.Reason))
	}
	if len(r.Match.Pipelines) == 0 && r.Match.Reason == "" {
		indented(w, "  ", "None reads "+r.Event.Source+".")
	}
	for i := range r.Match.Pipelines {
		printFollowed(w, &r.Match.Pipelines[i], r)
	}
}

func printFollowed(w io.Writer, f *match.Followed, r *trace.Report) {
	indented(w, "  ", f.Pipeline)
	for i := range f.When {
		printCondition(w, "    ", "when", &f.When[i])
	}
	if f.Mapped == nil {
		return
	}
	printMapped(w, f.Mapped)
	for _, ig := range f.Ignores {
		printIgnore(w, &ig, r.Ignores)
	}
	if f.Ignored != "" {
		return
	}
	if f.Signal != "" {
		printReports(w, f.Pipeline, f.Signal, r)
	}
	for i := range f.Rules {
		rule := &f.Rules[i]
		printCondition(w, "    ", rule.Address, &rule.When)
		for j := range rule.Ignores {
			printIgnore(w, &rule.Ignores[j], r.Ignores)
		}
		if rule.Signal != "" {
			printReports(w, rule.Address, rule.Signal, r)
		}
	}
	for i := range f.Feeds {
		printFeed(w, &f.Feeds[i], r)
	}
	if f.Signal == "" && len(f.Rules)+len(f.Feeds) == 0 {
		indented(w, "    ", "It reports nothing itself, and no rule over one event reads it.")
	}
}

// printFeed shows what an event is to a rule over several.
func printFeed(w io.Writer, f *match.FollowedFeed, r *trace.Report) {
	printCondition(w, "    ", f.Rule, &f.When)
	for i := range f.Ignores {
		printIgnore(w, &f.Ignores[i], r.Ignores)
	}
	if f.Ignored != "" {
		return
	}
	if f.When.True() && f.Facts == 0 {
		indented(w, "           ", "it has no value to group or count by, and so is no fact")
		return
	}
	for _, fact := range r.Facts {
		if fact.Rule != f.Rule || !slices.Contains(fact.Terms, f.Term) {
			continue
		}
		text := "fact"
		if fact.Key != "" {
			text += " for " + fact.Key
		}
		text += fmt.Sprintf(": it needs %s, and has %s", fact.Needs, fact.Has)
		if fact.Left {
			text += ", as far as was looked"
		}
		indented(w, "           ", text)
		switch {
		case fact.Stored:
			indented(w, "    -->  ", fmt.Sprintf("part of signal %s, in %s", fact.Signal, inCase(fact.Case)))
		case fact.Signal != "":
			indented(w, "    -->  ", "part of what it reports")
		}
	}
}

// printCondition shows what a condition said: that it holds, or the parts that do not.
func printCondition(w io.Writer, indent, what string, e *expr.Explanation) {
	mark := pad(map[string]string{"true": "yes", "false": "no"}[e.Truth], 4)
	switch e.Truth {
	case "null":
		mark = "null"
	case expr.GivenUp:
		mark = "????"
	}
	text := what
	if e.Text != "" {
		text += ": " + e.Text + "  [" + e.Place + "]"
	} else if e.True() {
		text += ": always"
	}
	if e.Truth == expr.GivenUp {
		text += ": too much work, and given up"
	}
	indented(w, indent+mark+" ", text)
	for i := range e.Reasons {
		if reason := &e.Reasons[i]; len(e.Reasons) > 1 || len(reason.Reads) > 0 || reason.Text != e.Text {
			indented(w, indent+"       ", because(e, reason))
		}
	}
	if e.More {
		fmt.Fprintln(w, indent+"       and more")
	}
}

// because is a reason; where it is the whole condition, what that has read.
func because(e *expr.Explanation, r *expr.Reason) string {
	if r.Text != e.Text || len(r.Reads) == 0 {
		return trace.Reason(r)
	}
	var reads []string
	for _, v := range r.Reads {
		reads = append(reads, v.Name+" is "+v.Value)
	}
	return strings.Join(reads, ", ")
}

// printMapped shows the common fields.
func printMapped(w io.Writer, m *model.Signal) {
	at := stamp(m.Time)
	if m.Receipt {
		at += " (that of its receipt)"
	}
	text := fmt.Sprintf("%s, severity %d", at, m.Severity)
	if m.Stopped != nil {
		text += map[bool]string{true: ", stopped", false: ", not stopped"}[*m.Stopped]
	}
	if m.Title != "" {
		text += ": " + m.Title
	}
	indented(w, "    map  ", text)
	for _, role := range []sdk.Role{sdk.Subject, sdk.Indicator, sdk.NoRole} {
		var all []sdk.Observable
		for _, o := range m.Observables {
			if o.Role == role {
				all = append(all, o)
			}
		}
		if len(all) > 0 {
			name := map[sdk.Role]string{sdk.Subject: "subjects", sdk.Indicator: "indicators"}[role]
			if name == "" {
				name = "observables"
			}
			indented(w, "         ", name+" "+several(all, 2*mostValues))
		}
	}
	if len(m.Techniques) > 0 {
		indented(w, "         ", "techniques "+strings.Join(m.Techniques[:min(len(m.Techniques), 2*mostValues)], ", "))
	}
	for _, note := range m.Notes {
		indented(w, "         ", "note: "+note)
	}
}

func printIgnore(w io.Writer, f *match.FollowedIgnore, known []trace.Ignore) {
	what := f.Address
	if at := slices.IndexFunc(known, func(ig trace.Ignore) bool { return ig.Address == f.Address }); at >= 0 {
		what += fmt.Sprintf(" (%s: %s)", known[at].Owner, known[at].Reason)
	}
	printCondition(w, "    ", what, &f.When)
	switch {
	case f.Over && f.When.True():
		indented(w, "           ", "it would ignore the event, but has no effect since "+stamp(f.Expires))
	case f.Over:
		indented(w, "           ", "it has no effect since "+stamp(f.Expires))
	case f.When.True():
		indented(w, "           ", "the event is ignored here")
	}
}

func printReports(w io.Writer, rule, id string, r *trace.Report) {
	text := rule
	if r.Event.Seq > 0 {
		text += " " + id
	}
	for _, g := range r.Signals {
		if g.ID == id {
			if g.Experimental {
				text += ", experimental, so that it joins no case and reaches nobody"
			}
			text += fmt.Sprintf(", severity %d: %s", g.Severity, g.Title)
		}
	}
	indented(w, "    -->  ", "signal of "+text)
}

// printTracedCase shows a case: why the event is in it, what was asked, its score, and
// what its responses do.
func printTracedCase(w io.Writer, c *trace.Case, stored bool) {
	switch {
	case !c.Would:
		heading(w, "CASE "+c.ID)
	case stored:
		heading(w, "THE CASE THAT THIS CONFIGURATION WOULD MAKE")
	default:
		heading(w, "THE CASE THAT IT WOULD MAKE")
	}
	text := fmt.Sprintf("%s: %s", plural(c.Size, "signal"), c.Title)
	if c.Would && stored {
		text = c.ID + ", " + text
	}
	indented(w, "  ", text)
	for _, s := range c.Shared {
		why := fmt.Sprintf("%s is in %s of %s too", s.Observable.Key(), plural(s.Signals, "other signal"), joined(s.Rules[:min(len(s.Rules), mostValues)]))
		if s.Never {
			why += ", but joins nothing (never_join)"
		}
		indented(w, "  ", why)
	}
	switch {
	case c.Alone:
		indented(w, "  ", "What is stored was not looked at: it may be part of a case that there is.")
	case len(c.Shared) == 0 && c.Left == "":
		indented(w, "  ", "No other signal of it shares a value with the event.")
	}
	if c.Left != "" {
		indented(w, "  ", "But "+c.Left+".")
	}
	heading(w, "LOOKUPS")
	printTracedLookups(w, c)
	scored := c.Case
	if n := len(scored.Score.Unknown) - mostValues; n > 0 {
		scored.Score.Unknown = append(slices.Clone(scored.Score.Unknown[:mostValues]), fmt.Sprintf("and %d more", n))
	}
	printScore(w, scored)
	heading(w, "RESPONSES")
	told := map[string]bool{}
	for i := range c.Responses {
		printResponse(w, &c.Responses[i], c)
		for _, s := range c.Responses[i].Steps {
			for _, t := range s.Targets {
				told[t.Intent] = true
			}
		}
	}
	others := slices.DeleteFunc(slices.Clone(c.Intents), func(in model.Intent) bool { return told[in.ID] })
	for _, in := range others[:min(len(others), 2*mostValues)] {
		indented(w, "  "+pad(string(in.State), 8)+" ", in.Response+"."+in.Step+": "+intentText(in))
	}
	if n := len(others) - 2*mostValues; n > 0 {
		fmt.Fprintf(w, "  and %s more: \"kelpie explain %s\"\n", plural(n, "step"), c.ID)
	}
	if len(c.Responses)+len(others) == 0 {
		fmt.Fprintln(w, "  None.")
	}
}

func printTracedLookups(w io.Writer, c *trace.Case) {
	if len(c.Lookups) == 0 {
		fmt.Fprintln(w, "  Nothing is asked.")
	}
	for _, g := range answerGroups(c.Lookups) {
		state, about := string(g.state), make([]sdk.Observable, 0, len(g.about))
		for _, o := range g.about {
			about = append(about, sdk.Observable{Value: o.Value})
		}
		if c.Would && g.state == model.Pending {
			state = "to ask"
		}
		indented(w, "  "+pad(state, 8)+" ", g.enrichment+" about "+several(about, mostValues))
		for _, text := range g.texts {
			indented(w, "           ", text)
		}
	}
}

func printResponse(w io.Writer, f *plan.Followed, c *trace.Case) {
	if f.Waits != "" {
		indented(w, "  wait ", f.Response+" "+f.Waits)
		indented(w, "       ", "as things are:")
	}
	printCondition(w, "  ", f.Response, &f.When)
	if f.Off {
		indented(w, "         ", `actions are "off": nothing is planned`)
	}
	for i := range f.Steps {
		printFollowedStep(w, &f.Steps[i], c)
	}
}

func printFollowedStep(w io.Writer, s *plan.FollowedStep, c *trace.Case) {
	if s.Waits != "" {
		indented(w, "    wait ", s.Step+" waits for the result of "+s.Waits)
		return
	}
	what := fmt.Sprintf("%s (%s by %s)", s.Step, s.Verb, s.Action)
	switch {
	case s.Because != "":
		indented(w, "    yes  ", what+": "+s.Because)
	case s.Called && s.When.Text == "":
		indented(w, "    no   ", what+": nothing has it taken, and it has no condition of its own")
	default:
		printCondition(w, "    ", what, &s.When)
	}
	if s.Why != "" {
		indented(w, "           ", s.Why)
	}
	for i := range s.Targets {
		t := &s.Targets[i]
		text := t.Kind + ":" + t.Value + ": "
		switch {
		case t.Intent != "" && c.Would:
			text += "would be done"
		case t.Intent != "":
			text += string(t.State) + " (" + t.Intent + ")"
			if at := slices.IndexFunc(c.Intents, func(in model.Intent) bool { return in.ID == t.Intent }); at >= 0 && c.Intents[at].Message != "" {
				text += ": " + cutText(c.Intents[at].Message, mostShown)
			}
		case t.Protect != "":
			text += fmt.Sprintf("held back: protected by %q", t.Protect)
		case t.Held != "":
			text += "held back: " + t.Held
		default:
			text += "not planned"
		}
		if t.DryRun {
			text += ", as a dry run"
		}
		indented(w, "           ", text)
		if t.Condition != nil {
			printCondition(w, "           ", "protect "+t.Protect, t.Condition)
		}
	}
}
