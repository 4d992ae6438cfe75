package main

import (
	"fmt"
	"io"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/kelpie-sec/kelpie/core/model"
)

func (p program) signalCommand(o *options) *cobra.Command {
	c := &cobra.Command{Use: "signal", Short: "The signals, those of experimental rules among them"}
	c.AddCommand(p.signalListCommand(o))
	return c
}

func (p program) signalListCommand(o *options) *cobra.Command {
	var rule string
	var experimental bool
	var limit int
	c := &cobra.Command{
		Use: "list", Short: "List the newest signals", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			q := url.Values{"limit": {strconv.Itoa(limit)}}
			if rule != "" {
				q.Set("rule", rule)
			}
			if experimental {
				q.Set("experimental", "")
			}
			var all []model.Signal
			err := p.with(c.Context(), o, func(k *client) error { return k.get(c.Context(), "/v1/signals", q, &all) })
			if err != nil {
				return err
			}
			if o.json {
				return printJSON(p.out, all)
			}
			printSignals(p.out, all)
			return nil
		},
	}
	c.Flags().StringVar(&rule, "rule", "", "only of this rule, as rule.NAME or pipeline.NAME")
	c.Flags().BoolVar(&experimental, "experimental", false, "only of experimental rules, which are in no case")
	c.Flags().IntVar(&limit, "limit", 20, "at most so many")
	return c
}

func printSignals(w io.Writer, all []model.Signal) {
	if len(all) == 0 {
		fmt.Fprintln(w, "No signals.")
		return
	}
	for i := range all {
		g := &all[i]
		mark := ""
		if g.Experimental {
			mark = "  experimental"
		}
		const left = 19 + 2 + 3 + 2
		fmt.Fprintf(w, "%s  %3d  %s%s\n", stamp(g.Time), g.Severity, line(g.Rule, width-left-len(mark)), mark)
		fmt.Fprintln(w, "  "+line(g.Title, width-2))
		if len(g.Observables) > 0 {
			fmt.Fprintln(w, "  "+values(g.Observables, width-2))
		}
	}
}
