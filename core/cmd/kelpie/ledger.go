package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/model"
)

func (p program) ledgerCommand(o *options) *cobra.Command {
	var since, source string
	c := &cobra.Command{
		Use: "ledger", Short: "Say of every event what became of it, and prove that it adds up", Args: cobra.NoArgs,
		Long: "Say of every event that ever came what became of it, and prove that it adds up.\n\n" +
			"What was received is the running total of the source in the log; all else is counted by\n" +
			"what decides, in the transaction that decides it. The exit code is 1 if they differ, or if a\n" +
			"message of the log is missing.",
		RunE: func(c *cobra.Command, _ []string) error {
			q := url.Values{}
			if since != "" {
				t, err := sinceTime(since, time.Now())
				if err != nil {
					return err
				}
				q.Set("since", t.UTC().Format(time.RFC3339))
			}
			if source != "" {
				q.Set("source", source)
			}
			var l api.Ledger
			err := p.with(c.Context(), o, func(k *client) error { return k.get(c.Context(), "/v1/ledger", q, &l) })
			if err != nil {
				return err
			}
			if o.json {
				err = printJSON(p.out, l)
			} else {
				printLedger(p.out, l)
			}
			if err == nil && !l.AddsUp {
				err = &codeError{code: exitFailed}
			}
			return err
		},
	}
	c.Flags().StringVar(&since, "since", "", "only what was decided since then: 2h, 2026-03-01, 2026-03-01T12:00:00Z; from the hour's beginning")
	c.Flags().StringVar(&source, "source", "", "only this one, as detector.eve")
	return c
}

