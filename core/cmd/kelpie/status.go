package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/model"
)

func (p program) statusCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Say what is broken, since when, what waits, and what to do", Args: cobra.NoArgs,
		Long: "Say what is broken, since when, what waits, and what to do.\n\nThe exit code is 4 if something is broken.",
		RunE: func(c *cobra.Command, _ []string) error {
			var s api.Status
			err := p.with(c.Context(), o, func(k *client) error { return k.get(c.Context(), "/v1/status", nil, &s) })
			if err != nil {
				return err
			}
			if o.json {
				err = printJSON(p.out, s)
			} else {
				printStatus(p.out, s)
			}
			if err == nil && len(s.Troubles) > 0 {
				err = &codeError{code: exitTrouble}
			}
			return err
		},
	}
}

func printStatus(w io.Writer, s api.Status) {
	state := "not running"
	if s.Running {
		state = "running since " + stamp(s.Since) + " UTC"
	}
	fmt.Fprintf(w, "kelpie %s, %s\n", s.Version, state)
	if g := s.Generation; g != nil {
		printGeneration(w, *g)
	}
	if s.Actions != "" {
		fmt.Fprintf(w, "actions are %q\n", s.Actions)
	}
	if f := s.Paused; f != nil {
		text := fmt.Sprintf("actions are paused by %s since %s UTC%s", f.PausedBy, stamp(f.PausedAt), ending(f.PausedUntil))
		if f.PausedReason != "" {
			text += ": " + f.PausedReason
		}
		indented(w, "", text)
	}
	if len(s.Pauses) > 0 {
		printPauses(w, decide.Flags{Pauses: s.Pauses})
	}
	for _, r := range s.Plugins {
		if r.Attached {
			warnAttached(w, "", r.Plugin, r.Path, r.PID)
		}
	}
	printTroubles(w, s)
	printSetAside(w, s)
	c := s.Counts
	fmt.Fprintf(w, "\n%s, %s; intents: %d done, %d pending, %d failed, %d unknown\n",
		plural(c.Cases, "case"), plural(c.Signals, "signal"), c.IntentsDone, c.IntentsPending, c.IntentsFailed, c.IntentsUnknown)
	if n := s.Held[model.HoldInForce] + s.Held[model.HoldReleasing] + s.Held[model.HoldStuck] + s.Held[model.HoldUnknown]; n > 0 {
		fmt.Fprintf(w, "%s: \"kelpie held\" lists what is contained\n", plural(n, "hold"))
	}
	fmt.Fprintf(w, "log: %d MB of events; waiting: %d batches to match, %d inputs to decide, %d answers\n",
		s.Log.EventsBytes>>20, s.Log.Unmatched, s.Log.Undecided, c.AsksPending)
	printParts(w, s)
}

func printGeneration(w io.Writer, g api.Generation) {
	text := fmt.Sprintf("configuration %s since %s UTC", short(g.Config), stamp(g.Since))
	if g.Number > 1 {
		text += fmt.Sprintf(", the %s of this run", ordinal(g.Number))
	}
	indented(w, "", text)
	if g.RefusedBecause != "" {
		indented(w, "", fmt.Sprintf("another one was refused at %s UTC: %s", stamp(g.RefusedAt), g.RefusedBecause))
	}
	for _, l := range g.Leaving {
		indented(w, "  ", fmt.Sprintf("%s was in force until %s UTC, and stays for now: %s", l.Address, stamp(l.Since), l.Because))
	}
}

func ordinal(n int) string {
	ending := "th"
	if n%100 < 11 || n%100 > 13 {
		switch n % 10 {
		case 1:
			ending = "st"
		case 2:
			ending = "nd"
		case 3:
			ending = "rd"
		}
	}
	return fmt.Sprint(n) + ending
}

func printTroubles(w io.Writer, s api.Status) {
	if len(s.Troubles) == 0 {
		fmt.Fprintln(w, "\nNothing is broken.")
		return
	}
	fmt.Fprintln(w, "\nBROKEN")
	for _, t := range s.Troubles {
		text := t.What
		if !t.Since.IsZero() {
			text += ", since " + stamp(t.Since) + " UTC (" + ago(t.Since, s.At) + ")"
		}
		indented(w, "  - ", text)
		if t.Waits != "" {
			indented(w, "    waits: ", t.Waits)
		}
		if t.Do != "" {
			indented(w, "    do: ", t.Do)
		}
	}
}

