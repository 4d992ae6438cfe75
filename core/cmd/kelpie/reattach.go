package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/kelpie-sec/kelpie/core/config"
	"github.com/kelpie-sec/kelpie/core/host"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// attached are the plugins that are not to be started, since somebody runs them in a
// debugger, and what each last said of itself.
type attached struct {
	plugins   map[string]host.Attached
	described map[string]model.Plugin
	lock      host.Lock // says what they call themselves
}

// attach reads KELPIE_REATTACH, and warns of what it asks for.
func (p program) attach(ctx context.Context, o *options) error {
	plugins, err := host.ParseAttached(os.Getenv(sdk.ReattachEnv))
	if err != nil {
		return usage("%v", err)
	}
	lock, _ := config.ReadLock(o.folder()) // what is wrong with it is said when it is used
	o.attached = attached{plugins: plugins, described: map[string]model.Plugin{}, lock: lock}
	for _, name := range slices.Sorted(maps.Keys(plugins)) {
		if err := o.attached.describe(ctx, name); err != nil {
			return err
		}
		a := plugins[name]
		warnAttached(p.err, "", name, a.Socket, a.PID)
	}
	return nil
}

func (a attached) describe(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, inspectTimeout)
	defer cancel()
	about, err := host.DescribeAttached(ctx, ownName(name, a.lock, nil), a.plugins[name])
	if err == nil {
		a.described[name] = called(about, name)
	}
	return err
}

// schemas are those beside the lock file, and of what is attached its own; nil: nothing
// is, and the former will do.
func (a attached) schemas(folder string) (map[string]model.Plugin, error) {
	if len(a.plugins) == 0 {
		return nil, nil
	}
	all, err := config.ReadSchemas(folder)
	if err != nil {
		return nil, err
	}
	for name := range a.plugins {
		// One that is away for the moment is taken for what it last said it was.
		_ = a.describe(context.Background(), name)
		all[name] = a.described[name]
	}
	return all, nil
}

// trusted is the lock as if it had what is attached.
func (a attached) trusted(lock host.Lock) host.Lock {
	plugins := slices.DeleteFunc(slices.Clone(lock.Plugins), func(l host.LockedPlugin) bool {
		_, ok := a.plugins[l.Name]
		return ok
	})
	for name, about := range a.described {
		plugins = append(plugins, host.LockedPlugin{Name: name, Own: about.OwnName, Version: about.Version})
	}
	return host.Lock{Plugins: plugins}
}

// warnAttached says loudly what is dangerous about a plugin that is attached.
func warnAttached(w io.Writer, indent, name, socket string, pid int) {
	by := ""
	if pid > 0 {
		by = fmt.Sprintf(" to process %d", pid)
	}
	indented(w, indent+"WARNING: ", fmt.Sprintf("plugin %s is attached%s by %s. It is not verified against the lock, has up to %s for "+
		"each call, and is not restarted by Kelpie. This is for a debugger, never for work. Who serves this socket is taken for it: %s",
		name, by, sdk.ReattachEnv, hours(host.AttachedPatience), socket))
}

func hours(d time.Duration) string { return plural(int(d.Hours()), "hour") }
