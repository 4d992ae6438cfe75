package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/config"
	"github.com/kelpie-sec/kelpie/core/host"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/release"
)

// getter gets plugins from their sources: fetch, then inspect, then install, each if the
// one before found nothing wrong.
type getter struct {
	flags   initOptions
	named   []string // on the command line
	source  *config.Source
	folder  string // of the configuration
	dir     string // of the plugins
	lock    host.Lock
	schemas map[string]model.Plugin
	all     []*fetched
	stage   string // a folder within dir; empty: there is none yet
}

// fetched is one plugin on its way.
type fetched struct {
	origin config.Origin
	was    *host.LockedPlugin // nil: it was not locked
	before model.Plugin       // what it said of itself then

	version string
	release *release.Release // nil: it is here as it is locked
	path    string           // of its executable, not yet where it belongs
	notes   []string
	again   bool // of the version that is locked there are other bytes
}

func (p program) getter(o *options, flags initOptions, names []string) (*getter, error) {
	src, err := o.source()
	if err != nil {
		return nil, err
	}
	if src == nil {
		read, err := o.parse()
		if err != nil {
			return nil, err
		}
		return nil, p.refuse(o, read.diags, nil)
	}
	kelpie, origins, diags := config.Origins(src)
	if diags.HasErrors() {
		return nil, p.refuse(o, diags, src)
	}
	g := &getter{flags: flags, named: names, source: src, folder: o.folder(), dir: kelpie.PluginDir}
	if g.lock, diags = config.ReadLock(g.folder); diags.HasErrors() {
		return nil, p.refuse(o, diags, nil)
	}
	if g.schemas, err = config.ReadSchemas(g.folder); err != nil {
		return nil, err
	}
	if origins, err = wanted(origins, names); err != nil {
		return nil, err
	}
	for _, origin := range origins {
		f := &fetched{origin: origin}
		for i := range g.lock.Plugins {
			if g.lock.Plugins[i].Name == origin.Label {
				f.was, f.before = &g.lock.Plugins[i], known(g.lock.Plugins[i], origin, g.schemas[origin.Label])
			}
		}
		g.all = append(g.all, f)
	}
	return g, nil
}

// known is what a locked plugin said of itself: nothing, if the schema is of another
// version, as after an end between schemas and lock, or the plugin is another. What it
// asks for is then all new.
func known(was host.LockedPlugin, origin config.Origin, schema model.Plugin) model.Plugin {
	if schema.Version != was.Version || was.OwnName() != origin.Name {
		return model.Plugin{}
	}
	return schema
}

// fetch finds, verifies and downloads what is not here yet. It runs nothing.
func (g *getter) fetch(ctx context.Context) config.Diagnostics {
	var all config.Diagnostics
	for _, f := range g.all {
		all = append(all, g.fetchOne(ctx, f)...)
	}
	return all
}

func (g *getter) fetchOne(ctx context.Context, f *fetched) config.Diagnostics {
	source, err := release.OpenSource(f.origin.Source, g.source.Dir)
	if err != nil {
		return f.unusable(err)
	}
	if diags := g.choose(ctx, f, source); diags.HasErrors() {
		return diags
	}
	if g.settled(f) {
		return nil
	}
	if f.release, err = source.Release(ctx, f.origin.Name, f.version, f.origin.Key); err != nil {
		return f.unusable(err)
	}
	if diags := g.asLocked(f); diags.HasErrors() {
		return diags
	}
	dir, err := g.staging(f.origin.Label)
	if err == nil {
		f.path, err = f.release.Fetch(ctx, host.Platform(), dir)
	}
	if err != nil {
		return f.unusable(err)
	}
	return nil
}

// unusable complains about a release, at what of the block it goes against.
func (f *fetched) unusable(err error) config.Diagnostics {
	text := err.Error() + "."
	if errors.Is(err, release.ErrUnsigned) {
		return f.origin.Complaint("publisher", "Not signed", text+" Ask him for the signature. Without \"publisher\" nobody would vouch for the plugin.")
	}
	return f.origin.Complaint("source", "Plugin not fetched", text)
}

