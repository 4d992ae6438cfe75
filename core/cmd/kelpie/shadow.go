package main

import (
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kelpie-sec/kelpie/core/enrich"
	"github.com/kelpie-sec/kelpie/core/shadow"
)

func (p program) shadowCommand(o *options) *cobra.Command {
	c := &cobra.Command{Use: "shadow", Short: "Compare what is tried with what counts"}
	c.AddCommand(p.shadowReportCommand(o))
	for _, sub := range c.Commands() {
		args(sub)
	}
	return c
}

func (p program) shadowReportCommand(o *options) *cobra.Command {
	var since string
	var window time.Duration
	c := &cobra.Command{
		Use: "report [NAME]", Short: "Say how shadows agree with what counts, and what they would have changed", Args: cobra.MaximumNArgs(1),
		Long: "Say how shadows agree with what counts, and what they would have changed.\n\n" +
			"NAME is a shadow, or what it is the shadow of; without it all are reported on. Two detectors'\n" +
			"events are paired if they share a subject or an indicator and are at most --window apart.",
		RunE: func(c *cobra.Command, args []string) error {
			at, err := sinceTime(since, time.Now())
			if err != nil {
				return err
			}
			q := url.Values{"since": {at.UTC().Format(time.RFC3339)}, "window": {window.String()}}
			if len(args) > 0 {
				q.Set("name", args[0])
			}
			var r shadow.Report
			err = p.with(c.Context(), o, func(k *client) error { return k.get(c.Context(), "/v1/shadow", q, &r) })
			if err != nil {
				return err
			}
			if o.json {
				return printJSON(p.out, r)
			}
			printShadows(p.out, r)
			return nil
		},
	}
	c.Flags().StringVar(&since, "since", "24h", "what was asked and reported since then: 24h, 2026-03-01, 2026-03-01T12:00:00Z")
	c.Flags().DurationVar(&window, "window", shadow.DefaultWindow, "how far apart two detectors' events may be that are about the same")
	return c
}

func printShadows(w io.Writer, r shadow.Report) {
	if len(r.Enrichments)+len(r.Detectors) == 0 {
		indented(w, "", `Nothing is a shadow. Write shadow = enrichment.NAME in the block of an enrichment that is to be compared with that one, or shadow = detector.NAME in a detector's.`)
		return
	}
	fmt.Fprintf(w, "since %s UTC\n", stamp(r.Since))
	for i := range r.Enrichments {
		printShadowEnrichment(w, &r.Enrichments[i])
	}
	for i := range r.Detectors {
		printShadowDetector(w, &r.Detectors[i])
	}
}

// printShadowTitle heads the report on one shadow.
func printShadowTitle(w io.Writer, name, first string) {
	fmt.Fprintln(w)
	fmt.Fprintln(w, strings.Repeat("-", width))
	indented(w, "", name+", the shadow of "+first)
}

func printShadowEnrichment(w io.Writer, e *shadow.Enrichment) {
	printShadowTitle(w, e.Shadow, e.First)
	if e.Begin.IsZero() {
		fmt.Fprintln(w, "\nNothing was asked.")
	} else {
		printQuestions(w, e)
		printSides(w, e)
	}
	printAgreement(w, e)
	printFields(w, e.Fields)
	printDisagreements(w, e.Disagreements)
	printShadowCases(w, e.Cases)
}

func printQuestions(w io.Writer, e *shadow.Enrichment) {
	heading(w, "QUESTIONS, from the hour of "+hour(e.Begin)+" UTC on")
	row := func(n uint64, text string) {
		if n > 0 {
			indented(w, fmt.Sprintf("  %11s  ", grouped(n)), text)
		}
	}
	word := "questions"
	if e.Questions == 1 {
		word = "question"
	}
	row(e.Questions, word+" to "+e.First)
	row(e.Asked, "of them to the shadow too")
	row(e.NotAsked.Kind, "not: it does not take that kind of observable")
	row(e.NotAsked.Own, "not: it must not be told the organisation's own names")
	row(e.NotAsked.Room, "not: too many questions waited for it")
	row(e.Unkept, "answers were not written down, since there was no room; they are in no count below")
}

// printSides sets the two beside each other.
func printSides(w io.Writer, e *shadow.Enrichment) {
	first, other := &e.Sides.First, &e.Sides.Shadow
	fmt.Fprintf(w, "\n  %-26s %14s %14s\n", "", "first", "shadow")
	row := func(name, a, b string) {
		if a != "-" || b != "-" {
			fmt.Fprintf(w, "  %-26s %14s %14s\n", name, a, b)
		}
	}
	number := func(name string, a, b uint64) { row(name, grouped(a), grouped(b)) }
	number("answered by its cache", first.Cached, other.Cached)
	number("calls", first.Calls, other.Calls)
	number("observables in these", first.Asked, other.Asked)
	number("failed, or came too late", first.Failed, other.Failed)
	row("half of the calls within", within(first.P50), within(other.P50))
	row("99 of 100 within", within(first.P99), within(other.P99))
	row("left of this minute", room(first.Minute), room(other.Minute))
	row("left of this day", room(first.Day), room(other.Day))
}

