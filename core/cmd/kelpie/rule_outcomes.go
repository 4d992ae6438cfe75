package main

import (
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/measure"
	"github.com/kelpie-sec/kelpie/core/store"
)

func (p program) ruleOutcomesCommand(o *options) *cobra.Command {
	var since, by string
	c := &cobra.Command{
		Use: "outcomes [NAME]", Short: "Say what became of the cases that rules have reported", Args: cobra.MaximumNArgs(1),
		Long: `Say what became of the cases that rules have reported, by rule or by author: how many, what
people found them to be ("kelpie case end"), how long that took, what machines did of it,
and what it cost.

Precision is the share of true positives among the cases that have ended, with an interval
that holds the true share 19 times of 20 (Wilson). A case of several rules counts for each.`,
		RunE: func(c *cobra.Command, args []string) error {
			q, err := timedQuery(since, args)
			if err != nil {
				return err
			}
			if by != "" {
				q.Set("by", by)
			}
			var all api.OutcomesReport
			if err := p.with(c.Context(), o, func(k *client) error { return k.get(c.Context(), "/v1/rules/outcomes", q, &all) }); err != nil {
				return err
			}
			if o.json {
				return printJSON(p.out, all)
			}
			printOutcomes(p.out, all)
			return nil
		},
	}
	sinceFlag(c, &since)
	c.Flags().StringVar(&by, "by", "rule", "add up by rule, or by author")
	return c
}

func (p program) ruleForecastCommand(o *options) *cobra.Command {
	var since string
	c := &cobra.Command{
		Use: "forecast [NAME]", Short: "Hold what rules' authors expected against what happened", Args: cobra.MaximumNArgs(1),
		Long: `Hold the forecasts of rules against what happened: signals a week, the share of cases that
were right, whether there was an attack, and what it cost.

The Brier score is the mean of the squares by which forecasts missed: 0 is perfect, 0.25
what "as likely as not" gets. Beside it stands what one would have had who knew how many
of all were right, and nothing of each.`,
		RunE: func(c *cobra.Command, args []string) error {
			q, err := timedQuery(since, args)
			if err != nil {
				return err
			}
			var all api.ForecastReport
			if err := p.with(c.Context(), o, func(k *client) error { return k.get(c.Context(), "/v1/rules/forecast", q, &all) }); err != nil {
				return err
			}
			if o.json {
				return printJSON(p.out, all)
			}
			printForecasts(p.out, all)
			return nil
		},
	}
	sinceFlag(c, &since)
	return c
}

func sinceFlag(c *cobra.Command, since *string) {
	c.Flags().StringVar(since, "since", "", "only cases that were opened since then: 30d, 2026-03-01; from the day's beginning (UTC), by default all")
}

// timedQuery asks about a time, and one rule if it is named.
func timedQuery(since string, args []string) (url.Values, error) {
	q := url.Values{}
	if since != "" {
		t, err := sinceTime(since, time.Now())
		if err != nil {
			return nil, err
		}
		q.Set("since", t.UTC().Format(time.RFC3339))
	}
	if len(args) > 0 {
		q.Set("rule", args[0])
	}
	return q, nil
}

const outcomeName = 26

func printOutcomes(w io.Writer, all api.OutcomesReport) {
	when := "ever"
	if !all.Since.IsZero() {
		when = "since " + stamp(all.Since) + " UTC"
	}
	fmt.Fprintf(w, "OUTCOMES of the cases that were opened %s\n\n", when)
	if len(all.Outcomes) == 0 {
		fmt.Fprintln(w, "No rules.")
		return
	}
	head := "RULE"
	if all.Outcomes[0].Rule == "" {
		head = "AUTHOR"
	}
	fmt.Fprintf(w, "%s  %7s  %6s  %5s  %6s  %5s  %s\n", pad(head, outcomeName), "CASES", "OPEN", "TRUE", "BENIGN", "FALSE", "PRECISION")
	for i := range all.Outcomes {
		o := &all.Outcomes[i]
		name := o.Rule
		if name == "" {
			name = o.Author
		}
		if name == "" {
			name = "nobody is named"
		}
		author := ""
		if o.Rule != "" && o.Author != "" {
			author = "by " + o.Author
		}
		printOutcome(w, name, author, &o.Outcomes)
	}
}

