package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/config"
)

func (p program) ruleCommand(o *options) *cobra.Command {
	c := &cobra.Command{Use: "rule", Short: "The rules, and the pipelines that report signals"}
	c.AddCommand(p.ruleListCommand(o), p.rulePromoteCommand(o), p.ruleCostCommand(o), p.ruleOutcomesCommand(o), p.ruleForecastCommand(o), p.ruleDraftCommand(o))
	return c
}

// ruleLine is a rule with what it has reported.
type ruleLine struct {
	config.Rule
	Missing []config.Need `json:"missing"`
	// Activity is nil if there is no data folder yet.
	Activity *api.RuleActivity `json:"activity,omitempty"`
}

func (p program) ruleListCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the rules: their state, tests, author, and what they have reported", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := p.rules(o)
			if err != nil {
				return err
			}
			activity, err := p.activity(c.Context(), o)
			if err != nil {
				return err
			}
			lines := []ruleLine{}
			for i := range cfg.Rules {
				r := ruleLine{Rule: cfg.Rules[i], Missing: cfg.Rules[i].Missing()}
				if activity != nil {
					r.Activity = &api.RuleActivity{Rule: r.Address}
					if a, ok := activity[r.Address]; ok {
						r.Activity = &a
					}
				}
				lines = append(lines, r)
			}
			if o.json {
				return printJSON(p.out, lines)
			}
			printRules(p.out, lines)
			return nil
		},
	}
}

// rules reads the configuration, whatever its rules are missing.
func (p program) rules(o *options) (*config.Config, error) {
	if err := o.require(); err != nil {
		return nil, err
	}
	c, err := o.parse()
	if err != nil {
		return nil, err
	}
	if c.diags.HasErrors() {
		return nil, p.refuse(o, c.diags, c.source)
	}
	return c.config, nil
}

// activity is what rules have reported, by address; nil: there is no data folder.
func (p program) activity(ctx context.Context, o *options) (map[string]api.RuleActivity, error) {
	var all []api.RuleActivity
	err := p.with(ctx, o, func(k *client) error { return k.get(ctx, "/v1/rules", nil, &all) })
	var ce *codeError
	switch {
	case errors.As(err, &ce) && ce.code == exitNothing:
		return nil, nil
	case err != nil:
		return nil, err
	}
	rules := make(map[string]api.RuleActivity, len(all))
	for _, a := range all {
		rules[a.Rule] = a
	}
	return rules, nil
}

func printRules(w io.Writer, lines []ruleLine) {
	if len(lines) == 0 {
		fmt.Fprintln(w, "No rules.")
		return
	}
	const name = 30
	fmt.Fprintf(w, "%s  %-12s  %5s  %7s  %s\n", pad("RULE", name), "STATE", "TESTS", "7 DAYS", "LAST (UTC)")
	for _, r := range lines {
		state, days, last := r.State, "-", "-"
		if state == "" {
			state = "not said"
		}
		if a := r.Activity; a != nil {
			days = fmt.Sprint(a.Week)
			switch {
			case !a.LastHour.IsZero():
				last = a.LastHour.UTC().Format("2006-01-02 15h")
			case a.Signals > 0:
				last = "long ago"
			}
		}
		fmt.Fprintf(w, "%s  %-12s  %5d  %7s  %s\n", pad(line(r.Address, name), name), state, len(r.Tests), days, last)
		indented(w, "  ", ruleText(r))
	}
}

func ruleText(r ruleLine) string {
	text := "reads " + strings.Join(r.Reads, ", ")
	if r.Author != "" {
		text += "; by " + r.Author
	}
	text += forecastText(r.Forecast)
	if n := len(r.Missing); n > 0 {
		text += fmt.Sprintf("; %s missing for production", plural(n, "thing"))
	}
	return text
}

func forecastText(f *config.Forecast) string {
	if f == nil {
		return ""
	}
	text := ""
	add := func(n *float64, format string, by float64) {
		if n != nil {
			text += fmt.Sprintf(format, *n*by)
		}
	}
	add(f.PerWeek, "; expects %g a week", 1)
	add(f.Precision, "; %g %% of them right", 100)
	add(f.Loss, "; against a loss of %g", 1)
	add(f.P, ", p %g", 1)
	return text
}

func (p program) rulePromoteCommand(o *options) *cobra.Command {
	var write bool
	c := &cobra.Command{
		Use: "promote NAME", Short: "Say what a rule is missing for production, or put it there", Args: cobra.ExactArgs(1),
		Long: "Say what a rule, or a pipeline that reports signals, is missing for production, and\n" +
			"what to write. If nothing is, show the line that puts it there, or with --write\n" +
			"change it in its file.",
		RunE: func(_ *cobra.Command, args []string) error {
			c, err := p.rules(o)
			if err != nil {
				return err
			}
			r := c.Rule(args[0])
			if r == nil {
				return &codeError{exitNothing, fmt.Sprintf("there is no rule %s, and no pipeline of that name that reports signals; \"kelpie rule list\" lists them", args[0])}
			}
			return p.promote(o, c, r, write)
		},
	}
	c.Flags().BoolVar(&write, "write", false, "change the file, if nothing is missing")
	return c
}

// promotion is what promote says, as JSON.
type promotion struct {
	Rule    string            `json:"rule"`
	State   string            `json:"state,omitempty"`
	Needs   []config.Need     `json:"needs"`
	Ready   bool              `json:"ready"`
	Change  *config.Promotion `json:"change,omitempty"` // nil: there is none to make
	Written bool              `json:"written,omitempty"`
}

func (p program) promote(o *options, c *config.Config, r *config.Rule, write bool) error {
	out := promotion{Rule: r.Address, State: r.State, Needs: r.Needs, Ready: len(r.Missing()) == 0}
	if out.Ready && r.State != config.Production {
		change := c.Promote(r)
		out.Change = &change
		if write {
			if err := rewrite(change.Path, change.Text); err != nil {
				return err
			}
			out.Written = true
		}
	}
	if o.json {
		if err := printJSON(p.out, out); err != nil {
			return err
		}
	} else {
		printPromotion(p.out, out)
	}
	if !out.Ready {
		return &codeError{code: exitFailed}
	}
	return nil
}

func printPromotion(w io.Writer, out promotion) {
	state := out.State
	if state == "" {
		state = "without a state"
	}
	fmt.Fprintf(w, "%s, %s\n", line(out.Rule, width-20), state)
	missing := 0
	for _, n := range out.Needs {
		if n.Met {
			indented(w, "  ✓ ", n.What)
			continue
		}
		missing++
		indented(w, "  ✗ ", n.What)
		indented(w, "      ", n.Write)
	}
	fmt.Fprintln(w)
	switch {
	case missing > 0:
		fmt.Fprintf(w, "%s missing for production.\n", plural(missing, "thing"))
	case out.Change == nil:
		fmt.Fprintln(w, "It is in production, and nothing is missing.")
	case out.Written:
		fmt.Fprintf(w, "It is in production from now on: %s, line %d.\n", safe(out.Change.File), out.Change.Line)
	default:
		printRuleChange(w, out.Change)
	}
}

func printRuleChange(w io.Writer, c *config.Promotion) {
	fmt.Fprintf(w, "Nothing is missing. With --write, in %s, line %d:\n\n", safe(c.File), c.Line)
	if c.Before != "" {
		fmt.Fprintln(w, "  -"+line(c.Before, width-3))
	}
	fmt.Fprintln(w, "  +"+line(c.After, width-3))
}
