package main

import (
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

func (p program) caseCommand(o *options) *cobra.Command {
	c := &cobra.Command{Use: "case", Short: "The cases"}
	c.AddCommand(p.caseListCommand(o), p.caseShowCommand(o), p.caseSignalsCommand(o), p.caseEndCommand(o), p.caseReopenCommand(o), p.caseMergeCommand(o), p.caseSplitCommand(o),
		p.caseDecisionsCommand(o), p.caseUndoCommand(o), p.caseCommonCommand(o), p.caseNeverJoinCommand(o), p.caseReportCommand(o))
	return c
}

func (p program) caseListCommand(o *options) *cobra.Command {
	var state string
	var least, limit int
	c := &cobra.Command{
		Use: "list", Short: "List the cases, highest score first", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			q := url.Values{}
			if state != "" {
				q.Set("state", state)
			}
			q.Set("min_score", strconv.Itoa(least))
			most := limit
			if !o.json && !c.Flags().Changed("limit") {
				most = screenful + 1 // to know whether there are more
			}
			q.Set("limit", strconv.Itoa(most))
			var all []api.CaseLine
			err := p.with(c.Context(), o, func(k *client) error { return k.get(c.Context(), "/v1/cases", q, &all) })
			if err != nil {
				return err
			}
			if o.json {
				return printJSON(p.out, all)
			}
			if most == limit {
				printCases(p.out, all)
				return nil
			}
			printCases(p.out, all[:min(len(all), screenful)])
			if len(all) > screenful {
				fmt.Fprintln(p.out, "There are more: \"--limit 0\" lists all.")
			}
			return nil
		},
	}
	c.Flags().StringVar(&state, "state", "", "only cases in this state: open, closed")
	c.Flags().IntVar(&least, "min-score", 0, "only cases with at least this score")
	c.Flags().IntVar(&limit, "limit", 0, "at most so many; 0: all (by default 50, with --json all)")
	return c
}

// screenful is how many cases are listed if nothing is said.
const screenful = 50

// shortID is as much of an id as a person has to type.
func shortID(id string) string {
	const digits = 8
	if len(id) > len("c-")+digits {
		return id[:len("c-")+digits]
	}
	return id
}

func printCases(w io.Writer, all []api.CaseLine) {
	if len(all) == 0 {
		fmt.Fprintln(w, "No cases.")
		return
	}
	fmt.Fprintf(w, "%6s  %-10s  %-16s  %-5s  %s\n", "SCORE", "CASE", "LAST (UTC)", "SIGS", "WHO AND WHAT")
	for _, c := range all {
		const left = 6 + 2 + 10 + 2 + 16 + 2 + 5 + 2
		fmt.Fprintf(w, "%6s  %-10s  %-16s  %-5d  %s\n", c.Score, shortID(c.ID),
			c.LastAt.UTC().Format("2006-01-02 15:04"), c.Signals, line(c.Title, width-left))
		if who := who(c, width-left); who != "" {
			fmt.Fprintf(w, "%s%s\n", pad("", left), who)
		}
	}
}

// who names the subjects, or else the indicators.
func who(c api.CaseLine, n int) string {
	if len(c.Subjects) > 0 {
		return values(c.Subjects, n)
	}
	return values(c.Indicators, n)
}

func (p program) caseShowCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "show CASE", Short: "Show one case", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var e api.Explanation
			err := p.with(c.Context(), o, func(k *client) error {
				return k.get(c.Context(), "/v1/cases/"+url.PathEscape(args[0]), nil, &e)
			})
			if err != nil {
				return err
			}
			if o.json {
				return printJSON(p.out, e.Case)
			}
			printCase(p.out, e)
			return nil
		},
	}
}

func printCase(w io.Writer, e api.Explanation) {
	c := e.Case
	fmt.Fprintf(w, "%s  %s\n", shortID(c.ID), line(c.Title, width-12))
	row := func(name, text string) {
		if text != "" {
			indented(w, pad("  "+name, 14), text)
		}
	}
	score := c.Score.Total.String()
	if c.Score.Upper > c.Score.Total {
		score += fmt.Sprintf(" (could be %s: %s)", c.Score.Upper, plural(len(c.Score.Unknown), "answer")+" missing")
	}
	row("score", score)
	row("state", string(c.State))
	printFinding(w, c)
	row("stopped", stopped(c.Stopped))
	printObservables(w, c)
	row("signals", fmt.Sprintf("%d, %s to %s UTC", len(e.Signals), stamp(c.FirstAt), stamp(c.LastAt)))
	row("reported by", joined(c.Rules))
	row("techniques", joined(c.Techniques))
	row("earlier ids", joined(c.Aliases))
	for _, why := range c.Joined {
		row("one because", why)
	}
	for _, q := range e.Questions {
		row("asked", questionLine(q, e.At))
	}
	for _, in := range e.Intents {
		row("done", intentText(in))
	}
	row("decided", stamp(c.UpdatedAt)+" UTC, "+ago(c.UpdatedAt, time.Now()))
	fmt.Fprintf(w, "\n\"kelpie explain %s\" says why.\n", shortID(c.ID))
}

// mostValues bounds what is listed of one kind in a case.
const mostValues = 10

// printObservables lists who is affected, first as detectors named them, then under
// other names, and what is evidence.
func printObservables(w io.Writer, c model.Case) {
	row := func(name string, all []sdk.Observable) {
		if len(all) > 0 {
			indented(w, pad("  "+name, 14), several(all, mostValues))
		}
	}
	reported := min(c.Reported, len(c.Subjects))
	row("affected", c.Subjects[:reported])
	row("also named", c.Subjects[reported:])
	row("indicators", c.Indicators)
}

func stopped(b *bool) string {
	switch {
	case b == nil:
		return "not known"
	case *b:
		return "yes, by the control that saw it"
	}
	return "no"
}
