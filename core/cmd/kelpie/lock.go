package main

import (
	"context"
	"errors"
	"fmt"
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

// inspectTimeout bounds the start of one plugin that is only asked what it is.
const inspectTimeout = 20 * time.Second

func (p program) pluginLockCommand(o *options) *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use: "lock [NAME…]", Short: "Pin the plugins by their checksums, and keep what they say of themselves",
		Long: "Pin the plugins by their checksums, and keep what they say of themselves.\n\n" +
			"Each plugin is started once, without any configuration, and asked what it is. Do this for plugins that you trust: what is locked is run.",
		RunE: func(c *cobra.Command, names []string) error {
			src, err := o.source()
			if err != nil {
				return err
			}
			if dir == "" {
				dir = config.Peek(src).PluginDir
			}
			var origins []config.Origin
			if src != nil {
				if _, all, diags := config.Origins(src); !diags.HasErrors() { // which are for validate
					origins = append([]config.Origin{}, all...)
				}
			}
			leave, err := config.Alone(o.folder())
			if err != nil {
				return err
			}
			defer leave()
			locked, lost, err := lockPlugins(c.Context(), o.folder(), dir, names, origins)
			if err != nil {
				return err
			}
			for _, l := range lost {
				indented(p.err, "", fmt.Sprintf("%s was fetched by \"kelpie init\" from %s, and is another file now: it is locked by hand from here on, and nobody vouches for it.", l.Name, l.Source))
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
// schemas. Without names it takes all, and forgets those that are gone; not those that
// "kelpie init" gets again. It returns what it has locked, and of that the former entries
// whose origin does not hold any more.
func lockPlugins(ctx context.Context, folder, dir string, names []string, origins []config.Origin) (done, lost []host.LockedPlugin, err error) {
	lock, diags := config.ReadLock(folder)
	if diags.HasErrors() {
		return nil, nil, diags
	}
	schemas, err := config.ReadSchemas(folder)
	if err != nil {
		return nil, nil, err
	}
	all := len(names) == 0
	if all {
		if names, err = executables(dir); err != nil {
			return nil, nil, err
		}
		lock.Plugins = slices.DeleteFunc(lock.Plugins, func(l host.LockedPlugin) bool {
			return !slices.Contains(names, l.Name) && (l.Source == "" || !sourced(l.Name, origins))
		})
		for name := range schemas {
			if !slices.ContainsFunc(lock.Plugins, func(l host.LockedPlugin) bool { return l.Name == name }) {
				delete(schemas, name)
			}
		}
	}
	for _, name := range names {
		ctx, cancel := context.WithTimeout(ctx, inspectTimeout)
		plugin, sum, err := host.Inspect(ctx, filepath.Join(dir, name))
		cancel()
		if err != nil {
			return nil, nil, err
		}
		own := ownName(name, lock, origins)
		if plugin.Name != own {
			return nil, nil, fmt.Errorf("%s calls itself %q; rename the file, or write plugin %q { name = %q }", filepath.Join(dir, name), plugin.Name, name, plugin.Name)
		}
		plugin = called(plugin, name)
		entry := host.LockedPlugin{Name: name, Own: plugin.OwnName, Version: plugin.Version, SHA256: map[string]string{}}
		i := slices.IndexFunc(lock.Plugins, func(l host.LockedPlugin) bool { return l.Name == name })
		if i >= 0 && lock.Plugins[i].Version == plugin.Version {
			// The same release for other platforms stays.
			entry.SHA256 = lock.Plugins[i].SHA256
		}
		if i >= 0 && lock.Plugins[i].Source != "" {
			if was := lock.Plugins[i]; was.SHA256[host.Platform()] == sum && was.Version == plugin.Version {
				entry.Source, entry.Publisher = was.Source, was.Publisher
			} else {
				lost = append(lost, was)
			}
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
	return done, lost, errors.Join(config.WriteSchemas(folder, list), config.WriteLock(folder, lock))
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

// sourced tells whether "kelpie init" gets a plugin; without origins, which is when there
// is no configuration, it may.
func sourced(label string, origins []config.Origin) bool {
	return origins == nil || slices.ContainsFunc(origins, func(o config.Origin) bool { return o.Label == label && o.Source != "" })
}

// ownName is what a plugin must call itself: as the configuration says, or else the lock.
func ownName(label string, lock host.Lock, origins []config.Origin) string {
	for _, o := range origins {
		if o.Label == label {
			return o.Name
		}
	}
	for _, l := range lock.Plugins {
		if l.Name == label {
			return l.OwnName()
		}
	}
	return label
}

// labelled is what a plugin says of itself, by the name that the configuration has for it:
// that of its file, if a plugin block says so.
func (o *options) labelled(plugin model.Plugin, path string) model.Plugin {
	src, err := o.source()
	if err != nil || src == nil {
		return plugin
	}
	label := strings.TrimSuffix(filepath.Base(path), ".exe")
	_, origins, _ := config.Origins(src) // what is wrong with them is said when they are used
	if slices.ContainsFunc(origins, func(x config.Origin) bool { return x.Label == label && x.Name == plugin.Name }) {
		return called(plugin, label)
	}
	return plugin
}

// called is what a plugin says of itself, by the name that the configuration has for it.
func called(plugin model.Plugin, label string) model.Plugin {
	if plugin.Name != label {
		plugin.OwnName, plugin.Name = plugin.Name, label
	}
	return plugin
}
