package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/config"
	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/engine"
	"github.com/kelpie-sec/kelpie/core/host"
	"github.com/kelpie-sec/kelpie/core/store"
)

func (p program) runCommand(o *options) *cobra.Command {
	var once, rewind, accept bool
	c := &cobra.Command{
		Use: "run", Short: "Run Kelpie", Args: cobra.NoArgs,
		Long: "Run Kelpie until it is told to stop (Ctrl-C, SIGTERM).\n\n" +
			"With --once it reads every source that can end to its end, finishes all work, prints a summary, and exits.",
		RunE: func(c *cobra.Command, _ []string) error { return p.runKelpie(c.Context(), o, once, rewind, accept) },
	}
	c.Flags().BoolVar(&once, "once", false, "read every source that can end to its end, finish, and exit")
	c.Flags().BoolVar(&rewind, "rewind", false, "forget where the sources were, and read them from their beginning")
	c.Flags().BoolVar(&accept, "accept-loss", false, "go on although the log has lost events that it had acknowledged")
	c.Flags().StringVar(&o.level, "log-level", "", "debug, info, warn or error; by default info, with --once warn")
	return c
}

func (p program) runKelpie(ctx context.Context, o *options, once, rewind, accept bool) error {
	switch o.level {
	case "debug", "info", "warn", "error":
	case "":
		o.level = "info"
		if once {
			o.level = "warn"
		}
	default:
		return usage("--log-level is debug, info, warn or error, not %q", o.level)
	}
	hangups := make(chan os.Signal, 1)
	if !once {
		signal.Notify(hangups, syscall.SIGHUP)
		defer signal.Stop(hangups)
	}
	if err := p.attach(ctx, o); err != nil {
		return err
	}
	options, settings, err := p.prepare(o)
	if err != nil {
		return err
	}
	defer tendMemory(ctx)()
	options.Reload = hangups
	options.Once, options.Rewind = once, rewind
	settings.AcceptLoss = accept
	var k *engine.Kelpie
	err = patiently(ctx, func() bool { return answers(settings.DataDir) }, func() error {
		k, err = engine.Open(ctx, settings)
		return err
	})
	switch {
	case err != nil && ctx.Err() != nil && once:
		return engine.ErrCut
	case err != nil && ctx.Err() != nil:
		return nil // to be told to stop is no failure, whenever it comes
	case err != nil:
		return err
	}
	defer k.Close() //nolint:errcheck // closed with its error below, where it matters
	screen := p.screen(once)
	options.Progress = screen.progress
	began := time.Now()
	if !once {
		fmt.Fprintf(p.err, "kelpie %s runs with %s (actions: %s); Ctrl-C stops it\n", version(), o.config, options.Config.Kelpie.Actions)
	}
	err = k.Run(ctx, options)
	screen.clear()
	var refused *engine.RefusedError
	if errors.As(err, &refused) {
		return p.refuse(o, append(refused.Moves, options.Config.Diagnose(refused.Diagnostics)...), options.Config.Source)
	}
	if err != nil {
		return err
	}
	if once {
		for _, d := range options.Config.Detectors {
			if !d.Finite {
				fmt.Fprintf(p.err, "%s has no end, and was not read\n", options.Config.Shown(d.Address))
			}
		}
		if err := p.summary(ctx, o, k, time.Since(began)); err != nil {
			return err
		}
	}
	return k.Close()
}

// prepare reads the configuration, its lock and its secrets.
func (p program) prepare(o *options) (engine.RunOptions, engine.Settings, error) {
	fail := func(err error) (engine.RunOptions, engine.Settings, error) {
		return engine.RunOptions{}, engine.Settings{}, err
	}
	if err := o.require(); err != nil {
		return fail(err)
	}
	read, err := o.read()
	if err != nil {
		return fail(err)
	}
	if read.Diagnostics.HasErrors() {
		return fail(p.refuse(o, read.Diagnostics, read.Source))
	}
	if !o.json {
		if err := p.say(o, read.Diagnostics, read.Source); err != nil {
			return fail(err)
		}
	}
	kelpie := read.Config.Kelpie
	if kelpie.Sync == "interval" {
		fmt.Fprintf(p.err, "sync = \"interval\": a power cut may lose what came in the last %s\n", kelpie.SyncInterval)
	}
	again := func() engine.Reading {
		r, _ := o.read() // an error is of the flags, and was told at the start
		return r
	}
	return engine.RunOptions{Configuration: read.Configuration, Read: again}, p.dataSettings(o, kelpie), nil
}

// read reads all that a Kelpie runs by: the configuration, the lock and the secrets.
func (o *options) read() (engine.Reading, error) {
	c, err := o.parse()
	r := engine.Reading{Diagnostics: c.diags, Source: c.source}
	if err != nil || c.config == nil || c.diags.HasErrors() {
		return r, err
	}
	lock, diags := config.ReadLock(o.folder())
	if r.Diagnostics = append(r.Diagnostics, diags...); !diags.HasErrors() {
		r.Diagnostics = append(r.Diagnostics, c.config.Refusals()...)
		r.Diagnostics = append(r.Diagnostics, c.config.Certified(time.Now())...)
		r.Diagnostics = append(r.Diagnostics, c.config.Unlocked(o.attached.trusted(lock))...)
		r.Diagnostics = append(r.Diagnostics, c.config.Unvouched(o.attached.trusted(lock))...)
	}
	if r.Diagnostics.HasErrors() {
		return r, nil
	}
	if o.data != "" {
		c.config.Kelpie.DataDir = o.data // which is not the configuration's to say
	}
	for name := range o.attached.plugins {
		c.config.Patient(name, host.AttachedPatience)
	}
	secrets := config.Secrets(c.config.Kelpie.SecretsDir)
	instances, diags := c.config.Resolve(secrets)
	r.Diagnostics = append(r.Diagnostics, diags...)
	r.Configuration = engine.Configuration{
		Config: c.config, Instances: instances, Lock: lock,
		LockFile: filepath.Join(o.folder(), config.LockName), PluginDir: c.config.Kelpie.PluginDir,
		Attached: o.attached.plugins, Secrets: secrets,
	}
	return r, nil
}