// choose finds the version to take: the locked one, or the newest that will do.
func (g *getter) choose(ctx context.Context, f *fetched, source *release.Source) config.Diagnostics {
	allowed := f.was == nil || f.origin.Version.Allows(f.was.Version)
	if f.was != nil && !g.flags.upgrade {
		f.version = f.was.Version
		if !allowed {
			return f.origin.Complaint("version", "Another version is locked", fmt.Sprintf(
				"%s has the plugin %q of version %s, which %q does not take. Run \"kelpie init --upgrade\", or change the constraint.",
				config.LockName, f.origin.Label, f.was.Version, f.origin.Version))
		}
		return nil
	}
	versions, err := source.Versions(ctx, f.origin.Name)
	if err != nil {
		return f.unusable(err)
	}
	f.version = f.origin.Version.Newest(versions)
	switch {
	case f.version == "":
		return f.origin.Complaint("version", "No such version", noVersion(f.origin, versions))
	case f.notNewer() == "" || slices.Contains(g.named, f.origin.Label):
		return nil
	case !allowed:
		return f.origin.Complaint("version", "Not a newer version", fmt.Sprintf(
			"The source has %s for it, which is %s %s in %s. To go back, name the plugin: \"kelpie init --upgrade %s\".",
			f.version, f.notNewer(), f.was.Version, config.LockName, f.origin.Label))
	}
	if !slices.Contains(versions, f.was.Version) {
		f.notes = append(f.notes, fmt.Sprintf(
			"the newest in %s is %s, which is %s what is locked; if you have not taken %s back, somebody hides it. To go back, name the plugin: \"kelpie init --upgrade %s\"",
			f.origin.Source, f.version, f.notNewer(), f.was.Version, f.origin.Label))
	}
	f.version = f.was.Version
	return nil
}

// notNewer says what the version is to the locked one, if it is neither newer nor the same.
// "1.4.0+b" is no newer than "1.4.0+a": nobody can say which was first.
func (f *fetched) notNewer() string {
	if f.was == nil || f.version == f.was.Version {
		return ""
	}
	switch order := release.Compare(f.version, f.was.Version); {
	case order < 0:
		return "older than"
	case order == 0:
		return "another build of"
	}
	return ""
}

func noVersion(o config.Origin, versions []string) string {
	if len(versions) == 0 {
		return fmt.Sprintf("%s has no plugin that calls itself %q. If it is called otherwise there, write name = \"…\".", o.Source, o.Name)
	}
	slices.SortFunc(versions, func(a, b string) int { return release.Compare(b, a) })
	const most = 5
	text := strings.Join(versions[:min(len(versions), most)], ", ")
	if len(versions) > most {
		text += " and older ones"
	}
	constraint := o.Version.String()
	if constraint == "" {
		return fmt.Sprintf("%s has pre-releases of %q alone: %s. To take one, write version = \"%s\".", o.Source, o.Name, text, versions[0])
	}
	return fmt.Sprintf("%s has no %q of version %q. It has %s.", o.Source, o.Name, constraint, text)
}

// settled tells whether a plugin is where it belongs, as it is locked, and was got as its
// block says.
func (g *getter) settled(f *fetched) bool {
	if f.was == nil || f.was.Version != f.version || f.was.Source != f.origin.Source || f.was.Publisher != f.origin.PublicKey() ||
		f.was.OwnName() != f.origin.Name || f.before.Version != f.version {
		return false
	}
	sum, err := release.FileSum(g.installed(f.origin.Label))
	return err == nil && sum == f.was.SHA256[host.Platform()]
}

// installed is where a plugin belongs.
func (g *getter) installed(label string) string {
	if runtime.GOOS == "windows" {
		label += ".exe"
	}
	return filepath.Join(g.dir, label)
}

// asLocked compares what the source has of the locked version with the lock.
func (g *getter) asLocked(f *fetched) config.Diagnostics {
	if f.was == nil || f.was.Version != f.version {
		return nil
	}
	for platform, sum := range f.release.Manifest.Sums() {
		locked, ok := f.was.SHA256[platform]
		if !ok || locked == sum {
			continue
		}
		if f.again = true; g.flags.upgrade {
			return nil
		}
		return f.origin.Complaint("source", "Not what is locked", fmt.Sprintf(
			"The source has another %s %s for %s than %s: sha256 %s, and not %s. To take it all the same, run \"kelpie init --upgrade %s\".",
			f.origin.Name, f.version, platform, config.LockName, sum, locked, f.origin.Label))
	}
	return nil
}

// staging makes a folder that nobody else uses, on the file system of the plugins.
func (g *getter) staging(label string) (string, error) {
	if g.stage == "" {
		if err := os.MkdirAll(g.dir, 0o755); err != nil {
			return "", err
		}
		g.sweep()
		var err error
		if g.stage, err = os.MkdirTemp(g.dir, stagePrefix+"*"); err != nil {
			return "", err
		}
	}
	dir := filepath.Join(g.stage, label)
	return dir, os.Mkdir(dir, 0o700)
}

// stagePrefix begins the folders of plugins on their way.
const stagePrefix = ".init-"

// sweep removes what was left by one that was killed.
func (g *getter) sweep() {
	left, _ := filepath.Glob(filepath.Join(g.dir, stagePrefix+"*"))
	for _, path := range left {
		if info, err := os.Lstat(path); err == nil && info.IsDir() && time.Since(info.ModTime()) > 24*time.Hour {
			os.RemoveAll(path)
		}
	}
}

func (g *getter) close() {
	if g.stage != "" {
		os.RemoveAll(g.stage)
	}
}

// more and less are the permissions that it asks for and did not, and no more.
func (f *fetched) more() release.Permissions {
	if f.release == nil {
		return release.Permissions{}
	}
	return release.Grown(f.before, f.release.Manifest.Plugin)
}

