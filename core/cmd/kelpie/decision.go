package main

import (
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

func (p program) caseSignalsCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "signals CASE", Short: "List a case's signals with their ids, as \"case split\" takes them", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var e api.Explanation
			err := p.with(c.Context(), o, func(k *client) error {
				return k.get(c.Context(), "/v1/cases/"+url.PathEscape(args[0]), nil, &e)
			})
			if err != nil {
				return err
			}
			if o.json {
				return printJSON(p.out, e.Signals)
			}
			for _, g := range e.Signals {
				first := fmt.Sprintf("%s  %s  %3d  ", g.ID, stamp(g.Time), g.Severity)
				fmt.Fprintln(p.out, first+line(g.Title, width-columns(first)))
				if len(g.Observables) > 0 {
					fmt.Fprintln(p.out, pad("", columns(g.ID)+2)+values(g.Observables, width-columns(g.ID)-2))
				}
			}
			return nil
		},
	}
}

// caseOrder is a command that gives an order about cases.
func (p program) caseOrder(o *options, c *cobra.Command, fill func(order *api.CaseOrder, args []string) (path string, err error)) *cobra.Command {
	given := api.Order{}
	c.RunE = func(c *cobra.Command, args []string) error {
		if strings.TrimSpace(given.Because) == "" {
			return usage("say why, with --because: whoever looks at this later needs it")
		}
		if err := name(&given); err != nil {
			return err
		}
		order := api.CaseOrder{By: given.By, Because: given.Because}
		path, err := fill(&order, args)
		if err != nil {
			return err
		}
		var d api.CaseDecision
		if err := p.with(c.Context(), o, func(k *client) error { return k.post(c.Context(), path, order, &d) }); err != nil {
			return err
		}
		if o.json {
			return printJSON(p.out, d)
		}
		if strings.HasSuffix(path, "/undo") {
			fmt.Fprintln(p.out, "Taken back:")
		}
		printDecisions(p.out, []model.Decision{d.Decision})
		if len(d.Now) > 0 {
			fmt.Fprintln(p.out)
			printCases(p.out, d.Now)
		}
		return nil
	}
	orderFlags(c, &given)
	return c
}

func (p program) caseMergeCommand(o *options) *cobra.Command {
	return p.caseOrder(o, &cobra.Command{
		Use: "merge CASE CASE… --because TEXT", Short: "Make one case of several, however their signals differ",
		Long: `Make one case of several, however far apart their signals are and whatever they share.

The case has the id of its earliest signal; the other ids go on to mean it. No step that
was taken for one of them is taken again. "kelpie case undo" takes it back.`,
		Args: cobra.MinimumNArgs(2),
	}, func(order *api.CaseOrder, args []string) (string, error) {
		order.Cases = args
		return "/v1/cases/merge", nil
	})
}

func (p program) caseSplitCommand(o *options) *cobra.Command {
	return p.caseOrder(o, &cobra.Command{
		Use: "split CASE SIGNAL… --because TEXT", Short: "Take signals out of a case, into one of their own",
		Long: `Take signals out of a case, into one of their own. "kelpie case signals" lists their ids,
of which the beginning is enough.

Signals that were split off share no value with any other signal: what comes later joins
the case that they came from, or a new one, and never theirs. "kelpie case undo" takes it
back.`,
		Args: cobra.MinimumNArgs(2),
	}, func(order *api.CaseOrder, args []string) (string, error) {
		order.Signals = args[1:]
		return "/v1/cases/" + url.PathEscape(args[0]) + "/split", nil
	})
}

func (p program) caseUndoCommand(o *options) *cobra.Command {
	return p.caseOrder(o, &cobra.Command{
		Use: "undo DECISION --because TEXT", Short: "Take back a merge, a split, or that a value never joins",
		Args: cobra.ExactArgs(1),
	}, func(_ *api.CaseOrder, args []string) (string, error) {
		return "/v1/decisions/" + url.PathEscape(args[0]) + "/undo", nil
	})
}

func (p program) caseDecisionsCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "decisions", Short: "List what people have decided about which signals are one case", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var all []model.Decision
			err := p.with(c.Context(), o, func(k *client) error { return k.get(c.Context(), "/v1/decisions", nil, &all) })
			if err != nil {
				return err
			}
			if o.json {
				return printJSON(p.out, all)
			}
			if len(all) == 0 {
				fmt.Fprintln(p.out, "No decision stands. What was taken back is in \"kelpie audit\".")
				return nil
			}
			printDecisions(p.out, all)
			return nil
		},
	}
}

func printDecisions(w io.Writer, all []model.Decision) {
	for _, d := range all {
		what := ""
		switch d.Kind {
		case model.MergeCases:
			what = "merged " + shortIDs(d.Cases)
		case model.SplitCase:
			what = fmt.Sprintf("split %s off %s", plural(len(d.Signals), "signal"), shortIDs(d.Cases))
		case model.NeverJoin:
			what = d.Value.Key() + " joins no signals"
		}
		indented(w, shortID(d.ID)+"  ", what)
		indented(w, "            ", fmt.Sprintf("by %s at %s UTC: %s", d.By, stamp(d.At), d.Because))
	}
}

