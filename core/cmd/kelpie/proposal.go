package main

import (
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/model"
)

func (p program) proposalCommand(o *options) *cobra.Command {
	c := &cobra.Command{Use: "proposal", Short: "Changes of the configuration that people's answers propose"}
	c.AddCommand(p.proposalListCommand(o), p.proposalShowCommand(o), p.proposalAcceptCommand(o), p.proposalRefuseCommand(o))
	return c
}

func (p program) proposalListCommand(o *options) *cobra.Command {
	state, limit := "open", 100
	c := &cobra.Command{
		Use: "list", Short: "List the proposals that wait for an engineer, the latest first", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			q := url.Values{"limit": {strconv.Itoa(limit)}}
			if state != "any" {
				q.Set("state", state)
			}
			var all []api.Proposal
			err := p.with(c.Context(), o, func(k *client) error { return k.get(c.Context(), "/v1/proposals", q, &all) })
			if err != nil {
				return err
			}
			if o.json {
				return printJSON(p.out, all)
			}
			if len(all) == 0 {
				fmt.Fprintln(p.out, "No proposals.")
			}
			for i := range all {
				fmt.Fprintf(p.out, "%s  %s  %s\n", all[i].ID, shortID(all[i].CaseNow), line(all[i].Title, width-len(all[i].ID)-14))
				indented(p.out, "  ", proposalLine(&all[i], ", "+ago(all[i].At, all[i].Now)))
			}
			return nil
		},
	}
	c.Flags().StringVar(&state, "state", state, "only in this state: open, accepted, refused, any")
	c.Flags().IntVar(&limit, "limit", limit, "at most so many, up to 1000")
	return c
}

// proposalLine tells in a few words what is proposed, by whom and when, and what became of
// it.
func proposalLine(p *api.Proposal, when string) string {
	text := "to ignore its like"
	if p.Kind == model.ProposeRoute {
		text = "that " + p.Route + " asks somebody else than " + p.Address
	}
	text += ", by " + p.By + when
	if p.Reason != "" {
		text += ": " + p.Reason
	}
	if p.State == model.ProposalOpen {
		return text
	}
	text += fmt.Sprintf("; %s by %s at %s UTC", p.State, p.EndedBy, stamp(p.EndedAt))
	if p.Because != "" {
		text += ": " + p.Because
	}
	return text
}

func (p program) proposalShowCommand(o *options) *cobra.Command {
	expires := ""
	c := &cobra.Command{
		Use: "show PROPOSAL", Short: "Show what a proposal would write, and what that would have changed", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			q := url.Values{}
			day, err := lastDay(expires)
			if err != nil {
				return err
			}
			q.Set("expires", day)
			var one api.Proposal
			err = p.with(c.Context(), o, func(k *client) error {
				return k.get(c.Context(), "/v1/proposals/"+url.PathEscape(args[0]), q, &one)
			})
			if err != nil {
				return err
			}
			if o.json {
				return printJSON(p.out, one)
			}
			printProposal(p.out, &one)
			return nil
		},
	}
	c.Flags().StringVar(&expires, "expires", "", "its last day, \"2027-03-01\" or \"14d\" (default 30d)")
	return c
}

// lastDay reads a day, or how many days from today.
func lastDay(text string) (string, error) {
	days, isDays := strings.CutSuffix(text, "d")
	if !isDays {
		return text, nil
	}
	n, err := strconv.Atoi(days)
	if err != nil || n < 0 || n > 10_000 {
		return "", usage("--expires is a day, such as 2027-03-01, or a number of days, such as 14d")
	}
	return time.Now().UTC().AddDate(0, 0, n).Format(time.DateOnly), nil
}

