package main

import (
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/store"
	"github.com/kelpie-sec/kelpie/sdk"
)

func (p program) explainCommand(o *options) *cobra.Command {
	var raw bool
	c := &cobra.Command{
		Use: "explain CASE", Short: "Say why a case is what it is: timeline, answers, score, steps", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			q := url.Values{"weighing": {""}}
			if raw {
				q.Set("raw", "")
			}
			var e api.Explanation
			err := p.with(c.Context(), o, func(k *client) error {
				return k.get(c.Context(), "/v1/cases/"+url.PathEscape(args[0]), q, &e)
			})
			if err != nil {
				return err
			}
			if o.json {
				return printJSON(p.out, e)
			}
			printExplanation(p.out, e)
			return nil
		},
	}
	c.Flags().BoolVar(&raw, "raw", false, "with --json: the signals' payloads, too")
	return c
}

func heading(w io.Writer, text string) { fmt.Fprintf(w, "\n%s\n", text) }

func printExplanation(w io.Writer, e api.Explanation) {
	c := e.Case
	fmt.Fprintf(w, "%s  %s\n", c.ID, line(c.Title, width-24))
	printObservables(w, c)
	if c.Finding != nil || c.Reopened != nil {
		heading(w, "OUTCOME")
		printFinding(w, c)
	}
	printTimeline(w, e)
	printAnswers(w, e)
	printScore(w, c)
	if e.Weighing != nil {
		printWeighing(w, &c, e.Weighing)
	}
	printQuestionsOf(w, e)
	printSteps(w, e)
}

// printTimeline lists the signals; a run of like ones is told as one.
func printTimeline(w io.Writer, e api.Explanation) {
	all := e.Signals
	heading(w, "TIMELINE (UTC)")
	for i := 0; i < len(all); {
		n := 1
		for i+n < len(all) && alike(all[i], all[i+n]) {
			n++
		}
		g := all[i]
		fmt.Fprintf(w, "  %s  %3d  %s\n", stamp(g.Time), g.Severity, line(g.Title, width-28))
		detail := g.Rule
		if n > 1 {
			detail += fmt.Sprintf(", %d times until %s", n, all[i+n-1].Time.UTC().Format(time.TimeOnly))
		}
		if g.Receipt {
			detail += "; the time is that of its receipt"
		}
		indented(w, timelineIndent, detail)
		for _, note := range g.Notes {
			indented(w, timelineIndent, "note: "+note)
		}
		if n == 1 {
			printBehind(w, g, e)
		}
		i += n
	}
}

// timelineIndent is as wide as what stands before a signal's title.
const timelineIndent = "                            "

// printBehind lists the events and signals that a rule over several has reported as one.
func printBehind(w io.Writer, g model.Signal, e api.Explanation) {
	if !g.Several() {
		return
	}
	first, last, between := api.Behind(&g)
	if g.Size > 1 {
		indented(w, timelineIndent, fmt.Sprintf("%d in all, until %s:", g.Size, stamp(g.Last)))
	}
	one := func(m model.Member) {
		fmt.Fprintf(w, "%s%s  %s\n", timelineIndent, m.Time.UTC().Format(time.TimeOnly), line(memberText(m, e), width-len(timelineIndent)-10))
	}
	for _, m := range first {
		one(m)
	}
	if between > 0 {
		fmt.Fprintf(w, "%s          and %d more\n", timelineIndent, between)
	}
	for _, m := range last {
		one(m)
	}
}

// memberText is a signal's title, or an event as it was.
func memberText(m model.Member, e api.Explanation) string {
	for _, g := range e.Signals {
		if g.ID == m.ID {
			return g.Rule + ": " + g.Title
		}
	}
	event, ok := e.Events[api.Place(m.Position)]
	switch {
	case !ok:
		return "event " + api.Place(m.Position) + ", which the log has no more"
	case event.Title != "":
		return event.Source + ": " + event.Title
	case len(event.Raw) > 0:
		return event.Source + ": " + string(event.Raw)
	}
	return event.Source + ": " + string(event.Bytes)
}

func alike(a, b model.Signal) bool {
	return !a.Several() && !b.Several() && a.Rule == b.Rule && a.Title == b.Title && a.Severity == b.Severity && slices.Equal(a.Observables, b.Observables)
}

