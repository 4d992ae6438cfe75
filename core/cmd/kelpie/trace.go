package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/config"
	"github.com/kelpie-sec/kelpie/core/engine"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/trace"
	"github.com/kelpie-sec/kelpie/sdk"
)

const traceLong = `Show one event going through every stage, and the first thing that was false: why
did it not fire?

A stored event is named by its place, as "kelpie event list" shows it (120/3), by its
own id, by the id of a signal or a case, or by its detector, which means the newest.
It is traced by the configuration in force or, where --config is given, by that file as
it is now; what became of it is told beside that, and where the two differ.

With --file an event is traced as if its detector reported it now. That needs no data
folder, asks nobody, and does nothing.`

func (p program) traceCommand(o *options) *cobra.Command {
	var detector, file string
	var nth int
	c := &cobra.Command{
		Use: "trace [EVENT]", Short: "Show an event at every stage: why did it fire, or not?", Args: cobra.MaximumNArgs(1), Long: traceLong,
		Example: "  kelpie trace 120/3\n  kelpie trace c-a2e08997\n  kelpie trace --detector detector.eve --file event.json",
		RunE: func(c *cobra.Command, args []string) error {
			var r trace.Report
			var err error
			switch {
			case file != "" && len(args) > 0:
				return usage("an event, or --file: one of them")
			case file != "":
				r, err = p.traceFile(c.Context(), o, detector, file, nth)
			case len(args) == 0:
				return usage("which event? Its place, its id, a signal's or a case's, or its detector; or --file.\nSee \"%s --help\".", c.CommandPath())
			case c.Flags().Changed("nth"):
				return usage("--nth goes with --file")
			default:
				r, err = p.traceStored(c.Context(), o, api.TraceOrder{Event: args[0], Detector: detector}, c.Flags().Changed("config"))
			}
			if err != nil {
				return err
			}
			if o.json {
				return printJSON(p.out, r)
			}
			printTrace(p.out, r)
			return nil
		},
	}
	c.Flags().StringVar(&detector, "detector", "", "whose event it is, as detector.NAME")
	c.Flags().StringVar(&file, "file", "", "trace the event in this file; \"-\" is the standard input")
	c.Flags().IntVar(&nth, "nth", 1, "with --file: which of its events")
	return c
}

// traceStored asks for the trace of a stored event, by the configuration as it is written
// now if that is wanted.
func (p program) traceStored(ctx context.Context, o *options, order api.TraceOrder, written bool) (r trace.Report, err error) {
	if written {
		c, err := o.parse()
		if err != nil {
			return r, err
		}
		if c.diags.HasErrors() {
			return r, p.refuse(o, c.diags, c.source)
		}
		if order.Source, err = c.source.Encode(); err != nil {
			return r, err
		}
		order.Tables = c.source.Contents
	}
	err = p.with(ctx, o, func(k *client) error { return k.post(ctx, "/v1/trace", order, &r) })
	return r, err
}

// traceFile traces an event that is not stored.
func (p program) traceFile(ctx context.Context, o *options, detector, file string, nth int) (r trace.Report, err error) {
	if nth < 1 {
		return r, usage("--nth counts from 1")
	}
	if err := o.require(); err != nil {
		return r, err
	}
	c, err := o.parse()
	if err != nil {
		return r, err
	}
	if c.diags.HasErrors() {
		return r, p.refuse(o, c.diags, c.source)
	}
	parsed, why, diags := config.ParseExplained(c.source)
	if diags.HasErrors() {
		return r, p.refuse(o, diags, c.source)
	}
	address, err := detectorOf(parsed, detector)
	if err != nil {
		return r, err
	}
	e, more, err := p.eventOf(file, nth)
	if err != nil {
		return r, err
	}
	now := time.Now().UTC()
	t := engine.NewTracer(parsed, why, now)
	r, err = t.Given(ctx, model.Batch{Source: address, Maker: t.Makers[address], Received: now, Events: []model.Event{e}})
	if more {
		r.Note = fmt.Sprintf("%s holds more than this one; --nth %d is the next", file, nth+1)
	}
	return r, err
}

// detectorOf is the detector that a person means, by which it is known.
func detectorOf(c *config.Config, name string) (string, error) {
	var all []string
	for _, d := range c.Detectors {
		shown := c.Shown(d.Address)
		if all = append(all, shown); shown == name || shown == "detector."+name {
			return d.Address, nil
		}
	}
	slices.Sort(all)
	switch {
	case len(all) == 0:
		return "", usage("the configuration has no detector, so no event comes in")
	case name == "" && len(all) == 1:
		return c.Detectors[0].Address, nil
	case name == "":
		return "", usage("whose event is it? --detector is one of: %s", strings.Join(all, ", "))
	}
	return "", usage("there is no %s; --detector is one of: %s", name, strings.Join(all, ", "))
}

// givenID stands for the id that a source would have given to an event.
const givenID = "given"

// maxGiven bounds how much of a file is read for one event: what is more than an event may
// be is reported as its head.
const maxGiven = 8 << 20

// eventOf reads the n-th event of a file, from 1, and whether there are more. What is no
// JSON is an event as well, which match sets aside.
func (p program) eventOf(file string, nth int) (e model.Event, more bool, err error) {
	in := p.in
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return e, false, usage("%v", err)
		}
		defer f.Close()
		in = f
	}
	room := &io.LimitedReader{R: in, N: int64(nth-1)*model.MaxBatchBytes + maxGiven}
	kept := &strings.Builder{} // of what is read for this event
	d := json.NewDecoder(io.TeeReader(room, kept))
	for n := 1; ; n++ {
		start := d.InputOffset()
		var raw json.RawMessage
		err := d.Decode(&raw)
		switch {
		case errors.Is(err, io.EOF) && n == 1:
			return e, false, usage("%s is empty: an event is one JSON object", shownFile(file))
		case errors.Is(err, io.EOF):
			return e, false, usage("%s has %s, so there is no --nth %d", shownFile(file), plural(n-1, "event"), nth)
		case err != nil && n == nth:
			raw = json.RawMessage(strings.TrimSpace(kept.String()[start:]))
		case err != nil:
			return e, false, usage("%s: what comes after event %d is no JSON: %v", shownFile(file), n-1, err)
		case n < nth:
			continue
		}
		if more = err == nil && d.More(); len(raw) > model.MaxBatchBytes {
			return model.Event{
				ID: givenID, Raw: raw[:64<<10], Oversize: &sdk.Oversize{Place: shownFile(file), Length: int64(len(raw))},
			}, more, nil
		}
		return model.Event{ID: givenID, Raw: raw}, more, nil
	}
}

func shownFile(file string) string {
	if file == "-" {
		return "the standard input"
	}
	return file
}
