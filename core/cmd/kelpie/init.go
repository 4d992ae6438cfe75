package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kelpie-sec/kelpie/core/config"
	"github.com/kelpie-sec/kelpie/core/release"
)

// initOptions are the flags of "init".
type initOptions struct {
	upgrade, yes bool
}

func (p program) initCommand(o *options) *cobra.Command {
	var flags initOptions
	c := &cobra.Command{
		Use: "init [NAME…]", Short: "Get the plugins that the configuration names a source of",
		Long: "Get the plugins that the configuration names a source of.\n\n" +
			"What is locked is fetched as it is locked. What is not is fetched in the newest version that its block allows, as is everything " +
			"with --upgrade. A version that is older than the locked one is taken only if its plugin is named here, with --upgrade.\n\n" +
			"Signature and checksums are verified, what is new is shown, and where a plugin asks for more than before, or its publisher is " +
			"another, you are asked. Only then is it started once, confined, to say whether it is what its release says. " +
			"If anything fails, all stays as it was.",
		RunE: func(c *cobra.Command, names []string) error {
			if err := o.require(); err != nil {
				return err
			}
			leave, err := config.Alone(o.folder())
			if err != nil {
				return err
			}
			defer leave()
			g, err := p.getter(o, flags, names)
			if err != nil {
				return err
			}
			return p.initPlugins(c.Context(), o, g)
		},
	}
	c.Flags().BoolVar(&flags.upgrade, "upgrade", false, "take the newest version that is allowed, not the locked one")
	c.Flags().BoolVar(&flags.yes, "yes", false, "take what asks for more, without asking")
	return c
}

func (p program) initPlugins(ctx context.Context, o *options, g *getter) error {
	defer g.close()
	if diags := g.fetch(ctx); diags.HasErrors() {
		if ctx.Err() != nil {
			return &codeError{exitFailed, "interrupted; nothing is installed"}
		}
		return p.failed(o, diags, g.source)
	}
	if !o.json {
		for _, f := range g.all {
			printFetched(p.out, f)
		}
	}
	if err := p.consent(o, g); err != nil {
		return err
	}
	if diags, err := g.inspect(ctx); err != nil || diags.HasErrors() {
		if err == nil {
			err = p.failed(o, diags, g.source)
		}
		return err
	}
	n, err := g.install()
	if err != nil {
		return fmt.Errorf("nothing is installed: %w", err)
	}
	if o.json {
		return printJSON(p.out, g.report(true))
	}
	switch {
	case len(g.all) == 0:
		indented(p.out, "", "No plugin block has a source. Write plugin \"NAME\" { source = \"…\" } for each that is to be fetched.")
	case n == 0:
		fmt.Fprintln(p.out, "Nothing is to be done.")
	default:
		indented(p.out, "", fmt.Sprintf("%s installed in %s and locked in %s. A Kelpie that runs takes what is new with \"kelpie apply\".",
			plural(n, "plugin"), g.dir, filepath.Join(o.folder(), config.LockName)))
	}
	return nil
}

// failed prints diagnostics and ends the command with exitFailed: the configuration is
// right, and what it names is not.
func (p program) failed(o *options, diags config.Diagnostics, src *config.Source) error {
	if err := p.say(o, diags, src); err != nil {
		return err
	}
	return &codeError{code: exitFailed}
}

// consent asks about each plugin that gives reason to.
func (p program) consent(o *options, g *getter) error {
	answers := bufio.NewReader(p.in)
	for _, f := range g.all {
		if len(f.reasons()) == 0 || g.flags.yes {
			continue
		}
		if o.json || !isTerminalInput(p.in) {
			if o.json {
				if err := printJSON(p.out, g.report(false)); err != nil {
					return err
				}
			}
			return &codeError{exitFailed, fmt.Sprintf("plugin %s: %s. Nothing is installed; if that is right, say --yes", f.origin.Label, strings.Join(f.reasons(), "; "))}
		}
		fmt.Fprintf(p.err, "Take %s: %s? [y/N] ", f.origin.Label, safe(strings.Join(f.reasons(), "; ")))
		answer, err := answers.ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if answer = strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
			return &codeError{exitFailed, "nothing is installed"}
		}
	}
	return nil
}

// fetchedPlugin is one of them as --json has it.
type fetchedPlugin struct {
	Name      string           `json:"name"`
	OwnName   string           `json:"own_name,omitempty"`
	Was       string           `json:"was,omitempty"` // the version that was locked
	Version   string           `json:"version"`
	Source    string           `json:"source"`
	Publisher string           `json:"publisher,omitempty"` // whose signature it has
	Key       string           `json:"key,omitempty"`
	Unchanged bool             `json:"unchanged"` // it is there as it is locked
	Changes   []release.Change `json:"changes,omitempty"`
	// Permissions that it asks for and did not: "added", and no more: "removed".
	Permissions map[string]release.Permissions `json:"permissions,omitempty"`
	Reasons     []string                       `json:"reasons,omitempty"` // to ask a person
	Notes       []string                       `json:"notes,omitempty"`
}

