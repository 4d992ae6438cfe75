package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/config"
	"github.com/kelpie-sec/kelpie/core/enrich"
	"github.com/kelpie-sec/kelpie/core/eventlog"
	"github.com/kelpie-sec/kelpie/core/host"
)

var (
	errNotRunning = &api.Error{Code: http.StatusConflict, Text: "kelpie is not running; \"kelpie run\" starts with the configuration as it is then"}
	errNoReload   = &api.Error{Code: http.StatusConflict, Text: "this run ends by itself, and keeps the configuration that it was started with"}
)

// Apply reads the configuration again and puts it in force: all of it, or, if anything
// is wrong, nothing. With dryRun everything that is new is started and configured, and
// ended again. One is done at a time; others wait. If ctx ends before the switch, all is
// as it was; a switch that has begun is made.
func (k *Kelpie) Apply(ctx context.Context, dryRun bool) (api.Application, error) {
	k.mu.Lock()
	f, stopping := k.running, k.stopping
	k.mu.Unlock()
	switch {
	case stopping:
		return api.Application{}, errStopping
	case f == nil:
		return api.Application{}, errNotRunning
	case f.options.Read == nil || f.options.Once:
		return api.Application{}, errNoReload
	}
	return f.apply(ctx, dryRun)
}

func (f *flow) apply(ctx context.Context, dryRun bool) (api.Application, error) {
	if err := f.changes.begin(ctx); err != nil {
		return api.Application{}, err
	}
	type result struct {
		application api.Application
		err         error
	}
	done := make(chan result, 1)
	f.changes.running.Go(func() {
		defer f.changes.end()
		r := &reload{flow: f, now: f.changes.generation(), dryRun: dryRun, began: time.Now()}
		a, err := r.run(ctx)
		done <- result{a, err}
	})
	select {
	case r := <-done:
		return r.application, r.err
	case <-ctx.Done():
		return api.Application{}, ctx.Err()
	}
}

// reloadWhenTold applies the configuration at each signal.
func (f *flow) reloadWhenTold(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case _, ok := <-f.options.Reload:
			if !ok {
				<-ctx.Done()
				return nil
			}
		}
		if f.options.Read == nil || f.options.Once {
			f.logger.Warn("told to read the configuration again", "error", errNoReload)
			continue
		}
		f.logger.Info("told to read the configuration again")
		if a, err := f.apply(ctx, false); err != nil && ctx.Err() == nil {
			f.logger.Error("the configuration was not applied; the one before it holds", "error", err)
		} else if err == nil {
			f.tell(a)
		}
	}
}

// tell logs what came of an application that nobody waits for.
func (f *flow) tell(a api.Application) {
	var messages []config.Message
	if err := json.Unmarshal(a.Diagnostics, &messages); err != nil && len(a.Diagnostics) > 0 {
		f.logger.Error("diagnostics", "error", err)
	}
	for _, m := range messages {
		place := m.File
		if m.Line > 0 {
			place = fmt.Sprintf("%s:%d:%d", m.File, m.Line, m.Column)
		}
		log := f.logger.Warn
		if m.Severity == "error" {
			log = f.logger.Error
		}
		log("configuration: "+m.Summary, "place", place, "line", strings.TrimSpace(m.Snippet), "detail", m.Detail)
	}
	if a.Outcome == api.Refused {
		f.logger.Error("the configuration was not applied; the one before it holds", "error", a.Error)
	}
}

// reload is one attempt at putting a configuration in force.
type reload struct {
	*flow
	now    *generation
	dryRun bool
	began  time.Time

	next     Reading
	messages []config.Message
	effects  map[string]string // on instances, by address
	cursors  map[string]string // what becomes of a detector's cursor, by address, where that is to be told
}