func (f *fetched) less() release.Permissions {
	if f.release == nil {
		return release.Permissions{}
	}
	return release.Grown(f.release.Manifest.Plugin, f.before)
}

// reasons to ask a person.
func (f *fetched) reasons() []string {
	var all []string
	if f.release == nil {
		return nil
	}
	if n := len(f.more().Words()); n > 0 {
		all = append(all, "it asks for "+plural(n, "permission"))
	}
	if f.was == nil {
		return all
	}
	if len(all) > 0 {
		all[0] += " that it had not"
	}
	if f.was.Publisher != "" && f.was.Publisher != f.origin.PublicKey() {
		all = append(all, "its publisher is another")
		if f.origin.Key == nil {
			all[len(all)-1] = "it had a publisher, and has none"
		}
	}
	if how := f.notNewer(); how != "" {
		all = append(all, "it is "+how+" what is locked")
	}
	if f.again {
		all = append(all, "it is another file of the version that is locked")
	}
	if n := f.unlocked(); n > 0 {
		all = append(all, "the lock has nothing of it for "+plural(n, "platform")+" that the source has")
	}
	return all
}

// unlocked counts the platforms of the locked version that the lock does not have. A
// publisher vouches for them; without one they are as new as another version.
func (f *fetched) unlocked() int {
	n := 0
	if f.was.Version == f.version && f.origin.Key == nil {
		for platform := range f.release.Manifest.Platforms {
			if f.was.SHA256[platform] == "" {
				n++
			}
		}
	}
	return n
}

// inspect starts each once, confined, and holds it to what its release says.
func (g *getter) inspect(ctx context.Context) (config.Diagnostics, error) {
	var all config.Diagnostics
	for _, f := range g.all {
		if f.release == nil {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, inspectTimeout)
		about, sum, err := host.Inspect(ctx, f.path)
		cancel()
		if err != nil {
			return nil, err
		}
		m := f.release.Manifest
		if sum != m.Platforms[host.Platform()].Executable.SHA256 || !release.SameAs(about, m.Plugin) {
			all = append(all, f.origin.Complaint("source", "Not what its release says", fmt.Sprintf(
				"The plugin %s %s says other things of itself than the manifest of its release does. Do not use it, and tell its publisher.", m.Name, m.Version))...)
		}
	}
	return all, nil
}

// install puts what was fetched into its place, with schemas and lock, or leaves all as
// it was. It returns how many plugins are new.
func (g *getter) install() (n int, err error) {
	var undo []func() error
	defer func() {
		if err != nil {
			for _, back := range slices.Backward(undo) {
				err = errors.Join(err, back())
			}
		}
	}()
	lock, schemas := host.Lock{Plugins: slices.Clone(g.lock.Plugins)}, maps.Clone(g.schemas)
	for _, f := range g.all {
		if f.release == nil {
			continue
		}
		n++
		back, err := f.place(g.installed(f.origin.Label))
		if err != nil {
			return 0, err
		}
		undo = append(undo, back)
		schemas[f.origin.Label] = called(f.release.Manifest.Plugin, f.origin.Label)
		entry := f.entry()
		lock.Plugins = append(slices.DeleteFunc(lock.Plugins, func(l host.LockedPlugin) bool { return l.Name == entry.Name }), entry)
	}
	if n == 0 {
		return 0, nil
	}
	undo = append(undo, func() error { return config.WriteSchemas(g.folder, slices.Collect(maps.Values(g.schemas))) })
	if err := config.WriteSchemas(g.folder, slices.Collect(maps.Values(schemas))); err != nil {
		return 0, err
	}
	return n, config.WriteLock(g.folder, lock)
}

// place renames the executable to where it belongs, and returns what undoes that.
func (f *fetched) place(path string) (func() error, error) {
	before := filepath.Join(filepath.Dir(f.path), "before-"+filepath.Base(f.path))
	back := func() error { return os.Rename(before, path) }
	if err := os.Link(path, before); errors.Is(err, fs.ErrNotExist) {
		back = func() error { return os.Remove(path) }
	} else if err != nil {
		return nil, err
	}
	return back, os.Rename(f.path, path)
}

// entry of the lock: of the release, and of the locked one what is for further platforms,
// if it has the same publisher: nobody else's sums become his.
func (f *fetched) entry() host.LockedPlugin {
	e := host.LockedPlugin{
		Name: f.origin.Label, Version: f.version, Source: f.origin.Source, Publisher: f.origin.PublicKey(), SHA256: f.release.Manifest.Sums(),
	}
	if f.origin.Name != f.origin.Label {
		e.Own = f.origin.Name
	}
	if f.was != nil && f.was.Version == f.version && !f.again && f.was.Publisher == e.Publisher {
		maps.Copy(e.SHA256, f.was.SHA256)
	}
	return e
}
