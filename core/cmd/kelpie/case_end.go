package main

import (
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/model"
)

func (p program) caseEndCommand(o *options) *cobra.Command {
	order := api.EndOrder{}
	c := &cobra.Command{
		Use: "end CASE true_positive|benign|false_positive", Short: "Say what a case turned out to be, and end it", Args: cobra.ExactArgs(2),
		Long: `Say what a case turned out to be, and end it:
  true_positive   it was what the rule is for, and unwanted
  benign          it was what the rule is for, and wanted
  false_positive  it was not what the rule is for

Nobody is asked about it any more, and no further step is planned. What it holds stays
until somebody lets go of it or its time is over. A new signal of it, or a later revision
of one, opens it again, says so, and people are told anew. To say it again corrects it.
"kelpie rule outcomes" and "kelpie rule forecast" add up what was said.`,
		RunE: func(c *cobra.Command, args []string) error {
			order.Outcome = model.FindingKind(args[1])
			return p.conclude(c, o, "end", args[0], &order)
		},
	}
	endFlags(c, &order)
	c.Flags().StringVar(&order.Notes, "notes", "", "what was found out, for the review")
	c.Flags().IntVar(&order.Minutes, "minutes", 0, "how many minutes of people's time it took")
	c.Flags().IntVar(&order.Loss, "loss", 0, "what was lost, in dollars")
	return c
}

func (p program) caseReopenCommand(o *options) *cobra.Command {
	order := api.EndOrder{}
	c := &cobra.Command{
		Use: "reopen CASE --because TEXT", Short: "Have a case go on that has ended", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if strings.TrimSpace(order.Because) == "" {
				return usage("say why, with --because: whoever looks at this later needs it")
			}
			return p.conclude(c, o, "reopen", args[0], &order)
		},
	}
	endFlags(c, &order)
	c.Flags().StringVar(&order.Because, "because", "", "why")
	return c
}

func endFlags(c *cobra.Command, order *api.EndOrder) {
	c.Flags().StringVar(&order.By, "by", "", "who says so, if it is not you")
}

// conclude ends a case or has it go on, and shows what it is then.
func (p program) conclude(c *cobra.Command, o *options, what, id string, order *api.EndOrder) error {
	by := api.Order{By: order.By}
	if err := name(&by); err != nil {
		return err
	}
	order.By = by.By
	var k model.Case
	err := p.with(c.Context(), o, func(client *client) error {
		return client.post(c.Context(), "/v1/cases/"+url.PathEscape(id)+"/"+what, order, &k)
	})
	if err != nil {
		return err
	}
	if o.json {
		return printJSON(p.out, k)
	}
	fmt.Fprintf(p.out, "%s  %s\n", shortID(k.ID), line(k.Title, width-12))
	printFinding(p.out, k)
	return nil
}

// printFinding says what a case was found to be, and that it was opened again.
func printFinding(w io.Writer, c model.Case) {
	first := func(name string) string { return pad("  "+name, 14) }
	if f := c.Finding; f != nil {
		indented(w, first("outcome"), findingText(*f))
	}
	if r := c.Reopened; r != nil {
		text := fmt.Sprintf("at %s UTC", stamp(r.At))
		if r.By != "" {
			text += " by " + r.By
		}
		indented(w, first("reopened"), text+": "+r.Because)
		indented(w, first("before that"), findingText(r.Was))
	}
}

func findingText(f model.Finding) string {
	text := fmt.Sprintf("%s, by %s at %s UTC", f.Kind, f.By, stamp(f.At))
	if f.Minutes > 0 {
		text += ", " + plural(f.Minutes, "minute")
	}
	if f.Loss > 0 {
		text += fmt.Sprintf(", %s dollars lost", grouped(uint64(f.Loss)))
	}
	if f.Notes != "" {
		text += ": " + f.Notes
	}
	return text
}
