package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/config"
)

func (p program) applyCommand(o *options) *cobra.Command {
	order := api.ApplyOrder{}
	c := &cobra.Command{
		Use: "apply", Short: "Put the configuration, as it is now, in force in the running Kelpie", Args: cobra.NoArgs,
		Long: "Put the configuration, as it is now, in force in the running Kelpie.\n\n" +
			"Kelpie reads the files that it was started with, checks them, and starts what is new beside what runs. Then it " +
			"switches over, and ends what is gone. Connectors that are as they were are not touched. If anything is wrong, " +
			"nothing changes, and the exit code is 1. SIGHUP does the same, and Kelpie's log says what came of it.",
		RunE: func(c *cobra.Command, _ []string) error {
			k, err := o.kelpie()
			if err != nil {
				return err
			}
			dir := p.dataSettings(o, k).DataDir
			if !answers(dir) {
				return &codeError{exitFailed, fmt.Sprintf("no kelpie runs with the data folder %s; \"kelpie run\" starts with the configuration as it is then, and --data names another folder", dir)}
			}
			var a api.Application
			err = p.with(c.Context(), o, func(k *client) error { return k.post(c.Context(), "/v1/apply", order, &a) })
			if err != nil {
				return err
			}
			return p.applied(o, a)
		},
	}
	c.Flags().BoolVar(&order.DryRun, "dry-run", false, "check and start everything that is new, and end it again")
	return c
}

// applied prints what came of it.
func (p program) applied(o *options, a api.Application) error {
	if o.json {
		if err := printJSON(p.out, a); err != nil {
			return err
		}
	} else {
		var messages []config.Message
		if len(a.Diagnostics) > 0 {
			if err := json.Unmarshal(a.Diagnostics, &messages); err != nil {
				return err
			}
		}
		if err := config.WriteMessages(p.err, messages, isTerminal(p.err)); err != nil {
			return err
		}
		printApplied(p.out, a)
	}
	if a.Outcome != api.Refused {
		return nil
	}
	text := "not applied: " + a.Error + "\nThe configuration before it holds: nothing was changed."
	if o.json {
		text = ""
	}
	return &codeError{exitFailed, text}
}

func printApplied(w io.Writer, a api.Application) {
	switch a.Outcome {
	case api.Refused:
		return
	case api.Unchanged:
		fmt.Fprintf(w, "Nothing changes: configuration %s is in force.\n", short(a.Before))
		return
	}
	kept, told := 0, map[string]bool{}
	for _, c := range a.Instances {
		if c.What == "kept" {
			kept++
			continue
		}
		told[c.Address] = true
		text := c.Plugin
		if c.Because != "" {
			text += ": " + c.Because
		}
		indented(w, fmt.Sprintf("  %s %s ", pad(c.What, 9), pad(c.Address, 28)), text)
	}
	for _, c := range a.Parts {
		if told[c.Address] {
			continue
		}
		text := c.Address
		if c.From != "" {
			text += ", was " + c.From
		}
		switch c.Kind {
		case "file", "environment", "plugin":
			text = c.Kind + " " + c.Address
		}
		indented(w, fmt.Sprintf("  %s ", pad(c.What, 9)), text)
	}
	switch {
	case kept > 0 && kept == len(a.Instances):
		fmt.Fprintln(w, "  No connector is touched.")
	case kept > 0:
		fmt.Fprintf(w, "  Of the connectors %d are not touched.\n", kept)
	}
	if a.Outcome == api.Planned {
		fmt.Fprintf(w, "\nThis would be applied, as configuration %s. Nothing was changed.\n", short(a.Config))
		return
	}
	fmt.Fprintf(w, "\nApplied in %.1f s: configuration %s is in force.\n", a.Seconds, short(a.Config))
}

// short is a hash as people read it.
func short(hash string) string {
	const digits = 12
	return strings.ToLower(hash[:min(len(hash), digits)])
}