// printAnswers lists what was asked. The same answer about several names of one thing
// is told once.
func printAnswers(w io.Writer, e api.Explanation) {
	heading(w, "ANSWERS")
	if len(e.Lookups) == 0 {
		fmt.Fprintln(w, "  Nothing was asked.")
	}
	for _, g := range answerGroups(e.Lookups) {
		age := ago(g.at, e.At)
		if g.state == model.Pending {
			age = "asked " + age
		}
		about := make([]sdk.Observable, 0, len(g.about))
		for _, o := range g.about {
			about = append(about, sdk.Observable{Value: o.Value})
		}
		indented(w, "  "+pad(string(g.state), 8)+" ", fmt.Sprintf("%s about %s (%s)", g.enrichment, several(about, mostValues), age))
		for _, text := range g.texts {
			indented(w, "           ", text)
		}
		if len(g.named) > 0 {
			indented(w, "           ", "also named "+several(g.named, mostValues))
		}
	}
}

// answerGroup is one answer of an enrichment, and all that it was given about.
type answerGroup struct {
	enrichment string
	state      model.AnswerState
	texts      []string // what was answered, a line for each thing
	about      []sdk.Observable
	named      []sdk.Observable // what else it named
	at         time.Time        // the oldest
}

func answerGroups(lookups []store.Lookup) []*answerGroup {
	var all []*answerGroup
	for _, l := range lookups {
		next := answerGroup{enrichment: l.Ask.Enrichment, state: model.Pending, at: l.Ask.AskedAt}
		if l.Reply != nil {
			next.state, next.at, next.texts = l.Reply.State, l.Reply.AnsweredAt, answerTexts(l.Reply)
		}
		i := slices.IndexFunc(all, func(g *answerGroup) bool {
			return g.enrichment == next.enrichment && g.state == next.state && slices.Equal(g.texts, next.texts)
		})
		if i < 0 {
			i, all = len(all), append(all, &next)
		}
		all[i].add(l)
	}
	for _, g := range all {
		g.named = slices.DeleteFunc(g.named, func(o sdk.Observable) bool { return slices.Contains(g.about, o) })
	}
	return all
}

func (g *answerGroup) add(l store.Lookup) {
	o := l.Ask.Observable
	o.Role = sdk.NoRole
	g.about = append(g.about, o)
	if l.Reply == nil {
		return
	}
	if l.Reply.AnsweredAt.Before(g.at) {
		g.at = l.Reply.AnsweredAt
	}
	name := func(o sdk.Observable) {
		o.Role = sdk.NoRole
		if !slices.Contains(g.named, o) {
			g.named = append(g.named, o)
		}
	}
	for _, f := range l.Reply.Found {
		name(f.Observable)
	}
	for _, o := range l.Reply.Aliases {
		name(o)
	}
}

// answerTexts says what was answered, a line for each thing.
func answerTexts(r *model.Reply) []string {
	var all []string
	if r.Reason != "" {
		all = append(all, r.Reason)
	}
	for _, a := range r.Answers {
		all = append(all, answerText(a))
	}
	return all
}

func answerText(a model.Answer) string {
	var parts []string
	add := func(name, value string) {
		if value != "" {
			parts = append(parts, name+" "+value)
		}
	}
	switch {
	case a.Verdict != nil:
		v := a.Verdict
		parts = append(parts, fmt.Sprintf("%s, score %d, confidence %d", v.Disposition, v.Score, v.Confidence))
		add("labels", strings.Join(v.Labels, " "))
	case a.Asset != nil:
		parts = append(parts, "asset "+a.Asset.Name)
		add("owner", a.Asset.Owner)
		add("team", a.Asset.Team)
		if a.Asset.Criticality != nil {
			add("criticality", fmt.Sprint(*a.Asset.Criticality))
		}
		add("roles", strings.Join(a.Asset.Roles, " "))
	case a.Identity != nil:
		parts = append(parts, "identity "+a.Identity.Name)
		add("mail", a.Identity.Mail)
		add("department", a.Identity.Department)
		if a.Identity.Privileged != nil && *a.Identity.Privileged {
			parts = append(parts, "privileged")
		}
		add("state", a.Identity.State)
	case a.Network != nil:
		n := a.Network
		parts = append(parts, "network "+n.Organisation)
		add("country", n.Country)
		add("kind", n.Kind)
	}
	return strings.Join(parts, ", ")
}

