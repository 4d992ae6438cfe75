package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kelpie-sec/kelpie/core/config"
	"github.com/kelpie-sec/kelpie/core/host"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/release"
)

func (p program) pluginCommand(o *options) *cobra.Command {
	c := &cobra.Command{Use: "plugin", Short: "The plugins"}
	c.AddCommand(
		p.pluginListCommand(o), p.pluginStatusCommand(o), p.pluginLockCommand(o), p.pluginNewCommand(o),
		p.pluginCheckCommand(o), p.pluginCallCommand(o), p.pluginDocsCommand(o), p.pluginRestartCommand(o),
		p.pluginBecomeCommand(),
		p.pluginPackCommand(o), p.pluginKeygenCommand(o),
	)
	return c
}

// pluginLine is a plugin in a list: what is locked, and how it runs.
type pluginLine struct {
	Name       string        `json:"name"`
	OwnName    string        `json:"own_name,omitempty"` // what it calls itself, where that is another
	Version    string        `json:"version"`
	SHA256     string        `json:"sha256"`
	Source     string        `json:"source,omitempty"`
	Publisher  string        `json:"publisher,omitempty"` // the key
	Connectors []string      `json:"connectors"`
	Asks       permissions   `json:"asks"`
	Running    []host.Status `json:"running,omitempty"`
}

func (p program) pluginListCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the plugins that are locked, how they run, and what they may touch", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			lock, diags := config.ReadLock(o.folder())
			if diags.HasErrors() {
				return p.refuse(o, diags, nil)
			}
			schemas, err := config.ReadSchemas(o.folder())
			if err != nil {
				return err
			}
			var running []host.Status
			err = p.with(c.Context(), o, func(k *client) error { return k.get(c.Context(), "/v1/plugins", nil, &running) })
			var none *codeError
			if err != nil && (!errors.As(err, &none) || none.code != exitNothing) {
				return err
			}
			lines := pluginLines(lock, schemas, running)
			if o.json {
				return printJSON(p.out, lines)
			}
			printPlugins(p.out, lines)
			return nil
		},
	}
}

func pluginLines(lock host.Lock, schemas map[string]model.Plugin, running []host.Status) []pluginLine {
	lines := []pluginLine{}
	for _, l := range lock.Plugins {
		out := pluginLine{
			Name: l.Name, OwnName: l.Own, Version: l.Version, SHA256: l.SHA256[host.Platform()],
			Source: l.Source, Publisher: l.Publisher, Connectors: []string{},
		}
		schema := schemas[l.Name]
		out.Asks = permissions{Read: schema.Read, Write: schema.Write, Network: schema.Network}
		for _, k := range schema.Connectors {
			name := string(k.Kind)
			if k.Name != "" {
				name += " " + k.Name
			}
			out.Connectors = append(out.Connectors, name)
		}
		for _, r := range running {
			if r.Plugin == l.Name {
				out.Running = append(out.Running, r)
			}
		}
		lines = append(lines, out)
	}
	for _, r := range running { // one that is attached need not be locked
		if r.Attached && !slices.ContainsFunc(lines, func(l pluginLine) bool { return l.Name == r.Plugin }) {
			lines = append(lines, pluginLine{Name: r.Plugin, Version: r.Version, Connectors: []string{}, Running: []host.Status{r}})
		}
	}
	return lines
}

// origin says where a plugin came from, if that is known, and what it calls itself.
func (l pluginLine) origin() string {
	text := ""
	if l.OwnName != "" {
		text = "calls itself " + l.OwnName
	}
	if l.Source == "" {
		return text
	}
	if text != "" {
		text += ", "
	}
	text += "from " + l.Source + ", "
	if key, err := release.ParseKey(l.Publisher); err == nil {
		return text + "signed by key " + key.ID()
	}
	return text + "signed by nobody"
}

func printPlugins(w io.Writer, lines []pluginLine) {
	if len(lines) == 0 {
		fmt.Fprintln(w, "No plugins are locked; \"kelpie plugin lock\" does it.")
		return
	}
	fmt.Fprintf(w, "%-14s  %-9s  %-12s  %s\n", "PLUGIN", "VERSION", "SHA256", "OFFERS")
	for _, l := range lines {
		fmt.Fprintf(w, "%-14s  %-9s  %-12.12s  %s\n", line(l.Name, 14), line(l.Version, 9), safe(l.SHA256), line(strings.Join(l.Connectors, ", "), width-41))
		if text := l.origin(); text != "" {
			indented(w, "  ", text)
		}
		if len(l.Running) == 0 {
			printAsked(w, l.Asks)
		}
		for _, r := range l.Running {
			if r.Attached {
				warnAttached(w, "  ", r.Plugin, r.Path, r.PID)
			}
			text := string(r.State)
			if r.PID > 0 {
				text += fmt.Sprintf(", process %d", r.PID)
			}
			text += ", since " + stamp(r.Since) + " UTC"
			if r.Restarts > 0 {
				text += ", " + plural(r.Restarts, "restart")
			}
			indented(w, "  ", text)
			if r.Why != "" {
				indented(w, "    ", "last ended at "+stamp(r.ErrorAt)+" UTC: "+r.Why)
				indented(w, "    binary  ", r.Path)
				printSaid(w, "    ", r.Line, r.Tail)
			}
			for _, in := range r.Instances {
				indented(w, "    ", strings.TrimSuffix(fmt.Sprintf("%s %s: %s", in.Address, in.State, in.Trouble), ": "))
			}
			if !r.Attached { // who started that one has said what it may
				printConfined(w, r.Confined)
			}
		}
	}
}

func (p program) pluginRestartCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "restart NAME", Short: "Start a plugin again that has failed", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			err := p.with(c.Context(), o, func(k *client) error {
				return k.post(c.Context(), "/v1/plugins/"+url.PathEscape(args[0])+"/restart", nil, &struct{}{})
			})
			if err != nil {
				return err
			}
			if o.json {
				return printJSON(p.out, map[string]string{"restarted": args[0]})
			}
			_, err = fmt.Fprintf(p.out, "Plugin %s is started again; \"kelpie plugin list\" says how it runs.\n", line(args[0], 30))
			return err
		},
	}
}
