package main

import (
	"fmt"
	"io"
	"net/url"
	"os"
	"os/user"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/model"
)

func (p program) intentCommand(o *options) *cobra.Command {
	c := &cobra.Command{Use: "intent", Short: "The steps that were planned, and what became of them"}
	c.AddCommand(p.intentListCommand(o), p.intentResolveCommand(o))
	return c
}

func (p program) intentListCommand(o *options) *cobra.Command {
	var state, after string
	limit := 1000
	c := &cobra.Command{
		Use: "list", Short: "List the intents, oldest first", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			q := url.Values{"limit": {strconv.Itoa(limit)}}
			if after != "" {
				q.Set("after", after)
			}
			if state != "" {
				q.Set("state", state)
			}
			var all []model.Intent
			err := p.with(c.Context(), o, func(k *client) error { return k.get(c.Context(), "/v1/intents", q, &all) })
			if err != nil {
				return err
			}
			if o.json {
				return printJSON(p.out, all)
			}
			printIntents(p.out, all)
			if n := len(all); n > 0 && n == limit {
				fmt.Fprintln(p.out)
				indented(p.out, "", fmt.Sprintf(`These are %d. For what follows: "kelpie intent list --after %s".`, n, all[n-1].ID))
			}
			return nil
		},
	}
	c.Flags().IntVar(&limit, "limit", limit, "at most so many, up to 1000")
	c.Flags().StringVar(&after, "after", "", "those after this intent")
	c.Flags().StringVar(&state, "state", "", "only in this state: pending, done, already, refused, failed, unknown, undone")
	return c
}

func printIntents(w io.Writer, all []model.Intent) {
	if len(all) == 0 {
		fmt.Fprintln(w, "No intents.")
		return
	}
	unknown := false
	for _, in := range all {
		fmt.Fprintf(w, "%s  %s  %s\n", pad(string(in.State), 8), in.ID, shortID(in.Case))
		indented(w, "          ", intentText(in))
		unknown = unknown || in.State == model.IntentUnknown
	}
	if unknown {
		fmt.Fprintln(w)
		indented(w, "", `What is unknown may have taken effect. Find out, and say so: "kelpie intent resolve INTENT done" or "failed".`)
	}
}

func (p program) intentResolveCommand(o *options) *cobra.Command {
	order := api.Order{}
	c := &cobra.Command{
		Use: "resolve INTENT done|failed", Short: "Say what became of an intent whose outcome is unknown",
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			order.State = model.IntentState(args[1])
			if err := name(&order); err != nil {
				return err
			}
			var in model.Intent
			err := p.with(c.Context(), o, func(k *client) error {
				return k.post(c.Context(), "/v1/intents/"+url.PathEscape(args[0])+"/resolve", order, &in)
			})
			if err != nil {
				return err
			}
			if o.json {
				return printJSON(p.out, in)
			}
			printIntents(p.out, []model.Intent{in})
			return nil
		},
	}
	orderFlags(c, &order)
	return c
}

func orderFlags(c *cobra.Command, order *api.Order) {
	c.Flags().StringVar(&order.By, "by", "", "who says so, if it is not you")
	c.Flags().StringVar(&order.Because, "because", "", "why")
}

// name fills in who gives the order: whoever runs the command.
func name(order *api.Order) error {
	if order.By != "" {
		return nil
	}
	if u, err := user.Current(); err == nil && u.Username != "" {
		order.By = u.Username
		return nil
	}
	if order.By = os.Getenv("USER"); order.By != "" {
		return nil
	}
	return usage("it is not known who you are: say it with --by")
}
