package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kelpie-sec/kelpie/core/api"
)

func (p program) scheduleCommand(o *options) *cobra.Command {
	c := &cobra.Command{Use: "schedule", Short: "Who is on call"}
	c.AddCommand(
		&cobra.Command{
			Use: "list", Short: "List the schedules, with who is on call now and next", Args: cobra.NoArgs,
			RunE: func(c *cobra.Command, _ []string) error {
				all, err := p.schedules(c, o)
				if err != nil {
					return err
				}
				if o.json {
					return printJSON(p.out, all)
				}
				printSchedules(p.out, all)
				return nil
			},
		},
		&cobra.Command{
			Use: "show NAME", Short: "Show the shifts of a schedule, as far as they are known", Args: cobra.ExactArgs(1),
			RunE: func(c *cobra.Command, args []string) error {
				all, err := p.schedules(c, o)
				if err != nil {
					return err
				}
				address := "schedule." + strings.TrimPrefix(args[0], "schedule.")
				for _, s := range all {
					if s.Address != address {
						continue
					}
					if o.json {
						return printJSON(p.out, s)
					}
					printSchedule(p.out, s)
					return nil
				}
				return usage("nothing is known of a schedule %q; \"kelpie schedule list\" lists what is", args[0])
			},
		},
	)
	return c
}

func (p program) schedules(c *cobra.Command, o *options) (all []api.OnCall, err error) {
	err = p.with(c.Context(), o, func(k *client) error { return k.get(c.Context(), "/v1/schedules", nil, &all) })
	return all, err
}

func printSchedules(w io.Writer, all []api.OnCall) {
	if len(all) == 0 {
		fmt.Fprintln(w, "No schedule is known.")
		return
	}
	for i, s := range all {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintln(w, line(s.Address, width))
		printOnCall(w, s)
	}
}

// printOnCall prints who is on call now and next.
func printOnCall(w io.Writer, s api.OnCall) {
	indented(w, "  now   ", onCallText(s.Now, s.NowUntil, s.Until))
	if s.NowUntil.Before(s.Until) && !s.NowUntil.IsZero() {
		indented(w, "  next  ", onCallText(s.Next, s.NextUntil, s.Until))
	}
	if s.Problem != "" {
		indented(w, "  ", "It can't be read, and what was known of it counts: "+s.Problem)
	}
}

// onCallText says until when somebody is on call; at the end of what is known that is not
// the end of a shift.
func onCallText(people []string, until, known time.Time) string {
	text := "nobody"
	if len(people) > 0 {
		text = strings.Join(people, ", ")
	}
	switch {
	case until.IsZero():
		return text
	case !until.Before(known):
		text += ", at least"
	default:
		text += ","
	}
	return text + " until " + stamp(until) + " UTC"
}

// shownShifts bounds what is printed of a schedule.
const shownShifts = 40

func printSchedule(w io.Writer, s api.OnCall) {
	fmt.Fprintln(w, line(s.Address, width))
	printOnCall(w, s)
	fmt.Fprintln(w)
	shown := 0
	for _, shift := range s.Shifts {
		if !shift.To.After(s.At) {
			continue
		}
		if shown++; shown <= shownShifts {
			indented(w, fmt.Sprintf("  %s  %s  ", stamp(shift.From), stamp(shift.To)), strings.Join(shift.People, ", "))
		}
	}
	switch {
	case shown == 0:
		fmt.Fprintln(w, "  No shift is known.")
	case shown > shownShifts:
		fmt.Fprintf(w, "  and %d more\n", shown-shownShifts)
	}
	if !s.Until.IsZero() {
		fmt.Fprintf(w, "\nIt is known up to %s UTC.\n", stamp(s.Until))
	}
}