func printProposal(w io.Writer, p *api.Proposal) {
	fmt.Fprintf(w, "%s  %s\n", p.ID, line(p.Title, width-len(p.ID)-2))
	row := func(name, text string) {
		if text != "" {
			indented(w, pad("  "+name, 14), text)
		}
	}
	row("proposes", proposalLine(p, ""))
	row("made", stamp(p.At)+" UTC, "+ago(p.At, p.Now))
	row("case", p.CaseNow)
	row("question", p.Question)
	row("of", joined(p.Rules))
	if p.Text != "" {
		fmt.Fprintln(w)
		printBlock(w, p.Text)
	}
	d := p.Draft
	if d == nil {
		return
	}
	if len(d.Left) > 0 {
		row("leaves", joined(d.Left)+", whose events have other fields")
	}
	if d.Text != "" && d.Problem == "" || len(d.Hides) > 0 {
		row("of the past", fmt.Sprintf("it would have ignored %s of the last 30 days, of %s that were looked at", plural(d.Recent, "reported event"), plural(d.Looked, "signal")))
		if d.Unknown > 0 {
			row("", "")
			row("not known", fmt.Sprintf("%s of true positives: the log has no event of them any more", plural(d.Unknown, "part")))
		}
	}
	for _, h := range d.Hides {
		row("HIDES", fmt.Sprintf("%s of case %s, a true positive: %s", h.Signal, h.Case, h.Title))
	}
	if d.Diff != "" {
		fmt.Fprintln(w)
		printBlock(w, d.Diff)
	}
	fmt.Fprintln(w)
	switch {
	case d.Problem != "":
		indented(w, "", "It can't be accepted: "+d.Problem+".")
	case d.Written:
		indented(w, "", fmt.Sprintf("The configuration has it already. \"kelpie proposal accept %s\" ends the proposal.", shortID(p.ID)))
	default:
		indented(w, "", fmt.Sprintf("\"kelpie proposal accept %s\" writes it and puts it in force; \"kelpie proposal refuse %s --because …\" does not.", shortID(p.ID), shortID(p.ID)))
	}
}

// printBlock prints lines as they are, but for what a terminal would act upon.
func printBlock(w io.Writer, text string) {
	fmt.Fprintln(w, safe(strings.TrimSuffix(text, "\n")))
}

func (p program) proposalAcceptCommand(o *options) *cobra.Command {
	order, expires := api.Order{}, ""
	c := &cobra.Command{
		Use: "accept PROPOSAL", Short: "Write what a proposal says into the configuration, and put it in force", Args: cobra.ExactArgs(1),
		Long: `Write what a proposal says into the configuration, and put it in force.

It takes the role engineer, where the configuration has users. "kelpie proposal
show" shows what is written. If the configuration is refused with it, the file is
as it was, and nothing changes.`,
		RunE: func(c *cobra.Command, args []string) error {
			if err := name(&order); err != nil {
				return err
			}
			day, err := lastDay(expires)
			if err != nil {
				return err
			}
			var one api.Proposal
			err = p.with(c.Context(), o, func(k *client) error {
				return k.post(c.Context(), "/v1/proposals/"+url.PathEscape(args[0])+"/accept", api.Accepting{By: order.By, Because: order.Because, Expires: day}, &one)
			})
			if err != nil {
				return err
			}
			if o.json {
				return printJSON(p.out, one)
			}
			indented(p.out, "", fmt.Sprintf("Accepted: %s is written to %s, and in force until the end of %s.", `ignore "`+one.Draft.Name+`"`, one.Draft.File, one.Draft.Expires.UTC().Format(time.DateOnly)))
			return nil
		},
	}
	orderFlags(c, &order)
	c.Flags().StringVar(&expires, "expires", "", "its last day, \"2027-03-01\" or \"14d\" (default 30d)")
	return c
}

func (p program) proposalRefuseCommand(o *options) *cobra.Command {
	order := api.Order{}
	c := &cobra.Command{
		Use: "refuse PROPOSAL", Short: "Refuse a proposal: nothing is written", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := name(&order); err != nil {
				return err
			}
			if strings.TrimSpace(order.Because) == "" {
				return usage("say why it is refused: --because")
			}
			var one api.Proposal
			err := p.with(c.Context(), o, func(k *client) error {
				return k.post(c.Context(), "/v1/proposals/"+url.PathEscape(args[0])+"/refuse", order, &one)
			})
			if err != nil {
				return err
			}
			if o.json {
				return printJSON(p.out, one)
			}
			fmt.Fprintf(p.out, "%s is refused.\n", one.ID)
			return nil
		},
	}
	orderFlags(c, &order)
	return c
}
