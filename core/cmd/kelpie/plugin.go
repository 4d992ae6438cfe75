package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kelpie-sec/kelpie/core/config"
	"github.com/kelpie-sec/kelpie/core/host"
	"github.com/kelpie-sec/kelpie/core/model"
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
	Version    string        `json:"version"`
	SHA256     string        `json:"sha256"`
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
		out := pluginLine{Name: l.Name, Version: l.Version, SHA256: l.SHA256[host.Platform()], Connectors: []string{}}
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

func printPlugins(w io.Writer, lines []pluginLine) {
	if len(lines) == 0 {
		fmt.Fprintln(w, "No plugins are locked; \"kelpie plugin lock\" does it.")
		return
	}
	fmt.Fprintf(w, "%-14s  %-9s  %-12s  %s\n", "PLUGIN", "VERSION", "SHA256", "OFFERS")
	for _, l := range lines {
		fmt.Fprintf(w, "%-14s  %-9s  %-12.12s  %s\n", line(l.Name, 14), line(l.Version, 9), safe(l.SHA256), line(strings.Join(l.Connectors, ", "), width-41))
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

// inspectTimeout bounds the start of one plugin that is only asked what it is.
const inspectTimeout = 20 * time.Second

func (p program) pluginLockCommand(o *options) *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use: "lock [NAME…]", Short: "Pin the plugins by their checksums, and keep what they say of themselves",
		Long: "Pin the plugins by their checksums, and keep what they say of themselves.\n\n" +
			"Each plugin is started once, without any configuration, and asked what it is. Do this for plugins that you trust: what is locked is run.",
		RunE: func(c *cobra.Command, names []string) error {
			if dir == "" {
				k, err := o.kelpie()
				if err != nil {
					return err
				}
				dir = k.PluginDir
			}
			locked, err := lockPlugins(c.Context(), o.folder(), dir, names)
			if err != nil {
				return err
			}
			if o.json {
				return printJSON(p.out, locked)
			}
			schemas, err := config.ReadSchemas(o.folder())
			if err != nil {
				return err
			}
			for _, l := range locked {
				fmt.Fprintf(p.out, "%s  %s\n", line(l.Name+" "+l.Version, 24), l.SHA256[host.Platform()][:16])
				for _, left := range schemas[l.Name].LeftOut {
					indented(p.out, "  ", "without "+left)
				}
			}
			fmt.Fprintf(p.out, "%s locked in %s.\n", plural(len(locked), "plugin"), filepath.Join(o.folder(), config.LockName))
			return nil
		},
	}
	c.Flags().StringVar(&dir, "plugin-dir", "", "the folder of the plugins, instead of the configuration's")
	return c
}

// lockPlugins asks the plugins of a folder what they are, and writes the lock and the
// schemas. Without names it takes all, and forgets those that are gone.
func lockPlugins(ctx context.Context, folder, dir string, names []string) ([]host.LockedPlugin, error) {
	lock, diags := config.ReadLock(folder)
	if diags.HasErrors() {
		return nil, diags
	}
	schemas, err := config.ReadSchemas(folder)
	if err != nil {
		return nil, err
	}
	all := len(names) == 0
	if all {
		if names, err = executables(dir); err != nil {
			return nil, err
		}
		lock.Plugins = slices.DeleteFunc(lock.Plugins, func(l host.LockedPlugin) bool { return !slices.Contains(names, l.Name) })
		for name := range schemas {
			if !slices.Contains(names, name) {
				delete(schemas, name)
			}
		}
	}
	var done []host.LockedPlugin
	for _, name := range names {
		ctx, cancel := context.WithTimeout(ctx, inspectTimeout)
		plugin, sum, err := host.Inspect(ctx, filepath.Join(dir, name))
		cancel()
		if err != nil {
			return nil, err
		}
		if plugin.Name != name {
			return nil, fmt.Errorf("%s calls itself %q; rename the file", filepath.Join(dir, name), plugin.Name)
		}
		entry := host.LockedPlugin{Name: name, Version: plugin.Version, SHA256: map[string]string{}}
		i := slices.IndexFunc(lock.Plugins, func(l host.LockedPlugin) bool { return l.Name == name })
		if i >= 0 && lock.Plugins[i].Version == plugin.Version {
			// The same release for other platforms stays.
			entry.SHA256 = lock.Plugins[i].SHA256
		}
		entry.SHA256[host.Platform()] = sum
		if i >= 0 {
			lock.Plugins[i] = entry
		} else {
			lock.Plugins = append(lock.Plugins, entry)
		}
		schemas[name] = plugin
		done = append(done, entry)
	}
	list := make([]model.Plugin, 0, len(schemas))
	for _, s := range schemas {
		list = append(list, s)
	}
	return done, errors.Join(config.WriteSchemas(folder, list), config.WriteLock(folder, lock))
}

// executables are the names of a folder's programs, sorted.
func executables(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, &codeError{exitNothing, "there is no folder " + dir + " with plugins; --plugin-dir names another"}
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		if info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			names = append(names, strings.TrimSuffix(e.Name(), ".exe"))
		}
	}
	return names, nil
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
