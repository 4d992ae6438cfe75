package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"

	"github.com/spf13/cobra"

	"github.com/kelpie-sec/kelpie/core/api"
)

func (p program) ruleDraftCommand(o *options) *cobra.Command {
	var of, ruleName, out string
	c := &cobra.Command{
		Use: "draft --case CASE", Short: "Write an experimental rule, with a test, from the events of a case", Args: cobra.NoArgs,
		Long: `Write an experimental rule, with a test, from the events of a case.

It passes "kelpie validate" and "kelpie test" as it is printed: put it into a file
of the configuration. Of fields that have names of secrets the values are taken
out; all else in the test's events is as it was reported.`,
		RunE: func(c *cobra.Command, _ []string) error {
			if of == "" {
				return usage("say which case it is drafted from: --case")
			}
			q := url.Values{}
			if ruleName != "" {
				q.Set("name", ruleName)
			}
			var d api.RuleDraft
			err := p.with(c.Context(), o, func(k *client) error {
				return k.get(c.Context(), "/v1/cases/"+url.PathEscape(of)+"/rule", q, &d)
			})
			if err != nil {
				return err
			}
			if o.json {
				return printJSON(p.out, d)
			}
			if len(d.Left) > 0 {
				indented(p.err, "", "Not in it, as other pipelines or rules over several report it: "+joined(d.Left)+".")
			}
			return p.writeOut(out, d.Text)
		},
	}
	c.Flags().StringVar(&of, "case", "", "the case")
	c.Flags().StringVar(&ruleName, "name", "", "the rule's name")
	c.Flags().StringVar(&out, "out", "", "a new file to write to, instead of standard output")
	return c
}

// writeOut prints a text, or writes it to a file that is not there yet.
func (p program) writeOut(path, text string) error {
	if path == "" {
		_, err := fmt.Fprint(p.out, text)
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return usage("%s is there already", path)
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Close()); err == nil {
		fmt.Fprintf(p.out, "%s is written.\n", path)
	}
	return err
}
