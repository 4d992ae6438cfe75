package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/config"
	"github.com/kelpie-sec/kelpie/core/match"
	"github.com/kelpie-sec/kelpie/core/model"
)

// ruleCost is what a rule takes.
type ruleCost struct {
	Rule string `json:"rule"`
	// Each is the time that one event takes, in nanoseconds; nil: nothing was measured.
	Each *int64 `json:"ns_per_event,omitempty"`
	// Measured are the events that this is the mean of.
	Measured uint64 `json:"measured"`
	Signals  uint64 `json:"signals"`
	Lookups  uint64 `json:"lookups"`
	// Memory of its windows; nil: it has none.
	Memory *api.RuleMemory `json:"memory,omitempty"`
}

func (p program) ruleCostCommand(o *options) *cobra.Command {
	var events, source string
	c := &cobra.Command{
		Use: "cost", Short: "Say what each rule takes: time, signals, lookups, memory", Args: cobra.NoArgs,
		Long: "Say what each rule takes: time of an event, signals, lookups that it was the first\n" +
			"to need, and the memory of its windows. Time and memory are those of the Kelpie that\n" +
			fmt.Sprintf("runs, which measures one event of %d; signals and lookups are counted for ever.\n\n", match.MeasuredOf) +
			"With --events nothing is read but the configuration and the lines of a file: what\n" +
			"these events would take. A pipeline's time is that of its conditions and its map.",
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := p.rules(o)
			if err != nil {
				return err
			}
			var costs []ruleCost
			if events == "" {
				activity, err := p.activity(c.Context(), o)
				if err != nil {
					return err
				}
				costs = liveCosts(cfg, activity)
			} else {
				samples, err := sampleOf(cfg, events, source)
				if err != nil {
					return err
				}
				costs = triedCosts(cfg, samples)
			}
			slices.SortStableFunc(costs, func(a, b ruleCost) int { return cmp.Compare(b.each(), a.each()) })
			if o.json {
				return printJSON(p.out, costs)
			}
			printRuleCosts(p.out, costs)
			return nil
		},
	}
	c.Flags().StringVar(&events, "events", "", "measure the events of this file, one a line, instead of what runs")
	c.Flags().StringVar(&source, "source", "", "with --events: as events of this detector, as detector.NAME; by default of each")
	return c
}

func (c *ruleCost) each() int64 {
	if c.Each == nil {
		return -1
	}
	return *c.Each
}

// costed are the addresses of all rules and pipelines, rules in the order of the files.
func costed(c *config.Config) []string {
	var all []string
	for i := range c.Rules {
		all = append(all, c.Rules[i].Address)
	}
	for i := range c.Match.Sources {
		for j := range c.Match.Sources[i].Pipelines {
			all = append(all, nowOf(c, c.Match.Sources[i].Pipelines[j].Address))
		}
	}
	seen := map[string]bool{}
	return slices.DeleteFunc(all, func(address string) bool {
		again := seen[address]
		seen[address] = true
		return again
	})
}

// nowOf is the address of now of what is known by another.
func nowOf(c *config.Config, identity string) string {
	if now, ok := c.Names[identity]; ok {
		return now
	}
	return identity
}

func liveCosts(c *config.Config, activity map[string]api.RuleActivity) []ruleCost {
	costs := []ruleCost{}
	for _, address := range costed(c) {
		a := activity[address]
		cost := ruleCost{Rule: address, Signals: a.Signals, Lookups: a.Lookups, Memory: a.Memory}
		if a.Use != nil && a.Use.Events > 0 {
			each := a.Use.Each().Nanoseconds()
			cost.Each, cost.Measured = &each, a.Use.Events
		}
		costs = append(costs, cost)
	}
	return costs
}

// sampleOf is a file's lines as events of one detector, or of each, by what it is known as.
func sampleOf(c *config.Config, path, source string) (map[string][][]byte, error) {
	sample, err := readSample(path)
	if err != nil {
		return nil, err
	}
	samples := map[string][][]byte{}
	for i := range c.Match.Sources {
		if detector := c.Match.Sources[i].Detector; source == "" || nowOf(c, detector) == source {
			samples[detector] = sample
		}
	}
	if len(samples) == 0 {
		return nil, usage("there is no %s that a pipeline reads; \"kelpie validate --explain-cost\" names those that are", source)
	}
	return samples, nil
}

// triedCosts are what samples of events take, which are by detector.
func triedCosts(c *config.Config, samples map[string][][]byte) []ruleCost {
	costs := map[string]*ruleCost{}
	for _, address := range costed(c) {
		costs[address] = &ruleCost{Rule: address}
	}
	of := func(identity string) *ruleCost { return costs[nowOf(c, identity)] }
	for i := range c.Match.Sources {
		s := &c.Match.Sources[i]
		sample := samples[s.Detector]
		if len(sample) == 0 {
			continue
		}
		measured := match.Explain(s, sample)
		for _, e := range measured.Expressions {
			if cost := of(e.Of); cost != nil { // an ignore is none
				if cost.Each == nil {
					cost.Each = new(int64)
				}
				*cost.Each += e.Each.Nanoseconds()
				cost.Measured = uint64(len(sample) - measured.Unread)
			}
		}
		try(c, s, sample, of)
	}
	var all []ruleCost
	for _, address := range costed(c) {
		all = append(all, *costs[address])
	}
	return all
}

// try counts the signals that a sample makes, and the lookups that they would need if
// nothing were known yet.
func try(c *config.Config, s *match.Source, sample [][]byte, of func(string) *ruleCost) {
	w := match.NewWorker(&match.Settings{Sources: []match.Source{*s}})
	b := model.Batch{Source: s.Detector, Received: time.Now()}
	for i, raw := range sample {
		b.Events = append(b.Events, model.Event{ID: fmt.Sprint(i), Raw: json.RawMessage(raw)})
	}
	res, _ := w.Match(&b, 1)
	asked := map[string]bool{}
	for i := range res.Signals {
		g := &res.Signals[i]
		cost := of(g.Rule)
		if cost == nil {
			continue
		}
		cost.Signals++
		if g.Experimental {
			continue
		}
		for _, o := range g.Observables {
			for _, e := range c.Decide.Sources {
				key := e.Address + " " + o.Key()
				if asked[key] || !slices.Contains(e.Takes, o.Kind) || !e.Internal && c.Decide.Own(o) {
					continue
				}
				asked[key] = true
				cost.Lookups++
			}
		}
	}
}

func printRuleCosts(w io.Writer, costs []ruleCost) {
	if len(costs) == 0 {
		fmt.Fprintln(w, "No rules.")
		return
	}
	const name = 30
	fmt.Fprintf(w, "%s  %9s  %9s  %9s  %s\n", pad("RULE", name), "NS/EVENT", "SIGNALS", "LOOKUPS", "MEMORY")
	for _, c := range costs {
		each, memory := "-", "-"
		if c.Each != nil {
			each = grouped(uint64(*c.Each))
		}
		if m := c.Memory; m != nil {
			memory = fmt.Sprintf("%.1f MB", float64(m.Bytes)/1e6)
		}
		fmt.Fprintf(w, "%s  %9s  %9s  %9s  %s\n", pad(line(c.Rule, name), name), each, grouped(c.Signals), grouped(c.Lookups), memory)
		if m := c.Memory; m != nil && m.Evicted > 0 {
			indented(w, "  ", fmt.Sprintf("%s in %s; %d groups were evicted for want of room", plural(m.Facts, "fact"), plural(m.Groups, "group"), m.Evicted))
		}
	}
}