// run returns an error only where nothing could be found out.
func (r *reload) run(ctx context.Context) (api.Application, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(r.changes.life, cancel)()

	r.next = r.options.Read()
	diags := r.next.Diagnostics
	if !diags.HasErrors() {
		diags = append(diags, r.next.Config.Fixed(r.now.Config)...)
		diags = append(diags, r.next.Config.Moved(r.now.Config)...)
	}
	if r.note(diags); diags.HasErrors() {
		return r.refuse(firstError(diags)), nil
	}
	if diags = r.lookAtCursors(ctx); diags.HasErrors() {
		r.note(diags)
		return r.refuse(firstError(diags)), nil
	}
	starting, done := context.WithTimeout(ctx, pluginStart)
	defer done()
	c, found, err := r.host.Prepare(starting, r.hostSettings(&r.next.Configuration))
	said := r.next.Config.Diagnose(found)
	r.note(said)
	switch {
	case ctx.Err() != nil:
		if r.changes.life.Err() != nil {
			return api.Application{}, errStopping
		}
		return api.Application{}, ctx.Err()
	case said.HasErrors():
		return r.refuse(firstError(said)), nil
	case err != nil:
		return r.refuse(err.Error()), nil
	}
	r.effects = c.Effects()
	a := r.result()
	take, drop, err := r.page.prepare(r.next.Config.Web)
	if err != nil {
		c.Abandon()
		return r.refuse(err.Error()), nil
	}
	switch {
	case a.Outcome == api.Unchanged || r.dryRun:
		drop()
		c.Abandon()
		return r.timed(a), nil
	}
	if err := r.flow.change(r.changes.life, r.next.Configuration, c); err != nil {
		drop()
		return r.refuse(err.Error()), nil
	}
	take()
	f := r.changes.generation()
	r.logger.Info("another configuration is in force", "config", f.hash(), "before", r.now.hash(), "number", f.number,
		"took", time.Since(r.began).Round(time.Millisecond))
	return r.timed(a), nil
}

// lookAtCursors finds out where the detectors would begin, and complains where a build
// is too old for the cursor that it would get: it could report nothing.
func (r *reload) lookAtCursors(ctx context.Context) config.Diagnostics {
	r.cursors = map[string]string{}
	var found []host.Diagnostic
	for _, in := range r.next.detectors() {
		last, _, err := r.k.log.Last(ctx, in.Address)
		if err != nil {
			continue // the switch needs the log as well, and says so
		}
		_, why, err := in.Start(last)
		if err != nil {
			found = append(found, host.Diagnostic{Instance: in.Address, Summary: "the plugin is too old for the cursor", Detail: strings.ToUpper(err.Error()[:1]) + err.Error()[1:] + "."})
		}
		r.cursors[in.Address] = why
	}
	return r.next.Config.Diagnose(found)
}

// note keeps diagnostics for who reads the result.
func (r *reload) note(diags config.Diagnostics) {
	r.messages = append(r.messages, config.Messages(diags, r.next.Source.Listing())...)
}

func firstError(diags config.Diagnostics) string {
	m := config.Messages(diags, nil)
	i := slices.IndexFunc(m, func(m config.Message) bool { return m.Severity == "error" })
	if i < 0 {
		return ""
	}
	text := m[i].Summary
	if m[i].Line > 0 {
		text = fmt.Sprintf("%s:%d: %s", m[i].File, m[i].Line, text)
	}
	if n := len(m) - 1; n > 0 {
		text += fmt.Sprintf(" (and %d more)", n)
	}
	return text
}

// refuse is the result where the configuration before holds.
func (r *reload) refuse(why string) api.Application {
	a := r.result()
	a.Outcome, a.Error = api.Refused, why
	if !r.dryRun {
		r.changes.refused(why, r.k.clock.now())
	}
	return r.timed(a)
}

func (r *reload) timed(a api.Application) api.Application {
	a.Seconds = time.Since(r.began).Seconds()
	return a
}

// result is what there is to tell so far.
func (r *reload) result() api.Application {
	a := api.Application{
		Before: r.now.hash(), At: r.k.clock.now(),
		Instances: []api.InstanceChange{}, Parts: []api.PartChange{},
	}
	var text bytes.Buffer
	if err := json.NewEncoder(&text).Encode(r.messages); err == nil && len(r.messages) > 0 {
		a.Diagnostics = text.Bytes()
	}
	if r.next.Config == nil {
		return a
	}
	a.Config = r.next.hash()
	for _, d := range r.now.Config.Differences(r.next.Config) {
		a.Parts = append(a.Parts, api.PartChange{Kind: d.Kind, Address: d.Address, What: d.What, From: d.From})
	}
	touched := len(a.Parts) > 0
	for address, what := range r.effects {
		c := api.InstanceChange{Address: address, What: what}
		c.Plugin, c.Because = r.because(address, what, a.Parts)
		if why := r.cursors[address]; why != "" && what != host.Kept {
			c.Because = strings.TrimPrefix(c.Because+"; "+why, "; ")
		}
		if c.What == host.Kept && c.Because != "" {
			c.What = host.Changed
		}
		c.Address = r.next.Config.Shown(address)
		if before := r.now.Config.Shown(address); c.What == host.Removed {
			c.Address = before
		} else if c.What != host.Added && before != c.Address {
			c.From = before
			c.Because = strings.TrimSuffix("was "+before+"; "+c.Because, "; ")
			if c.What == host.Kept {
				c.What = config.Moved
			}
		}
		touched = touched || c.What != host.Kept
		a.Instances = append(a.Instances, c)
	}
	slices.SortFunc(a.Instances, func(x, y api.InstanceChange) int { return strings.Compare(x.Address, y.Address) })
	a.Outcome = api.Applied
	switch {
	case !touched:
		a.Outcome = api.Unchanged
	case r.dryRun:
		a.Outcome = api.Planned
	}
	return a
}