func within(seconds float64) string {
	if seconds == 0 {
		return "-"
	}
	return brief(seconds)
}

func room(r enrich.Room) string {
	if r.Limit == 0 {
		return "-"
	}
	return fmt.Sprintf("%d of %d", r.Left, r.Limit)
}

// percent of a whole, which is not 0.
func percent(n, whole int) string { return fmt.Sprintf("%.1f %%", 100*float64(n)/float64(whole)) }

func printAgreement(w io.Writer, e *shadow.Enrichment) {
	heading(w, "AGREEMENT")
	if both := e.Observables - e.Failed; both > 0 {
		indented(w, "  ", fmt.Sprintf("Of %s that both answered about they say the same of %s (%s).", plural(both, "observable"), grouped(uint64(e.Same)), percent(e.Same, both)))
	} else {
		fmt.Fprintln(w, "  There is no observable yet that both answered about.")
	}
	if e.Failed > 0 {
		indented(w, "  ", fmt.Sprintf("Of %s more at least one of them failed.", plural(e.Failed, "observable")))
	}
	if e.Waiting > 0 {
		indented(w, "  ", fmt.Sprintf("About %s the shadow has not said anything.", plural(e.Waiting, "observable")))
	}
	if e.Limited {
		indented(w, "  ", "There were more; these are the latest.")
	}
	printWords(w, e.Words)
	for _, f := range e.Failures {
		indented(w, fmt.Sprintf("  %11s  ", grouped(uint64(f.Count))), "the shadow failed: "+f.Reason)
	}
}

// printWords is a table: what the first said by rows, what the shadow said by columns.
func printWords(w io.Writer, all []shadow.Words) {
	if len(all) == 0 {
		return
	}
	counts := map[[2]string]int{}
	var rows, cols []string
	for _, x := range all {
		counts[[2]string{x.First, x.Shadow}] = x.Count
	}
	for _, word := range shadow.AllWords {
		if slices.ContainsFunc(all, func(x shadow.Words) bool { return x.First == word }) {
			rows = append(rows, word)
		}
		if slices.ContainsFunc(all, func(x shadow.Words) bool { return x.Shadow == word }) {
			cols = append(cols, word)
		}
	}
	widths := make([]int, len(cols))
	for i, col := range cols {
		widths[i] = len(col)
		for _, row := range rows {
			widths[i] = max(widths[i], len(fmt.Sprint(counts[[2]string{row, col}])))
		}
	}
	fmt.Fprintf(w, "\n  %-12s", "first/shadow")
	for i, col := range cols {
		fmt.Fprintf(w, "  %*s", widths[i], col)
	}
	fmt.Fprintln(w)
	for _, row := range rows {
		fmt.Fprintf(w, "  %-12s", row)
		for i, col := range cols {
			text := "."
			if n := counts[[2]string{row, col}]; n > 0 {
				text = fmt.Sprint(n)
			}
			fmt.Fprintf(w, "  %*s", widths[i], text)
		}
		fmt.Fprintln(w)
	}
}

func printFields(w io.Writer, all []shadow.Field) {
	if len(all) == 0 {
		return
	}
	fmt.Fprintf(w, "\n  %-26s %9s %9s %12s %12s\n", "field", "the same", "differs", "only first", "only shadow")
	for _, f := range all {
		fmt.Fprintf(w, "  %-26s %9d %9d %12d %12d\n", line(f.Name, 26), f.Same, f.Differ, f.OnlyFirst, f.OnlyShadow)
	}
}

func printDisagreements(w io.Writer, all []shadow.Disagreement) {
	if len(all) == 0 {
		return
	}
	heading(w, "DISAGREEMENTS, the most telling first")
	for i := range all {
		d := &all[i]
		fmt.Fprintf(w, "  %s %s\n", d.Observable.Kind, line(d.Observable.Value, width-20))
		indented(w, "      first   ", saidText(&d.First))
		indented(w, "      shadow  ", saidText(&d.Shadow))
		if len(d.Fields) > 0 {
			indented(w, "      differ  ", joined(d.Fields))
		}
	}
}

// saidText is what a source said, cut to what a person looks at.
func saidText(s *enrich.Said) string {
	var parts []string
	for i := range s.Answers {
		parts = append(parts, line(answerText(s.Answers[i]), 3*width))
		if i == 2 && len(s.Answers) > 3 {
			parts = append(parts, fmt.Sprintf("and %d more", len(s.Answers)-3))
			break
		}
	}
	switch {
	case s.Cut:
		return string(s.State) + ", by an answer that was too large to be kept"
	case len(parts) == 0:
		return string(s.State)
	}
	return strings.Join(parts, "; ")
}

