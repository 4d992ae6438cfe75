package main

import (
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/report"
)

func (p program) caseReportCommand(o *options) *cobra.Command {
	format, out := "md", ""
	c := &cobra.Command{
		Use: "report CASE", Short: "Write all that is known of a case, for the review after it", Args: cobra.ExactArgs(1),
		Long: `Write all that is known of a case, for the review after it: what happened, to
whom, the score with its reasons, evidence, what people were asked and answered,
what was done and undone, how it ended, and what fell short. As Markdown, or as
one page of HTML that can be printed. It has no payloads of events.`,
		RunE: func(c *cobra.Command, args []string) error {
			write := map[string]func(*strings.Builder, *report.Report) error{
				"md":   func(b *strings.Builder, r *report.Report) error { return report.Markdown(b, r) },
				"html": func(b *strings.Builder, r *report.Report) error { return report.HTML(b, r) },
			}[format]
			if write == nil {
				return usage("--format is md or html")
			}
			var e api.Explanation
			err := p.with(c.Context(), o, func(k *client) error {
				return k.get(c.Context(), "/v1/cases/"+url.PathEscape(args[0]), nil, &e)
			})
			if err != nil {
				return err
			}
			if o.json {
				return printJSON(p.out, report.Of(&e))
			}
			r := report.Of(&e)
			var text strings.Builder
			if err := write(&text, &r); err != nil {
				return err
			}
			return p.writeOut(out, text.String())
		},
	}
	c.Flags().StringVar(&format, "format", format, "md (Markdown) or html")
	c.Flags().StringVar(&out, "out", "", "a new file to write to, instead of standard output")
	return c
}
