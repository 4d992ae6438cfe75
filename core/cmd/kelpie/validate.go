package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/kelpie-sec/kelpie/core/config"
)

func (p program) validateCommand(o *options) *cobra.Command {
	var cost bool
	var events string
	c := &cobra.Command{
		Use: "validate", Short: "Check the configuration; starts nothing and needs no secret", Args: cobra.NoArgs,
		Long: "Check the configuration; starts nothing and needs no secret.\n\n" +
			"With --explain-cost it says what the expressions about events take: how many look-ups, and what takes longer.\n" +
			"With --events it measures them on the lines of a file.",
		RunE: func(*cobra.Command, []string) error {
			if events != "" && !cost {
				return usage("--events goes with --explain-cost")
			}
			if err := o.require(); err != nil {
				return err
			}
			c, err := o.parse()
			if err != nil {
				return err
			}
			if c.config != nil {
				c.diags = append(append(c.diags, c.config.NotBuilt...), c.config.Unproven...)
				c.diags = append(c.diags, c.config.Certified(time.Now())...)
				lock, diags := config.ReadLock(o.folder())
				c.diags = append(append(c.diags, diags...), c.config.Unvouched(lock)...)
			}
			if c.diags.HasErrors() {
				return p.refuse(o, c.diags, c.source)
			}
			if cost {
				return p.explainCost(o, c.config, events)
			}
			if err := p.say(o, c.diags, c.source); err != nil || o.json {
				return err
			}
			fmt.Fprintf(p.out, "%s is valid: %s, %s.\n", o.config,
				plural(len(c.config.Detectors), "detector"), plural(len(c.config.Decide.Plan.Responses), "response"))
			return nil
		},
	}
	c.Flags().BoolVar(&cost, "explain-cost", false, "say what each expression takes of each event")
	c.Flags().StringVar(&events, "events", "", "measure it on the events of this file, one a line")
	return c
}

// say prints diagnostics: as JSON to the output, or as text to the standard error.
func (p program) say(o *options, diags config.Diagnostics, src *config.Source) error {
	if o.json {
		return config.WriteJSON(p.out, diags, src.Listing())
	}
	if len(diags) == 0 {
		return nil
	}
	return config.WriteText(p.err, diags, src.Listing(), isTerminal(p.err))
}

// refuse prints diagnostics and ends the command with exitUsage.
func (p program) refuse(o *options, diags config.Diagnostics, src *config.Source) error {
	if err := p.say(o, diags, src); err != nil {
		return err
	}
	return &codeError{code: exitUsage}
}