func printShadowCases(w io.Writer, c shadow.Cases) {
	heading(w, "SCORES, had the shadow counted instead")
	if c.Had == 0 {
		fmt.Fprintln(w, "  No case had an answer of the first.")
		return
	}
	text := fmt.Sprintf("%s had an answer of the first. ", plural(c.Had, "case"))
	if c.Computed > 0 {
		text += fmt.Sprintf("Of the %s that could be scored again %s the same score, and %s by more than %s points.",
			grouped(uint64(c.Computed)), verb(c.Same, "has", "have"), verb(c.Moved, "moves", "move"), c.MovedBy)
	} else {
		text += "None could be scored again."
	}
	indented(w, "  ", text)
	if c.Limited > 0 {
		indented(w, "  ", fmt.Sprintf("Only the newest %d cases were looked at.", c.Limited))
	}
	for _, r := range c.NotComputed {
		indented(w, fmt.Sprintf("  %11s  ", grouped(uint64(r.Count))), "not scored again: "+r.Why)
	}
	for _, t := range c.Responses {
		var parts []string
		if t.More > 0 {
			parts = append(parts, plural(t.More, "case")+" more")
		}
		if t.Fewer > 0 {
			parts = append(parts, plural(t.Fewer, "case")+" fewer")
		}
		indented(w, "  ", fmt.Sprintf("The condition of %s would have held for %s.", t.Response, strings.Join(parts, " and ")))
	}
	if len(c.Furthest) > 0 {
		fmt.Fprintf(w, "\n  %-10s  %6s  %6s\n", "case", "score", "shadow")
	}
	for _, m := range c.Furthest {
		fmt.Fprintf(w, "  %-10s  %6s  %6s  %s\n", m.Case[:min(len(m.Case), 10)], m.Score, m.Shadow, line(m.Title, width-30))
	}
}

func verb(n int, one, many string) string {
	switch n {
	case 0:
		return "none " + one
	case 1:
		return "1 " + one
	}
	return fmt.Sprintf("%s %s", grouped(uint64(n)), many)
}

func printShadowDetector(w io.Writer, d *shadow.Detector) {
	printShadowTitle(w, d.Shadow, d.First)
	first, other := &d.Sides.First, &d.Sides.Shadow
	fmt.Fprintf(w, "\n  %-34s %12s %12s\n", "EVENTS", "first", "shadow")
	row := func(name string, a, b int, always bool) {
		if a+b > 0 || always {
			fmt.Fprintf(w, "  %-34s %12s %12s\n", name, grouped(uint64(a)), grouped(uint64(b)))
		}
	}
	row("reported", first.Read, other.Read, true)
	row("that the other has too", first.Both, other.Both, true)
	row("that only it has", first.Only, other.Only, true)
	row("let through by no pipeline", first.Held, other.Held, false)
	row("with nothing to compare by", first.Nameless, other.Nameless, false)
	row("that can't be read", first.Unreadable, other.Unreadable, false)
	fmt.Fprintln(w)
	if first.Limited {
		indented(w, "  ", "Of "+d.First+" there are more; these are the latest.")
	}
	if other.Limited {
		indented(w, "  ", "Of "+d.Shadow+" there are more; these are the latest.")
	}
	indented(w, "  ", fmt.Sprintf("The same is what shares a subject or an indicator, at most %s apart.", windowText(d.Window)))
	if other.Read > 0 && other.Nameless == other.Read {
		indented(w, "  ", "Its connector names no subject and no indicator, so that there is nothing to compare by.")
	}
	if first.Both > 0 {
		indented(w, "  ", fmt.Sprintf("Of these the shadow's came %s in the middle, and %s at the most of 99 of 100; before the first's came %s.",
			lagText(d.Lag.P50), lagText(d.Lag.P99), grouped(uint64(d.Lag.Sooner))))
	}
	printTitles(w, "ONLY "+d.First, first.OnlyTitles)
	printTitles(w, "ONLY "+d.Shadow, other.OnlyTitles)
	printTitles(w, "BOTH, by "+d.First, first.BothTitles)
}

// windowText is a duration in its largest units.
func windowText(seconds float64) string {
	text := time.Duration(seconds * float64(time.Second)).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func lagText(seconds float64) string {
	switch {
	case seconds < 0:
		return brief(-seconds) + " sooner"
	case seconds < 0.001:
		return "at the same time"
	}
	return brief(seconds) + " later"
}

func printTitles(w io.Writer, what string, all []shadow.Title) {
	if len(all) == 0 {
		return
	}
	fmt.Fprintln(w)
	indented(w, "", what+": severity, how many, the latest (UTC)")
	for _, t := range all {
		fmt.Fprintf(w, "  %3d %6d  %s  %s\n", t.Severity, t.Count, stamp(t.Time), line(t.Title, width-35))
		fmt.Fprintf(w, "  %31s  %s\n", "", line(t.Value.Kind+" "+t.Value.Value, width-35))
	}
}