// printScore shows the sum: the shares of the factors add up to the total, and below
// each stands what it is made of.
func printScore(w io.Writer, c model.Case) {
	s := c.Score
	heading(w, "SCORE")
	for _, f := range s.Factors {
		text := fmt.Sprintf("%s: nothing", f.Name)
		if len(f.Lines) > 0 {
			text = fmt.Sprintf("%s: %s of %s is %s", f.Name, f.Combine, plural(len(f.Lines), "line"), f.Sum)
			if f.Divide > 0 {
				text += fmt.Sprintf(", divided by %d is %s", f.Divide, f.Divided)
			}
			if f.Capped != f.Sum && f.Capped != f.Divided {
				text += ", capped at " + f.Capped.String()
			}
			if f.Round > 0 {
				text += fmt.Sprintf(", to steps of %d is %s", f.Round, f.Rounded)
			}
			text += ", times " + f.Weight
		}
		indented(w, fmt.Sprintf("  %7s  ", f.Share), text)
		for _, l := range f.Lines {
			indented(w, fmt.Sprintf("  %7s    %7s  ", "", l.Counted), counted(l, c.UpdatedAt))
		}
	}
	fmt.Fprintf(w, "  %s\n  %7s  total", strings.Repeat("-", 7), s.Total)
	if s.Round > 0 {
		fmt.Fprintf(w, " of %s, to steps of %d", s.Sum, s.Round)
	}
	if s.Upper > s.Total {
		fmt.Fprintf(w, "; could be up to %s, since this is not known:", s.Upper)
	}
	fmt.Fprintln(w)
	for _, u := range s.Unknown {
		indented(w, "             ", u)
	}
}

// counted says why a line counts, what it would be worth where it counts less, and how
// old and how reliable it was when it was scored.
func counted(l model.Line, scored time.Time) string {
	var more []string
	if l.Counted != l.Points {
		more = append(more, "worth "+l.Points.String())
	}
	if l.Source != "" && !strings.Contains(l.Because, l.Source) {
		more = append(more, "by "+l.Source)
	}
	if !l.At.IsZero() {
		more = append(more, "then "+age(scored.Sub(l.At)))
	}
	if l.Reliability != nil {
		more = append(more, fmt.Sprintf("%d %% sure", *l.Reliability))
	}
	if len(more) == 0 {
		return l.Because
	}
	return fmt.Sprintf("%s (%s)", l.Because, joined(more))
}

func printSteps(w io.Writer, e api.Explanation) {
	heading(w, "WHAT WAS DONE")
	if len(e.Intents) == 0 {
		fmt.Fprintln(w, "  Nothing.")
	}
	for _, in := range e.Intents {
		indented(w, "  "+pad(string(in.State), 8)+" ", intentText(in))
		if in.Because != "" {
			indented(w, "           ", "because "+in.Because)
		}
	}
	for _, n := range e.Case.Notes {
		what := strings.TrimSuffix(n.Response+"."+n.Step, ".")
		if n.Target != "" {
			what += " for " + n.Target
		}
		indented(w, "  "+pad("not done", 8)+" ", what+": "+n.Why)
	}
}

func intentText(in model.Intent) string {
	text := fmt.Sprintf("%s to %s by %s", in.Verb, in.Target.Value, in.Action)
	if in.Undoes != "" {
		text = fmt.Sprintf("undo of %s for %s by %s", in.Verb, in.Target.Value, in.Action)
	}
	if in.DryRun {
		text += " (dry run: nothing left)"
	}
	if in.Repeat {
		text += " (sent again: the first answer was lost, so it may have come twice)"
	}
	if in.Message != "" {
		text += ": " + in.Message
	}
	if !in.FinishedAt.IsZero() {
		text += " at " + in.FinishedAt.UTC().Format(time.DateTime)
	}
	return text
}

func joined(all []string) string { return strings.Join(all, ", ") }
