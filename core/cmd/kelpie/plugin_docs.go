package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kelpie-sec/kelpie/core/host"
	"github.com/kelpie-sec/kelpie/core/manual"
)

func (p program) pluginDocsCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "docs BIN", Short: "Print what a plugin says of itself, as Markdown",
		Long: "Print what a plugin says of itself, as Markdown: what it may touch, and for each of its connectors what it does, what it takes, and an example.\n\n" +
			"BIN is the path of its executable, which is started once, without any configuration. With --json it prints what the plugin said as it is.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(c.Context(), inspectTimeout)
			defer cancel()
			plugin, _, err := host.Inspect(ctx, args[0])
			if start := (*host.StartError)(nil); errors.As(err, &start) {
				text := fmt.Sprintf("%s can't be asked what it is: %v", args[0], start.Err)
				if len(start.Tail) > 0 {
					text += "\nIt said:\n  " + strings.Join(start.Tail, "\n  ")
				}
				return &codeError{exitFailed, text}
			}
			if err != nil {
				return err
			}
			if o.json {
				return printJSON(p.out, plugin)
			}
			_, err = io.WriteString(p.out, manual.Plugin(plugin, manual.Repository))
			return err
		},
	}
}