// because tells an instance's plugin, and why it is not as it was, as far as the change
// itself does not say so.
func (r *reload) because(address, what string, parts []api.PartChange) (plugin, because string) {
	of := func(c *Configuration) *host.Instance {
		for i := range c.Instances {
			if c.Instances[i].Address == address {
				return &c.Instances[i]
			}
		}
		return nil
	}
	was, is := of(&r.now.Configuration), of(&r.next.Configuration)
	shown := r.next.Config.Shown(address)
	block := slices.ContainsFunc(parts, func(p api.PartChange) bool { return p.Address == shown && p.What != config.Moved })
	switch {
	case is == nil:
		return was.Plugin, ""
	case was == nil:
		return is.Plugin, ""
	case what == host.Kept:
		if !reflect.DeepEqual(r.source(r.now, address), r.source(&generation{Configuration: r.next.Configuration}, address)) {
			return is.Plugin, "its settings in Kelpie; the plugin is not asked"
		}
		return is.Plugin, ""
	case what == host.Replaced && !slices.Equal(was.Env, is.Env):
		return is.Plugin, "env"
	case what == host.Replaced && r.rebuilt(is.Plugin):
		return is.Plugin, "another build of the plugin" + r.versions(is.Plugin)
	case what == host.Replaced && is.Own && !was.Own:
		return is.Plugin, "a process of its own"
	case what == host.Replaced && was.Own && !is.Own:
		return is.Plugin, "no process of its own any more"
	case what == host.Replaced && !reflect.DeepEqual(was.Confinement, is.Confinement):
		return is.Plugin, "what its plugin may touch"
	case what == host.Replaced:
		return is.Plugin, "it names what its process may not touch"
	case !block && slices.ContainsFunc(parts, func(p api.PartChange) bool { return p.Kind == "connection" }) && !bytes.Equal(was.Connection, is.Connection):
		return is.Plugin, "its connection"
	case !block:
		return is.Plugin, "a value that its block reads: a secret, a file or a variable"
	}
	return is.Plugin, ""
}

// rebuilt tells whether a plugin is another file than before.
func (r *reload) rebuilt(plugin string) bool {
	of := func(l host.Lock) string {
		for _, p := range l.Plugins {
			if p.Name == plugin {
				return p.SHA256[host.Platform()]
			}
		}
		return ""
	}
	return of(r.now.Lock) != of(r.next.Lock)
}

// versions of a plugin, before and after, where they differ.
func (r *reload) versions(plugin string) string {
	of := func(l host.Lock) string {
		for _, p := range l.Plugins {
			if p.Name == plugin {
				return p.Version
			}
		}
		return "none"
	}
	was, is := of(r.now.Lock), of(r.next.Lock)
	if was == is {
		return ""
	}
	return ": " + was + " → " + is
}

// source is what Kelpie itself does with an enrichment; nil of anything else.
func (r *reload) source(g *generation, address string) *enrich.Source {
	for _, sources := range [][]enrich.Source{g.Config.Enrich.Sources, g.Config.Enrich.Shadows} {
		for i := range sources {
			if s := &sources[i]; s.Address == address {
				return s
			}
		}
	}
	return nil
}

// errLogSick is why nothing can be put in force now.
var errLogSick = errors.New("the log can't be written now, and a configuration comes into force by it; \"kelpie status\" says what is wrong")

// errInputsFull likewise.
var errInputsFull = fmt.Errorf("the log has no room for another configuration: %w", eventlog.ErrFull)