// dataSettings are how the data folder is opened, by every command the same.
func (p program) dataSettings(o *options, k config.Kelpie) engine.Settings {
	dir := k.DataDir
	if o.data != "" {
		dir = o.data
	}
	return engine.Settings{
		DataDir: dir, Sync: k.Sync, SyncInterval: k.SyncInterval, Keep: k.Keep,
		EventsBytes: k.EventsBytes, InputsBytes: k.InputsBytes, RejectedBytes: k.RejectedBytes,
		RejectedQuota: k.RejectedQuota, Reserve: k.Reserve,
		Version: version(), Logger: p.logger(o),
	}
}

// screen shows how far a run has come on one line of a terminal.
type screen struct {
	out   *os.File // nil: no terminal
	shown bool
}

func (p program) screen(once bool) *screen {
	f, ok := p.err.(*os.File)
	if !once || !ok || !isTerminal(f) {
		return &screen{}
	}
	return &screen{out: f}
}

func (s *screen) progress(p engine.Progress) {
	if s.out == nil {
		return
	}
	text := fmt.Sprintf("%d events, %d of %d sources read", p.Events, p.Ended, p.Sources)
	if p.Ended == p.Sources {
		text += fmt.Sprintf("; waiting: %d batches, %d answers, %d steps", p.Unmatched, p.Answers, p.Steps)
	}
	s.shown = true
	fmt.Fprintf(s.out, "\r\x1b[K%s", line(text, width-1))
}

func (s *screen) clear() {
	if s.shown {
		fmt.Fprint(s.out, "\r\x1b[K")
	}
}

// Summary of a run with --once.
type Summary struct {
	Seconds float64        `json:"seconds"`
	Counts  store.Counts   `json:"counts"`
	Sources []sourceLine   `json:"sources"`
	Cases   []api.CaseLine `json:"cases"`
}

// sourceLine adds up what became of one source's events.
type sourceLine struct {
	Source   string         `json:"source"`
	Received uint64         `json:"received"`
	Matched  uint64         `json:"matched"`
	Fact     uint64         `json:"fact,omitempty"`
	Passed   uint64         `json:"passed"`
	Ignored  map[string]int `json:"ignored,omitempty"`
	Rejected map[string]int `json:"rejected,omitempty"`
	Repeated uint64         `json:"repeated"`
	Shadow   map[string]int `json:"shadow,omitempty"`
}

func sourceLines(sources []decide.SourceState) []sourceLine {
	lines := []sourceLine{}
	for _, s := range sources {
		lines = append(lines, sourceLine{
			Source: s.Source, Received: s.Sum.Received, Matched: s.Sum.Matched, Fact: s.Sum.Fact, Passed: s.Sum.Passed,
			Ignored: s.Sum.Ignored, Rejected: s.Sum.Rejected, Repeated: s.Sum.Repeat,
			Shadow: s.Sum.Shadow,
		})
	}
	return lines
}

func (p program) summary(ctx context.Context, o *options, k *engine.Kelpie, took time.Duration) error {
	s := Summary{Seconds: took.Seconds(), Cases: []api.CaseLine{}}
	var err error
	if s.Counts, err = k.Store().Counts(ctx); err != nil {
		return err
	}
	sources, err := k.Store().Sources(ctx)
	if err != nil {
		return err
	}
	s.Sources = sourceLines(sources)
	cases, err := k.Store().Cases(ctx, store.CaseQuery{})
	if err != nil {
		return err
	}
	for _, c := range cases {
		s.Cases = append(s.Cases, api.Line(c))
	}
	if o.json {
		return printJSON(p.out, s)
	}
	p.printSummary(s)
	return nil
}

// mostCases that a summary lists.
const mostCases = 10

func (p program) printSummary(s Summary) {
	for _, l := range s.Sources {
		fmt.Fprintf(p.out, "%s: %d events; %d matched, %d passed", l.Source, l.Received, l.Matched, l.Passed)
		if l.Fact > 0 {
			fmt.Fprintf(p.out, ", %s", plural(int(l.Fact), "fact"))
		}
		if n := total(l.Ignored); n > 0 {
			fmt.Fprintf(p.out, ", %d ignored", n)
		}
		if n := total(l.Rejected); n > 0 {
			fmt.Fprintf(p.out, ", %d set aside", n)
		}
		if n := total(l.Shadow); n > 0 {
			fmt.Fprintf(p.out, ", %d only compared", n)
		}
		if l.Repeated > 0 {
			fmt.Fprintf(p.out, ", %d repeated", l.Repeated)
		}
		fmt.Fprintln(p.out)
	}
	c := s.Counts
	fmt.Fprintf(p.out, "%s of %s; steps: %d done, %d failed, %d unknown, %d waiting. %.1f s.\n\n",
		plural(c.Cases, "case"), plural(c.Signals, "signal"), c.IntentsDone, c.IntentsFailed, c.IntentsUnknown, c.IntentsPending, s.Seconds)
	printCases(p.out, s.Cases[:min(len(s.Cases), mostCases)])
	if len(s.Cases) > mostCases {
		fmt.Fprintf(p.out, "and %d more: \"kelpie case list\"\n", len(s.Cases)-mostCases)
	}
}

func total(counts map[string]int) int {
	n := 0
	for _, k := range counts {
		n += k
	}
	return n
}
