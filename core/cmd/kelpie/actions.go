package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/decide"
)

func (p program) pauseCommand(o *options) *cobra.Command {
	c := &cobra.Command{Use: "pause", Short: "Hold something back"}
	c.AddCommand(p.orderCommand(o, "actions", "Keep every planned step back until \"kelpie resume actions\"", "/v1/actions/pause"))
	return c
}

func (p program) resumeCommand(o *options) *cobra.Command {
	c := &cobra.Command{Use: "resume", Short: "Let go what was held back"}
	c.AddCommand(p.orderCommand(o, "actions", "Carry out the steps that were kept back, and go on", "/v1/actions/resume"))
	return c
}

func (p program) orderCommand(o *options, use, short, path string) *cobra.Command {
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
				fmt.Fprintf(p.out, "Actions are paused by %s since %s UTC.\n", line(flags.PausedBy, 30), stamp(flags.PausedAt))
			} else {
				fmt.Fprintln(p.out, "Actions are not paused.")
			}
			return nil
		},
	}
	orderFlags(c, &order)
	return c
}