// sinceTime reads how long ago, or when.
func sinceTime(text string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	if days, err := strconv.Atoi(strings.TrimSuffix(text, "d")); err == nil && strings.HasSuffix(text, "d") && days >= 0 && days < 100_000 {
		return now.AddDate(0, 0, -days), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateTime, "2006-01-02T15:04:05", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usage("--since takes how long ago (2h, 30d) or a time in UTC (2026-03-01, 2026-03-01T12:00:00Z), not %q", text)
}

func printLedger(w io.Writer, l api.Ledger) {
	what := "all that ever came"
	if !l.Since.IsZero() {
		what = "since " + stamp(l.Since) + " UTC"
	}
	fmt.Fprintf(w, "THE LEDGER of %s\n%s UTC\n", what, stamp(l.At))
	if len(l.Sources) == 0 {
		fmt.Fprintln(w, "\nNothing ever came.")
	}
	printColumns(w, l.Sources)
	printNames(w, "IGNORED", l.Sources, func(s *api.SourceLedger) map[string]int { return s.Ignored })
	printNames(w, "ONLY COMPARED, by \"kelpie shadow report\"", l.Sources, func(s *api.SourceLedger) map[string]int { return shadowsOf(s.Shadow) })
	printNames(w, "REJECTED", l.Sources, func(s *api.SourceLedger) map[string]int { return s.Rejected })
	printLost(w, l)
	printWaits(w, l)
	fmt.Fprintln(w)
	g := l.Signals
	fmt.Fprintf(w, "%s signals = %s scored + %s waiting for lookups\n", grouped(uint64(g.Signals)), grouped(uint64(g.Scored)), grouped(uint64(g.Waiting)))
	if g.Experimental > 0 {
		indented(w, "", fmt.Sprintf("%s of experimental rules besides, which reach nobody: \"kelpie signal list --experimental\"", grouped(g.Experimental)))
	}
	indented(w, "", stepsText(l.Intents))
	printFeeds(w, l)
	printVerdict(w, l)
}

// column is a class of events with its count for each source.
type column struct {
	name  string
	of    func(*api.SourceLedger) uint64
	shown bool // also if it is nothing everywhere
	width int
}

func columnsOf(sources []api.SourceLedger) []column {
	all := []column{
		{name: "received", of: func(s *api.SourceLedger) uint64 { return s.Received }, shown: true},
		{name: "matched", of: func(s *api.SourceLedger) uint64 { return s.Matched }, shown: true},
		{name: "fact", of: func(s *api.SourceLedger) uint64 { return s.Fact }},
		{name: "passed", of: func(s *api.SourceLedger) uint64 { return s.Passed }, shown: true},
		{name: "ignored", of: func(s *api.SourceLedger) uint64 { return named(s.Ignored) }, shown: true},
		{name: "shadow", of: func(s *api.SourceLedger) uint64 { return named(s.Shadow) }},
		{name: "repeat", of: func(s *api.SourceLedger) uint64 { return s.Repeat }, shown: true},
		{name: "rejected", of: func(s *api.SourceLedger) uint64 { return named(s.Rejected) }, shown: true},
		{name: "lost", of: func(s *api.SourceLedger) uint64 { return s.Lost }},
		{name: "missing", of: func(s *api.SourceLedger) uint64 { return s.Missing }},
		{name: "pending", of: func(s *api.SourceLedger) uint64 { return s.Pending }, shown: true},
	}
	var shown []column
	for _, c := range all {
		sum := uint64(0)
		for i := range sources {
			sum += c.of(&sources[i])
		}
		if sum > 0 || c.shown {
			c.width = max(len(c.name), len(grouped(sum)))
			shown = append(shown, c)
		}
	}
	return shown
}

// shadowsOf names counts as they are read.
func shadowsOf(counts map[string]int) map[string]int {
	named := map[string]int{}
	for first, n := range counts {
		named["shadow of "+first] = n
	}
	return named
}

func named(counts map[string]int) uint64 { return uint64(total(counts)) }

// printColumns prints a row for each source, and their sum. Where the numbers leave no
// room for the names, these stand above them.
func printColumns(w io.Writer, sources []api.SourceLedger) {
	if len(sources) == 0 {
		return
	}
	all := columnsOf(sources)
	numbers, name := 0, len("all together")
	for _, c := range all {
		numbers += 2 + c.width
	}
	for i := range sources {
		name = max(name, columns(safe(sources[i].Source)))
	}
	beside := 1+name+numbers <= width
	row := func(first string, value func(column) string) {
		if !beside {
			if first != "" {
				fmt.Fprintln(w, " "+line(first, width-1))
			}
			first = ""
		}
		text := " "
		if beside {
			text += pad(line(first, name), name)
		}
		for _, c := range all {
			text += "  " + strings.Repeat(" ", max(0, c.width-len(value(c)))) + value(c)
		}
		fmt.Fprintln(w, text)
	}
	fmt.Fprintln(w)
	row("", func(c column) string { return c.name })
	for i := range sources {
		row(sources[i].Source, func(c column) string { return grouped(c.of(&sources[i])) })
	}
	if len(sources) == 1 {
		return
	}
	row("all together", func(c column) string {
		sum := uint64(0)
		for i := range sources {
			sum += c.of(&sources[i])
		}
		return grouped(sum)
	})
}

// mostNames that are listed of one kind.
const mostNames = 20

// printNames lists counts by name, the highest first.
func printNames(w io.Writer, title string, sources []api.SourceLedger, of func(*api.SourceLedger) map[string]int) {
	type named struct {
		n            int
		source, name string
	}
	var all []named
	most := 0
	for i := range sources {
		for name, n := range of(&sources[i]) {
			all, most = append(all, named{n, sources[i].Source, name}), max(most, columns(safe(sources[i].Source)))
		}
	}
	if len(all) == 0 {
		return
	}
	slices.SortFunc(all, func(a, b named) int {
		return cmp.Or(cmp.Compare(b.n, a.n), cmp.Compare(a.source, b.source), cmp.Compare(a.name, b.name))
	})
	fmt.Fprintln(w, "\n"+title)
	most = min(most, 30)
	for _, x := range all[:min(len(all), mostNames)] {
		first := fmt.Sprintf("%12s  %s", grouped(uint64(x.n)), pad(line(x.source, most), most))
		fmt.Fprintf(w, "%s  %s\n", first, line(x.name, width-columns(first)-2))
	}
	if n := len(all) - mostNames; n > 0 {
		fmt.Fprintf(w, "%12s  and %d more names: --json lists them\n", "", n)
	}
}

func printLost(w io.Writer, l api.Ledger) {
	for i := range l.Sources {
		s := &l.Sources[i]
		if s.Lost > 0 {
			fmt.Fprintln(w)
			indented(w, "LOST  ", fmt.Sprintf("%s of %s were in the log, and went from it before they were decided: "+
				"by a power cut under sync = \"interval\", or since their loss was accepted.", plural(int(s.Lost), "event"), s.Source))
		}
	}
}

func printWaits(w io.Writer, l api.Ledger) {
	for i := range l.Sources {
		s := &l.Sources[i]
		if s.Pending == 0 {
			continue
		}
		text := fmt.Sprintf("%s of %s wait to be decided", grouped(s.Pending), s.Source)
		if !s.PendingSince.IsZero() {
			text += ", the oldest since " + stamp(s.PendingSince) + " UTC (" + ago(s.PendingSince, l.At) + ")"
		}
		if !l.Running {
			text += "; Kelpie is not running"
		}
		fmt.Fprintln(w)
		indented(w, "PENDING  ", text+".")
	}
}

// intentStates in the order in which they are shown.
var intentStates = []model.IntentState{
	model.IntentDone, model.IntentAlready, model.IntentUndone, model.IntentRefused, model.IntentFailed,
	model.IntentUnknown, model.IntentPending, model.IntentGathered,
}

func stepsText(intents map[model.IntentState]uint64) string {
	sum, parts := uint64(0), []string{}
	for _, n := range intents {
		sum += n
	}
	states := slices.Clone(intentStates)
	for _, state := range slices.Sorted(maps.Keys(intents)) {
		if !slices.Contains(states, state) {
			states = append(states, state)
		}
	}
	for _, state := range states {
		if n := intents[state]; n > 0 {
			parts = append(parts, grouped(n)+" "+string(state))
		}
	}
	if sum == 0 {
		return "0 steps"
	}
	word := "steps"
	if sum == 1 {
		word = "step"
	}
	return fmt.Sprintf("%s %s = %s", grouped(sum), word, strings.Join(parts, " + "))
}

func printFeeds(w io.Writer, l api.Ledger) {
	if len(l.Sources) == 0 {
		return
	}
	fmt.Fprintln(w, "\nFEEDS")
	name := 0
	for i := range l.Sources {
		name = max(name, columns(safe(l.Sources[i].Source)))
	}
	name = min(name, 30)
	for i := range l.Sources {
		s := &l.Sources[i]
		indented(w, fmt.Sprintf("  %s  %s  ", pad(line(s.Source, name), name), pad(feedWord(s.Feed.State), 11)), feedText(s.Feed, l.At))
	}
}

// feedWord is a state as it is shown: what somebody should look at stands out.
func feedWord(state api.FeedState) string {
	if state == api.FeedBlind {
		return "BLIND"
	}
	return string(state)
}

func feedText(f api.Feed, now time.Time) string {
	event := "no event yet"
	if !f.Event.IsZero() {
		event = "last event " + ago(f.Event, now)
	}
	switch f.State {
	case api.FeedQuiet:
		return event + "; its session is well, heard of it " + ago(f.Contact, now)
	case api.FeedBlind, api.FeedHeld:
		text := "no session that works"
		if f.State == api.FeedHeld {
			text = "the log takes nothing"
		}
		if !f.Since.IsZero() {
			text += " since " + stamp(f.Since) + " UTC (" + ago(f.Since, now) + ")"
		}
		if f.Why != "" {
			text += ": " + f.Why
		}
		return text + "; " + event
	}
	return event
}

// mostFaults that are listed.
const mostFaults = 50

func printVerdict(w io.Writer, l api.Ledger) {
	for i := range l.Missing {
		if m := &l.Missing[i]; m.Accepted {
			fmt.Fprintln(w)
			indented(w, "", fmt.Sprintf("%s %v went from the log, and that was accepted.", m.Stream, m.Seqs))
		}
	}
	fmt.Fprintln(w)
	if l.AddsUp {
		sum := uint64(0)
		for i := range l.Sources {
			sum += l.Sources[i].Received
		}
		text := fmt.Sprintf("It adds up: each of the %s events is in one column.", grouped(sum))
		switch sum {
		case 0:
			text = "It adds up."
		case 1:
			text = "It adds up: the one event is in one column."
		}
		indented(w, "", text)
		return
	}
	fmt.Fprintln(w, "IT DOES NOT ADD UP")
	for _, f := range l.Faults[:min(len(l.Faults), mostFaults)] {
		indented(w, "  - ", f)
	}
	if n := len(l.Faults) - mostFaults; n > 0 {
		fmt.Fprintf(w, "  - and %d more: --json lists them\n", n)
	}
}

// grouped is a number with a comma before each three digits.
func grouped(n uint64) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
