package main

import (
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/model"
)

func (p program) heldCommand(o *options) *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use: "held", Short: "List what is contained: on what, since when, until when, and for which cases", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			q := url.Values{}
			if all {
				q.Set("all", "")
			}
			var holds []api.Held
			err := p.with(c.Context(), o, func(k *client) error { return k.get(c.Context(), "/v1/holds", q, &holds) })
			if err != nil {
				return err
			}
			if o.json {
				return printJSON(p.out, holds)
			}
			printHeld(p.out, holds)
			return nil
		},
	}
	c.Flags().BoolVar(&all, "all", false, "also what was released")
	return c
}

func (p program) releaseCommand(o *options) *cobra.Command {
	order, all := api.Order{}, false
	c := &cobra.Command{
		Use: "release HOLD|TARGET --because TEXT", Short: "Let go of what is contained, and undo it",
		Long: `Let go of what is contained, for all cases that hold it, and undo it.

With --case, that case alone lets go; it is undone when the last has. With --all, all
that is held is let go. A hold whose undo has failed, or of which nobody knows what
became, is undone once more.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case all && (len(args) > 0 || order.Case != ""):
				return usage("--all lets go of everything: name no hold and no case")
			case !all && len(args) == 0:
				return usage("name what is let go, as \"kelpie held\" lists it; or all of it, with --all")
			}
			if all {
				var holds []api.Held
				return p.orderHeld(c, o, &order, "/v1/holds/release", &holds, func() []api.Held { return holds })
			}
			var h api.Held
			return p.orderHeld(c, o, &order, "/v1/holds/"+url.PathEscape(args[0])+"/release", &h, func() []api.Held { return []api.Held{h} })
		},
	}
	orderFlags(c, &order)
	c.Flags().StringVar(&order.Case, "case", "", "the case that lets go; without it, all do")
	c.Flags().BoolVar(&all, "all", false, "let go of all that is held")
	return c
}

func (p program) extendCommand(o *options) *cobra.Command {
	order, forever := api.Order{}, false
	c := &cobra.Command{
		Use: "extend HOLD|TARGET --for TIME --because TEXT", Short: "Hold on to what is contained for longer",
		Long: `Hold on to what is contained for longer than was planned: by the time that --for says,
or with --forever until somebody lets it go.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if forever == (order.For != "") {
				return usage("say by how much, with --for 2h, or --forever")
			}
			var h api.Held
			return p.orderHeld(c, o, &order, "/v1/holds/"+url.PathEscape(args[0])+"/extend", &h, func() []api.Held { return []api.Held{h} })
		},
	}
	orderFlags(c, &order)
	c.Flags().StringVar(&order.Case, "case", "", "the case that holds it for longer; without it, all do")
	c.Flags().StringVar(&order.For, "for", "", "by how much, such as 2h")
	c.Flags().BoolVar(&forever, "forever", false, "until somebody lets it go")
	return c
}

// orderHeld gives an order about what is held, and prints what came of it.
func (p program) orderHeld(c *cobra.Command, o *options, order *api.Order, path string, into any, shown func() []api.Held) error {
	if strings.TrimSpace(order.Because) == "" {
		return usage("say why, with --because: whoever looks at this later needs it")
	}
	if err := name(order); err != nil {
		return err
	}
	if err := p.with(c.Context(), o, func(k *client) error { return k.post(c.Context(), path, *order, into) }); err != nil {
		return err
	}
	if o.json {
		return printJSON(p.out, into)
	}
	printHeld(p.out, shown())
	return nil
}

// holdStates as people read them.
var holdStates = map[model.HoldState]string{
	model.HoldInForce: "in force", model.HoldReleasing: "releasing", model.HoldReleased: "released",
	model.HoldStuck: "STUCK", model.HoldUnknown: "UNKNOWN",
}

func printHeld(w io.Writer, all []api.Held) {
	if len(all) == 0 {
		fmt.Fprintln(w, "Nothing is held.")
		return
	}
	states := map[model.HoldState]bool{}
	for i, h := range all {
		if i > 0 {
			fmt.Fprintln(w)
		}
		states[h.State] = true
		printHold(w, h)
	}
	if states[model.HoldStuck] {
		fmt.Fprintln(w)
		indented(w, "", `What is stuck is still in force. "kelpie release" tries again; or end it by hand, and say so: "kelpie intent resolve UNDO done".`)
	}
	if states[model.HoldUnknown] {
		fmt.Fprintln(w)
		indented(w, "", `What is unknown may have been released. Find out, and say so: "kelpie intent resolve UNDO done" or "failed"; or let "kelpie release" try again.`)
	}
}

// printHold prints what is held and its state, and below who holds it.
func printHold(w io.Writer, h api.Held) {
	state := holdStates[h.State]
	fmt.Fprintf(w, "%s %s\n", pad(line(h.Target.Value, width-12), width-11), pad("", 10-columns(state))+state)
	indented(w, "  ", fmt.Sprintf("%s by %s since %s UTC (%s)", h.Verb, h.Action, stamp(h.Since), ago(h.Since, h.At)))
	fmt.Fprintf(w, "  %s\n", h.ID)
	for _, o := range h.Owners {
		first := fmt.Sprintf("  %s  ", shortID(o.Case))
		switch {
		case !o.Wants() && o.By != "":
			indented(w, first, fmt.Sprintf("let go by %s at %s: %s", o.By, stamp(o.LetGoAt), o.Because))
		case !o.Wants():
			indented(w, first, fmt.Sprintf("let go at %s: %s", stamp(o.LetGoAt), o.Because))
		case o.After == 0:
			fmt.Fprintf(w, "%s%s%s\n", first, pad("until somebody lets go", 41), o.Intent)
		default:
			until := fmt.Sprintf("until %s (%s)", stamp(o.Until), in(o.Until, h.At))
			fmt.Fprintf(w, "%s%s%s\n", first, pad(until, 41), o.Intent)
		}
	}
	if h.Undo == "" || h.State == model.HoldInForce {
		return
	}
	text := "undo " + h.Undo
	switch {
	case h.State == model.HoldReleased:
		text += " at " + stamp(h.ChangedAt)
	case h.Waits != "":
		text += " waits: " + h.Waits
	case h.LastError != "":
		text += fmt.Sprintf(" was tried %s, last: %s", times(h.Attempts), h.LastError)
	case h.Message != "":
		text += ": " + h.Message
	}
	if h.Told > 0 && h.State != model.HoldReleased {
		text += fmt.Sprintf("; people were told of it %s, last at %s", times(h.Told), stamp(h.ToldAt))
	}
	indented(w, "  ", text)
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// in is how long after now t is, in one unit.
func in(t, now time.Time) string {
	d := t.Sub(now)
	switch {
	case d <= 0:
		return "now"
	case d < time.Minute:
		return fmt.Sprintf("in %ds", int(d.Seconds())+1)
	case d < time.Hour:
		return fmt.Sprintf("in %dm", int(d.Round(time.Minute).Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("in %dh", int(d.Round(time.Hour).Hours()))
	}
	return fmt.Sprintf("in %dd", int(d.Round(24*time.Hour).Hours()/24))
}
