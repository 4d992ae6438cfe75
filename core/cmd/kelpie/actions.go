package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/decide"
)

func (p program) pauseCommand(o *options) *cobra.Command {
	c := &cobra.Command{Use: "pause", Short: "Hold something back"}
	c.AddCommand(p.orderCommand(o, "actions", "Keep every planned step back until \"kelpie resume actions\"", "/v1/actions/pause", true))
	for _, kind := range pausable {
		c.AddCommand(p.pauseOfCommand(o, kind, true))
	}
	return c
}

func (p program) resumeCommand(o *options) *cobra.Command {
	c := &cobra.Command{Use: "resume", Short: "Let go what was held back"}
	c.AddCommand(p.orderCommand(o, "actions", "Carry out the steps that were kept back, and go on", "/v1/actions/resume", false))
	for _, kind := range pausable {
		c.AddCommand(p.pauseOfCommand(o, kind, false))
	}
	return c
}

func (p program) orderCommand(o *options, use, short, path string, pause bool) *cobra.Command {
	order := api.Order{}
	c := &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := name(&order); err != nil {
				return err
			}
			var flags decide.Flags
			err := p.with(c.Context(), o, func(k *client) error { return k.post(c.Context(), path, order, &flags) })
			if err != nil {
				return err
			}
			if o.json {
				return printJSON(p.out, flags)
			}
			if flags.Paused {
				indented(p.out, "", fmt.Sprintf("Actions are paused by %s since %s UTC%s.", line(flags.PausedBy, 30), stamp(flags.PausedAt), ending(flags.PausedUntil)))
			} else {
				fmt.Fprintln(p.out, "Actions are not paused.")
			}
			return nil
		},
	}
	orderFlags(c, &order)
	if pause {
		forFlag(c, &order)
	}
	return c
}

// pausable are the kinds of blocks that can be paused one by one.
var pausable = [...]string{"rule", "pipeline", "response"}

func forFlag(c *cobra.Command, order *api.Order) {
	c.Flags().StringVar(&order.For, "for", "", "how long, such as 2h; without it, until \"kelpie resume\"")
}

func ending(until time.Time) string {
	if until.IsZero() {
		return ""
	}
	return ", until " + stamp(until)
}

// pauseOfCommand pauses one rule, pipeline or response, or ends that.
func (p program) pauseOfCommand(o *options, kind string, pause bool) *cobra.Command {
	order := api.Order{}
	short, path := "Go on with what "+kind+" NAME held back", "/v1/pauses/end"
	if pause {
		short, path = "Keep back what is asked for by "+kind+" NAME", "/v1/pauses"
		if kind == "response" {
			short = "Keep back what response NAME does"
		}
	}
	c := &cobra.Command{
		Use: kind + " NAME", Short: short, Args: cobra.ExactArgs(1),
		Long: short + `.

Its signals are still kept, joined to cases and scored: only what would be done about them
waits, and is done when the pause ends, if it still holds then.`,
		RunE: func(c *cobra.Command, args []string) error {
			order.Of = kind + "." + strings.TrimPrefix(args[0], kind+".")
			if pause && strings.TrimSpace(order.Because) == "" {
				return usage("say why, with --because: whoever looks at this later needs it")
			}
			if err := name(&order); err != nil {
				return err
			}
			var flags decide.Flags
			if err := p.with(c.Context(), o, func(k *client) error { return k.post(c.Context(), path, order, &flags) }); err != nil {
				return err
			}
			if o.json {
				return printJSON(p.out, flags)
			}
			printPauses(p.out, flags)
			return nil
		},
	}
	orderFlags(c, &order)
	if pause {
		forFlag(c, &order)
	}
	return c
}

func printPauses(w io.Writer, flags decide.Flags) {
	if len(flags.Pauses) == 0 {
		fmt.Fprintln(w, "No rule, pipeline or response is paused.")
	}
	for _, p := range flags.Pauses {
		text := fmt.Sprintf("%s is paused by %s since %s UTC%s", p.Of, line(p.By, 30), stamp(p.At), ending(p.Until))
		if p.Because != "" {
			text += ": " + p.Because
		}
		indented(w, "", text)
	}
}