// initReport is what "init --json" prints.
type initReport struct {
	Installed bool            `json:"installed"`
	Plugins   []fetchedPlugin `json:"plugins"`
}

func (g *getter) report(installed bool) initReport {
	r := initReport{Installed: installed, Plugins: []fetchedPlugin{}}
	for _, f := range g.all {
		r.Plugins = append(r.Plugins, f.line())
	}
	return r
}

func (f *fetched) line() fetchedPlugin {
	l := fetchedPlugin{
		Name: f.origin.Label, Version: f.version, Source: f.origin.Source, Publisher: f.origin.Publisher, Key: f.origin.PublicKey(),
		Unchanged: f.release == nil, Notes: f.notes,
	}
	if f.origin.Name != f.origin.Label {
		l.OwnName = f.origin.Name
	}
	if f.was != nil {
		l.Was = f.was.Version
	}
	if f.release == nil {
		return l
	}
	l.Changes, l.Reasons = release.Changes(f.before, f.release.Manifest.Plugin), f.reasons()
	l.Permissions = map[string]release.Permissions{}
	for name, grown := range map[string]release.Permissions{"added": f.more(), "removed": f.less()} {
		if grown.Any() {
			l.Permissions[name] = grown
		}
	}
	return l
}

// What is shown of a release is bounded, so that who has made it cannot push out of sight
// who vouches for it, and what it asks for.
const (
	maxChanges = 100
	maxColumns = 6 * width // of one change
)

// printFetched shows what is new about a plugin.
func printFetched(w io.Writer, f *fetched) {
	l := f.line()
	head := l.Name + " " + l.Version
	if l.OwnName != "" {
		head = l.Name + " (" + l.OwnName + ") " + l.Version
	}
	if l.Unchanged {
		fmt.Fprintln(w, line(head+" is here as it is locked.", width))
	} else {
		if l.Was != "" && l.Was != l.Version {
			head += " instead of " + l.Was
		}
		indented(w, "", head+" from "+l.Source)
		printVouched(w, f, l)
	}
	for _, c := range l.Changes[:min(len(l.Changes), maxChanges)] {
		printChange(w, c)
	}
	if rest := len(l.Changes) - maxChanges; rest > 0 {
		indented(w, "  ", fmt.Sprintf("and %s more, which --json shows", plural(rest, "change")))
	}
	for _, text := range f.more().Words() {
		indented(w, "  ASKS TO ", text)
	}
	if !l.Unchanged && l.Was == "" && !f.more().Any() {
		indented(w, "  ", "asks for nothing of this machine")
	}
	for _, text := range f.less().Words() {
		indented(w, "  asks no more to ", text)
	}
	for _, text := range l.Notes {
		indented(w, "  NOTE ", text)
	}
}

func printVouched(w io.Writer, f *fetched, l fetchedPlugin) {
	if f.origin.Key == nil {
		indented(w, "  ", "NOBODY VOUCHES FOR IT: its block names no publisher, so that whoever can change the source can change the plugin.")
		return
	}
	indented(w, "  ", "signed by publisher "+l.Publisher+", key "+f.origin.Key.ID())
}

func printChange(w io.Writer, c release.Change) {
	sign := map[string]string{"added": "+", "removed": "-"}[c.Change]
	if sign == "" {
		sign = "~"
	}
	text := c.Where
	if c.Name != "" {
		text += ": " + c.What + " " + c.Name
	}
	if sign == "~" && c.Change != "changed" {
		text += " is " + c.Change + " now"
	}
	if c.Detail != "" {
		text += ", " + c.Detail
	}
	indented(w, "  "+sign+" ", line(text, maxColumns))
}

// wanted are the plugins that have a source: all, or those that are named.
func wanted(origins []config.Origin, names []string) ([]config.Origin, error) {
	var all []config.Origin
	for _, o := range origins {
		if o.Source != "" && (len(names) == 0 || slices.Contains(names, o.Label)) {
			all = append(all, o)
		}
	}
	for _, name := range names {
		if !slices.ContainsFunc(all, func(o config.Origin) bool { return o.Label == name }) {
			return nil, &codeError{exitNothing, fmt.Sprintf("there is no block plugin %q with a source", name)}
		}
	}
	return all, nil
}
