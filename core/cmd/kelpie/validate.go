package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kelpie-sec/kelpie/core/config"
)

func (p program) validateCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "validate", Short: "Check the configuration; starts nothing and needs no secret", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := o.require(); err != nil {
				return err
			}
			c, err := o.parse()
			if err != nil {
				return err
			}
			if c.config != nil {
				c.diags = append(c.diags, c.config.NotBuilt...)
			}
			if c.diags.HasErrors() {
				return p.refuse(o, c.diags, c.source)
			}
			if err := p.say(o, c.diags, c.source); err != nil || o.json {
				return err
			}
			fmt.Fprintf(p.out, "%s is valid: %s, %s.\n", o.config,
				plural(len(c.config.Detectors), "detector"), plural(len(c.config.Decide.Plan.Responses), "response"))
			return nil
		},
	}
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