func printSetAside(w io.Writer, s api.Status) {
	if len(s.SetAside) == 0 {
		return
	}
	fmt.Fprintln(w, "\nSET ASIDE: no rule has seen these; \"kelpie event rejected\" lists them")
	for _, a := range s.SetAside {
		indented(w, "  - ", fmt.Sprintf("%s: %d of %d events, %d of them in the last 24 hours; first %s, last %s UTC",
			a.Source, a.Events, a.Received, a.Day, hour(a.First), hour(a.Last)))
		reasons := slices.SortedFunc(maps.Keys(a.Reasons), func(x, y string) int {
			return cmp.Or(cmp.Compare(a.Reasons[y], a.Reasons[x]), cmp.Compare(x, y))
		})
		for _, r := range reasons[:min(len(reasons), mostReasons)] {
			indented(w, fmt.Sprintf("  %7d  ", a.Reasons[r]), r)
		}
		if n := len(reasons) - mostReasons; n > 0 {
			fmt.Fprintf(w, "           and %d more reasons\n", n)
		}
	}
}

// mostReasons that are shown of one source.
const mostReasons = 5

// hour is a time that is known to the hour.
func hour(t time.Time) string { return t.UTC().Format("2006-01-02 15h") }

func printParts(w io.Writer, s api.Status) {
	if len(s.Detectors) > 0 {
		fmt.Fprintln(w, "\nDETECTORS")
		for _, d := range s.Detectors {
			f := s.Feeds[d.Instance]
			text := fmt.Sprintf("%d events, last %s", d.Total, ago(f.Event, s.At))
			if f.State == api.FeedQuiet {
				text += ", heard of it " + ago(f.Contact, s.At)
			}
			if d.Behind > 0 {
				text += fmt.Sprintf(", %d %s behind", d.Behind, line(d.BehindUnit, 12))
			}
			fmt.Fprintf(w, "  %s %s %s\n", pad(feedWord(f.State), 9), pad(d.Instance, 24), line(text, width-37))
		}
	}
	if len(s.Enrichments) > 0 {
		fmt.Fprintln(w, "\nENRICHMENTS")
		for _, e := range s.Enrichments {
			name := e.Enrichment
			if e.Shadow != "" {
				name += " (shadow)"
			}
			fmt.Fprintf(w, "  %s %s\n", pad(name, 34),
				line(fmt.Sprintf("%d calls, %d from cache, %d failed, %d wait", e.Calls, e.Hits, e.Failures, e.Waiting), width-37))
		}
	}
	if len(s.Rules) > 0 {
		fmt.Fprintln(w, "\nRULES OVER SEVERAL")
		for _, r := range s.Rules {
			text := fmt.Sprintf("%s, %s, %d KB", plural(r.Groups, "group"), plural(r.Facts, "fact"), r.Bytes>>10)
			if n := r.Evicted + r.Crowded; n > 0 {
				text += fmt.Sprintf(", %d let go", n)
			}
			if r.Late > 0 {
				text += fmt.Sprintf(", %d late", r.Late)
			}
			fmt.Fprintf(w, "  %s %s\n", pad(r.Rule, 34), line(text, width-37))
		}
	}
	if len(s.Tables) > 0 {
		fmt.Fprintln(w, "\nTABLES")
		for _, t := range s.Tables {
			fmt.Fprintf(w, "  %s %s\n", pad(t.Table, 24),
				line(fmt.Sprintf("%s, %s since %s", plural(t.Rows, "row"), short(t.Version), stamp(t.Since)), width-27))
		}
	}
	if len(s.Plugins) > 0 {
		fmt.Fprintln(w, "\nPLUGINS")
		for _, p := range s.Plugins {
			fmt.Fprintf(w, "  %s %s %s\n", pad(string(p.State), 10), pad(p.Plugin+" "+p.Version, 23),
				line(fmt.Sprintf("since %s, %s", stamp(p.Since), plural(p.Restarts, "restart")), width-37))
		}
	}
}