func printOutcome(w io.Writer, name, author string, o *measure.Outcomes) {
	fmt.Fprintf(w, "%s  %7s  %6s  %5d  %6d  %5d  %s\n", pad(line(name, outcomeName), outcomeName),
		grouped(uint64(o.Cases)), grouped(uint64(o.None)), o.TruePositive, o.Benign, o.FalsePositive, shareText(o.Precision))
	var parts []string
	add := func(when bool, format string, args ...any) {
		if when {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	add(author != "", "%s", author)
	add(true, "%s, %s of them in a case that was there; %s", counts(o.Signals, "signal"), grouped(o.Repeats), counts(o.Lookups, "lookup"))
	if o.Looked > 0 {
		add(o.Looked == store.MostEnded, "of the newest %s that have ended", grouped(uint64(o.Looked)))
		add(true, "ended after %s, 9 of 10 within %s", took(o.Decided.Median), took(o.Decided.P90))
		add(o.Chosen != nil, "answered after %s, 9 of 10 within %s", took(chosen(o).Median), took(chosen(o).P90))
		add(true, "machines alone took a step in %d of %d, nobody was asked in %d", o.Automated.Is, o.Automated.Of, o.Unasked.Is)
		add(true, "people were told %s", timesText(o.Told))
		add(o.Said > 0, "%s of people's time, as said of %s", plural(o.Minutes, "minute"), plural(o.Said, "case"))
		add(o.Loss > 0, "%s dollars lost in %s", grouped(uint64(o.Loss)), plural(o.Lost, "case"))
	}
	indented(w, "  ", strings.Join(parts, "; "))
}

func chosen(o *measure.Outcomes) measure.Times {
	if o.Chosen == nil {
		return measure.Times{}
	}
	return *o.Chosen
}

// counts is a large number of something.
func counts(n uint64, of string) string {
	if n != 1 {
		of += "s"
	}
	return grouped(n) + " " + of
}

func timesText(n int) string {
	if n == 0 {
		return "never"
	}
	return times(n)
}

// shareText is a share in percent, with its interval.
func shareText(s measure.Share) string {
	if s.Of == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f %% (%.0f-%.0f)", 100*s.Value(), 100*s.Low, 100*s.High)
}

// took is how long something took, in one unit.
func took(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	case d < 48*time.Hour:
		return fmt.Sprintf("%.0f h", d.Hours())
	}
	return fmt.Sprintf("%.0f days", d.Hours()/24)
}

func printForecasts(w io.Writer, all api.ForecastReport) {
	const minute = "2006-01-02 15:04"
	fmt.Fprintf(w, "FORECASTS against what happened, %s to %s UTC\n", all.Since.UTC().Format(minute), all.At.UTC().Format(minute))
	if len(all.Rules) == 0 {
		fmt.Fprintln(w)
		indented(w, "", "No forecasts. A rule's author writes what is expected of it in its block forecast: per_week, precision, loss, p.")
		return
	}
	for i := range all.Rules {
		printForecast(w, &all.Rules[i])
	}
	if len(all.Bins) > 0 {
		fmt.Fprintf(w, "\n%s  %9s  %9s  %6s  %s\n", pad("FORECAST WITH", 14), "MEAN", "OBSERVED", "CASES", "19 OF 20 TIMES WITHIN")
		for _, b := range all.Bins {
			fmt.Fprintf(w, "%s  %9.2f  %9.2f  %6d  %.2f to %.2f\n", pad(fmt.Sprintf("%.1f to %.1f", b.From, b.To), 14),
				b.Forecast, b.Observed.Value(), b.Observed.Of, b.Observed.Low, b.Observed.High)
		}
	}
	if len(all.Rules) == 1 {
		return
	}
	fmt.Fprintln(w)
	if all.Brier != nil {
		indented(w, "", fmt.Sprintf("All precisions: Brier score %.3f; %.3f had known the share.", *all.Brier, *all.Known))
	}
	if all.Attacks != nil {
		indented(w, "", fmt.Sprintf("Attacks, one forecast for each rule: Brier score %.3f.", *all.Attacks))
	}
}

func printForecast(w io.Writer, r *measure.Named) {
	fmt.Fprintf(w, "\n%s\n", line(r.Rule, width))
	row := func(name, text string) { indented(w, pad("  "+name, 14), text) }
	if r.Author != "" {
		row("author", r.Author)
	}
	f := r.Forecast
	switch {
	case f.PerWeek == nil:
	case r.Span < 7*24*time.Hour: // of less than a week a rate says too much
		row("per week", fmt.Sprintf("%g expected; %s so far, in %s", *f.PerWeek, counts(r.Signals, "signal"), took(r.Span)))
	default:
		row("per week", fmt.Sprintf("%g expected; %.1f in fact, from %s", *f.PerWeek, r.PerWeek, counts(r.Signals, "signal")))
	}
	switch {
	case f.Precision == nil:
	case r.Brier == nil:
		row("precision", fmt.Sprintf("%.0f %% expected; of %s nobody has said anything", 100**f.Precision, plural(r.None, "case")))
	default:
		row("precision", fmt.Sprintf("%.0f %% expected; %s in fact, %d of %d, and %d without an outcome",
			100**f.Precision, shareText(r.Observed), r.Observed.Is, r.Observed.Of, r.None))
		row("Brier score", fmt.Sprintf("%.3f; %.3f had known the share", *r.Brier, *r.Known))
	}
	if r.Likely != nil {
		happened := "there was none"
		if r.Attack {
			happened = "there was one"
		}
		row("an attack", fmt.Sprintf("%g within a year, and so %.3f in this time; %s", *f.P, *r.Likely, happened))
	}
	if r.Expected != nil {
		row("loss", fmt.Sprintf("%s dollars to be expected in this time; %s lost in fact", grouped(uint64(*r.Expected+0.5)), grouped(uint64(r.Loss))))
	}
}