func shortIDs(ids []string) string {
	short := make([]string, len(ids))
	for i, id := range ids {
		short[i] = shortID(id)
	}
	return strings.Join(short, ", ")
}

func (p program) caseCommonCommand(o *options) *cobra.Command {
	limit := 20
	c := &cobra.Command{
		Use: "common", Short: "List the values that most signals have, and say which should never join", Args: cobra.NoArgs,
		Long: `List the values that most signals have within the window of cases. A value that joins
more of them than case.common says is proposed for "kelpie case never-join". Nothing is
changed by itself.`,
		RunE: func(c *cobra.Command, _ []string) error {
			var all api.CommonValues
			err := p.with(c.Context(), o, func(k *client) error {
				return k.get(c.Context(), "/v1/common", url.Values{"limit": {strconv.Itoa(limit)}}, &all)
			})
			if err != nil {
				return err
			}
			if o.json {
				return printJSON(p.out, all)
			}
			printCommon(p.out, all)
			return nil
		},
	}
	c.Flags().IntVar(&limit, "limit", limit, "at most so many, up to 1000")
	return c
}

func printCommon(w io.Writer, all api.CommonValues) {
	if len(all.Values) == 0 {
		fmt.Fprintln(w, "No value is part of more than one signal.")
		return
	}
	fmt.Fprintf(w, "%7s  %5s  %7s  %-10s  %s\n", "SIGNALS", "CASES", "LARGEST", "", "VALUE")
	proposed := ""
	for _, v := range all.Values {
		mark := ""
		switch {
		case slices.Contains(all.Never, v.Value):
			mark = "never"
		case v.Signals > all.Limit:
			mark = "proposed"
			if proposed == "" {
				proposed = v.Value.Key()
			}
		}
		const left = 7 + 2 + 5 + 2 + 7 + 2 + 10 + 2
		fmt.Fprintf(w, "%7d  %5d  %7d  %-10s  %s\n", v.Signals, v.Cases, v.Largest, mark, line(v.Value.Key(), width-left))
	}
	fmt.Fprintln(w)
	of := "all"
	if !all.All {
		of = "the newest"
	}
	indented(w, "", fmt.Sprintf("Of %s %s, %s to %s UTC.", of, plural(all.Signals, "signal"), stamp(all.From), stamp(all.To)))
	if proposed != "" {
		indented(w, "", fmt.Sprintf(`What is proposed joins more than %d (case.common). If it says nothing about who is affected, as the address of a proxy: "kelpie case never-join %s --because …".`,
			all.Limit, proposed))
	}
}

func (p program) caseNeverJoinCommand(o *options) *cobra.Command {
	var listed bool
	var undo bool
	c := p.caseOrder(o, &cobra.Command{
		Use: "never-join [VALUE --because TEXT]", Short: "Let a value join no signals, as the address of a proxy; or list these",
		Long: `Let a value ("ip:10.0.0.1") join no signals: cases that it alone held together come apart.
With --undo it joins again. The order is logged, and replayed where it was given. What
should stand for good belongs into case.never_join of the configuration.`,
		Args: cobra.MaximumNArgs(1),
	}, func(order *api.CaseOrder, args []string) (string, error) {
		if len(args) != 1 {
			return "", usage("name a value, as ip:10.0.0.1; \"--list\" lists those that never join")
		}
		if undo {
			o, err := sdk.ParseKey(args[0])
			if err != nil {
				return "", usage("%v", err)
			}
			return "/v1/decisions/" + url.PathEscape(o.Key()) + "/undo", nil
		}
		order.Value = args[0]
		return "/v1/never_join", nil
	})
	give := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		if listed || len(args) == 0 && c.Flags().NFlag() == 0 {
			return p.listNeverJoin(c, o)
		}
		return give(c, args)
	}
	c.Flags().BoolVar(&listed, "list", false, "list what never joins, and why")
	c.Flags().BoolVar(&undo, "undo", false, "let it join again")
	return c
}

func (p program) listNeverJoin(c *cobra.Command, o *options) error {
	var all api.NeverJoin
	err := p.with(c.Context(), o, func(k *client) error { return k.get(c.Context(), "/v1/never_join", nil, &all) })
	if err != nil {
		return err
	}
	if o.json {
		return printJSON(p.out, all)
	}
	if len(all.Configured)+len(all.Decided) == 0 {
		fmt.Fprintln(p.out, "Every value joins.")
	}
	for _, text := range all.Configured {
		fmt.Fprintf(p.out, "%s  %s\n", pad("configured", 10), line(text, width-12))
	}
	printDecisions(p.out, all.Decided)
	return nil
}
