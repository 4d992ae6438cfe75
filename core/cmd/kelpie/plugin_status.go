package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/enrich"
	"github.com/kelpie-sec/kelpie/core/host"
)

func (p program) pluginStatusCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "status [NAME]", Short: "Say how the plugins run, and how their calls went", Args: cobra.MaximumNArgs(1),
		Long: "Say how the plugins run, and how their calls went: of all, or of the one with this name.\n\n" +
			"Counts are since Kelpie began to run. They belong to the block of the configuration, and do not start over when a plugin is started again or a configuration is applied.\n\n" +
			"Errors are calls that failed, in whole or in part, by whose fault that was: the plugin's (it crashed, did not answer in time or broke the contract), the vendor's (away, over its quota, refused the key), or the input's (what it was given).",
		RunE: func(c *cobra.Command, args []string) error {
			var all []api.PluginStatus
			err := p.with(c.Context(), o, func(k *client) error { return k.get(c.Context(), "/v1/plugins/status", nil, &all) })
			if err != nil {
				return err
			}
			if len(args) > 0 {
				all = slices.DeleteFunc(all, func(s api.PluginStatus) bool { return s.Plugin != args[0] })
				if len(all) == 0 {
					return &codeError{exitNothing, fmt.Sprintf("no plugin %s runs; \"kelpie plugin list\" lists those that are locked", line(args[0], 30))}
				}
			}
			if o.json {
				return printJSON(p.out, all)
			}
			if len(all) == 0 {
				fmt.Fprintln(p.out, "No plugin runs: either Kelpie does not, or its configuration uses none.")
				return nil
			}
			for i, s := range all {
				if i > 0 {
					fmt.Fprintln(p.out)
				}
				printPluginStatus(p.out, s, time.Now())
			}
			return nil
		},
	}
}

func printPluginStatus(w io.Writer, s api.PluginStatus, now time.Time) {
	text := strings.TrimSpace(line(s.Plugin, 30) + " " + line(s.Version, 30))
	text += fmt.Sprintf(": %s since %s UTC (%s)", s.State, stamp(s.Since), ago(s.Since, now))
	if s.PID != 0 {
		text += fmt.Sprintf(", process %d", s.PID)
	}
	indented(w, "", text)
	printEnding(w, s, now)
	if !s.Behind.IsZero() {
		indented(w, "  wants all processors: ", fmt.Sprintf("it comes after everything else since %s UTC (%s)", stamp(s.Behind), ago(s.Behind, now)))
	}
	if s.DroppedLogs > 0 {
		indented(w, "  prints too much: ", plural(int(s.DroppedLogs), "line")+" not logged")
	}
	if s.State == host.Failed {
		indented(w, "  do: ", fmt.Sprintf("mend it, then \"kelpie plugin restart %s\"", line(s.Plugin, 30)))
	}
	fmt.Fprintf(w, "  %-30s %-10s %8s %6s %5s %5s %5s\n", "INSTANCE", "STATE", "CALLS", "ERRORS", "HELD", "P50", "P99")
	for i := range s.Instances {
		printInstance(w, &s.Instances[i], now)
	}
}

// printEnding shows how often the process was started again, and why it last ended.
// That is the same for all that were there.
func printEnding(w io.Writer, s api.PluginStatus, now time.Time) {
	restarts := 0
	var last *host.Ending
	for _, in := range s.Instances {
		restarts = max(restarts, in.Restarts)
		if in.Ending != nil && (last == nil || in.Ending.At.After(last.At)) {
			last = in.Ending
		}
	}
	if restarts > 0 {
		fmt.Fprintf(w, "  started again: %s\n", times(restarts))
	}
	if last == nil {
		return
	}
	indented(w, "  last ended: ", fmt.Sprintf("%s UTC (%s): %s", stamp(last.At), ago(last.At, now), last.Reason))
	if len(last.Tail) > 0 {
		fmt.Fprintln(w, "  it last said:")
		for _, l := range last.Tail {
			indented(w, "    | ", l)
		}
	}
}

func printInstance(w io.Writer, in *api.InstanceStatus, now time.Time) {
	var calls, errors uint64
	var busiest *api.Calls
	for i := range in.Calls {
		c := &in.Calls[i]
		calls, errors = calls+c.Calls.Calls, errors+c.Errors()
		if c.P50 > 0 && (busiest == nil || c.Calls.Calls > busiest.Calls.Calls) {
			busiest = c
		}
	}
	half, most := "-", "-"
	if busiest != nil {
		half, most = brief(busiest.P50), brief(busiest.P99)
	}
	state := string(in.State)
	if in.Leaving {
		state = "leaving"
	}
	fmt.Fprintf(w, "  %s %-10s %8d %6d %5d %5s %5s\n", pad(line(in.Instance, 30), 30), state, calls, errors, in.HeldBack, half, most)
	if in.Trouble != "" {
		indented(w, "    trouble: ", in.Trouble+", since "+stamp(in.Since)+" UTC")
	}
	if len(in.Calls) > 1 || errors > 0 || in.InFlight > 0 {
		for i := range in.Calls {
			printCalls(w, &in.Calls[i])
		}
	}
	if f := in.Failure; f != nil {
		indented(w, "    last failed: ", fmt.Sprintf("%s UTC (%s): %s", stamp(f.At), ago(f.At, now), f.Reason))
	}
	if in.InFlight > 0 {
		fmt.Fprintf(w, "    in flight: %d\n", in.InFlight)
	}
	if in.HeldBecause != "" {
		indented(w, "    held back: ", in.HeldBecause)
	}
	printQuota(w, in)
}

func printCalls(w io.Writer, c *api.Calls) {
	what := "call"
	if c.Method == "detect" {
		what = "session"
	}
	text := plural(int(c.Calls.Calls), what)
	var faults []string
	for _, f := range []struct {
		n    uint64
		whom string
	}{{c.Plugin, "the plugin's"}, {c.Vendor, "the vendor's"}, {c.Input, "the input's"}} {
		if f.n > 0 {
			faults = append(faults, fmt.Sprintf("%d by %s fault", f.n, f.whom))
		}
	}
	if len(faults) > 0 {
		text += "; failed: " + strings.Join(faults, ", ")
	}
	if c.Nobody > 0 {
		text += fmt.Sprintf("; %d cancelled", c.Nobody)
	}
	if c.P50 > 0 {
		text += fmt.Sprintf("; half within %s, 99 of 100 within %s", brief(c.P50), brief(c.P99))
	}
	indented(w, "    "+c.Method+": ", text)
}

func printQuota(w io.Writer, in *api.InstanceStatus) {
	var left []string
	if q := in.Quota; q != nil {
		text := fmt.Sprintf("%d by the vendor's word at %s UTC", q.Left, stamp(q.Told))
		if !q.Resets.IsZero() {
			text += ", until " + stamp(q.Resets) + " UTC"
		}
		left = append(left, text)
	}
	for _, own := range []struct {
		room enrich.Room
		per  string
	}{{in.Minute, "minute"}, {in.Day, "day"}} {
		if own.room.Limit > 0 {
			left = append(left, fmt.Sprintf("%d of the %d that the block allows a %s", own.room.Left, own.room.Limit, own.per))
		}
	}
	if len(left) > 0 {
		indented(w, "    quota left: ", strings.Join(left, "; "))
	}
}

// brief is a time in at most five columns.
func brief(seconds float64) string {
	switch d := time.Duration(seconds * float64(time.Second)); {
	case d < time.Millisecond:
		return "<1ms"
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	default:
		return fmt.Sprintf("%.0fs", d.Seconds())
	}
}
