package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"

	"github.com/kelpie-sec/kelpie/core/host"
	"github.com/kelpie-sec/kelpie/core/model"
)

// Names beside the configuration.
const (
	// LockName is the file that pins the plugins' executables.
	LockName = "kelpie.lock.hcl"
	// SchemaDir holds a file NAME.json for each plugin, as it described itself.
	SchemaDir = "kelpie.schemas"
)

// ErrBusy is a folder whose lock and schemas somebody else is changing.
var ErrBusy = errors.New("another \"kelpie init\" or \"kelpie plugin lock\" is at work in this folder; wait until it has ended")

const lockHeader = "# Written by \"kelpie init\" and \"kelpie plugin lock\". Keep it under version control.\n"

func lockLanguage() bodyType {
	return bodyType{blocks: []blockType{{
		name: "plugin", labels: []string{"name"}, many: true, doc: "One executable.",
		body: bodyType{attributes: []attribute{
			text("version", "As it says itself.").must(),
			text("name", "What it calls itself. By default the label."),
			text("source", "Where \"kelpie init\" got it. Without it, somebody put it there."),
			text("publisher", "The key of who has signed it."),
			textMap("sha256", "Of the executable, by platform.").must(),
		}},
	}}}
}

var (
	sumForm      = regexp.MustCompile(`^[0-9a-f]{64}$`)
	platformForm = regexp.MustCompile(`^[a-z0-9]+_[a-z0-9]+$`)
)

// ReadLock reads the lock file of a folder. One that is not there is an empty lock.
func ReadLock(dir string) (host.Lock, hcl.Diagnostics) {
	path := filepath.Join(dir, LockName)
	text, err := readText("", path)
	if errors.Is(err, fs.ErrNotExist) {
		return host.Lock{}, nil
	}
	if err != nil {
		return host.Lock{}, reading(err)
	}
	src := &Source{Files: []File{{Name: LockName, Text: text}}, Prefix: dir}
	p := newParser(src, src)
	var lock host.Lock
	if p.files(); !p.diags.HasErrors() {
		lock = p.lock()
	}
	if p.diags.HasErrors() {
		return host.Lock{}, sorted(p.diags)
	}
	return lock, nil
}

func (p *parser) lock() host.Lock {
	var lock host.Lock
	top := &section{typ: blockType{name: "lock file"}}
	counts := map[string]int{}
	for _, attr := range p.bodies[0].Attributes {
		p.unknownAttribute(top, lockLanguage(), attr)
	}
	for _, block := range p.bodies[0].Blocks {
		p.inner(top, lockLanguage(), block, counts)
	}
	for _, s := range top.blocks {
		entry := host.LockedPlugin{
			Name: s.name(), Version: s.text("version", ""), Own: s.text("name", ""),
			Source: s.text("source", ""), Publisher: s.text("publisher", ""), SHA256: map[string]string{},
		}
		for platform, v := range s.values["sha256"].Fields() {
			sum, _ := v.Str()
			if !sumForm.MatchString(sum) || !platformForm.MatchString(platform) {
				p.errorf(s.place("sha256"), "Not a checksum", "Write { linux_amd64 = \"…\" } with 64 hexadecimal digits, or run \"kelpie plugin lock\".")
				continue
			}
			entry.SHA256[platform] = sum
		}
		lock.Plugins = append(lock.Plugins, entry)
	}
	return lock
}

// WriteLock writes the lock file of a folder, whole or not at all.
func WriteLock(dir string, lock host.Lock) error {
	file := hclwrite.NewEmptyFile()
	plugins := slices.Clone(lock.Plugins)
	slices.SortFunc(plugins, func(a, b host.LockedPlugin) int { return strings.Compare(a.Name, b.Name) })
	for _, entry := range plugins {
		file.Body().AppendNewline()
		body := file.Body().AppendNewBlock("plugin", []string{entry.Name}).Body()
		body.SetAttributeValue("version", cty.StringVal(entry.Version))
		for _, a := range []struct{ name, value string }{{"name", entry.Own}, {"source", entry.Source}, {"publisher", entry.Publisher}} {
			if a.value != "" {
				body.SetAttributeValue(a.name, cty.StringVal(a.value))
			}
		}
		sums := map[string]cty.Value{}
		for platform, sum := range entry.SHA256 {
			sums[platform] = cty.StringVal(sum)
		}
		body.SetAttributeValue("sha256", cty.ObjectVal(sums))
	}
	text := append([]byte(lockHeader), hclwrite.Format(file.Bytes())...)
	return writeFile(filepath.Join(dir, LockName), text)
}

// ReadSchemas reads what plugins said of themselves, by name. A folder that is not
// there holds nothing.
func ReadSchemas(dir string) (map[string]model.Plugin, error) {
	folder := filepath.Join(dir, SchemaDir)
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]model.Plugin{}, nil
	}
	if err != nil {
		return nil, err
	}
	schemas := map[string]model.Plugin{}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok || e.IsDir() {
			continue
		}
		path := filepath.Join(folder, e.Name())
		text, err := readText("", path)
		if err != nil {
			return nil, err
		}
		var plugin model.Plugin
		if err := json.Unmarshal([]byte(text), &plugin); err != nil || plugin.Name != name {
			return nil, fmt.Errorf("%s is not the description of a plugin %q; remove it, and run \"kelpie plugin lock\", or \"kelpie init\" for one that has a source", path, name)
		}
		schemas[name] = plugin
	}
	return schemas, nil
}

// WriteSchemas writes what plugins said of themselves, a file each, and removes the
// files of others.
func WriteSchemas(dir string, plugins []model.Plugin) error {
	folder := filepath.Join(dir, SchemaDir)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("schemas: %w", err)
	}
	keep := map[string]bool{}
	for _, plugin := range plugins {
		if !nameForm.MatchString(plugin.Name) {
			return fmt.Errorf("schemas: %q is no name of a plugin", plugin.Name)
		}
		text, err := json.MarshalIndent(plugin, "", "  ")
		if err != nil {
			return fmt.Errorf("schema of plugin %q: %w", plugin.Name, err)
		}
		if len(text) >= MaxFile { // it could not be read again
			return fmt.Errorf("schema of plugin %q: it has more than the %d KiB that it may have", plugin.Name, MaxFile>>10)
		}
		name := plugin.Name + ".json"
		if err := writeFile(filepath.Join(folder, name), append(text, '\n')); err != nil {
			return err
		}
		keep[name] = true
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return fmt.Errorf("schemas: %w", err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".json") && !keep[e.Name()] {
			if err := os.Remove(filepath.Join(folder, e.Name())); err != nil {
				return fmt.Errorf("schemas: %w", err)
			}
		}
	}
	return nil
}

// Replace writes a whole file in the place of one that may be there, whose mode it keeps:
// who reads it sees one or the other.
func Replace(path string, text []byte) error {
	info, err := os.Stat(path)
	if err == nil && info.Mode().IsRegular() {
		return replaceFile(path, text, info.Mode().Perm())
	}
	return writeFile(path, text)
}

// writeFile replaces a file by a whole new one.
func writeFile(path string, text []byte) error { return replaceFile(path, text, 0o644) }

func replaceFile(path string, text []byte, mode os.FileMode) error {
	temp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(temp.Name())
	_, err = temp.Write(text)
	err = errors.Join(err, temp.Chmod(mode), temp.Sync(), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// Unlocked complains about plugins that are used and not in the lock, or there of
// another version than the schema that the configuration was checked by.
func (c *Config) Unlocked(lock host.Lock) hcl.Diagnostics {
	locked := map[string]string{}
	for _, entry := range lock.Plugins {
		locked[entry.Name] = entry.Version
	}
	seen := map[string]bool{}
	var diags hcl.Diagnostics
	for _, i := range c.instances {
		name, at := i.plugin.Name, i.section.block.LabelRanges[0]
		if seen[name] {
			continue
		}
		seen[name] = true
		version, ok := locked[name]
		switch {
		case !ok:
			diags = append(diags, complaint(at, "Plugin not locked", "The plugin %q is not in %s, so it is not started. Run %q.", name, LockName, c.getting(name)))
		case version != i.plugin.Version:
			diags = append(diags, complaint(at, "Schema of another version", "%s has the plugin %q of version %q, and %s its schema of version %q. Run %q.", LockName, name, version, SchemaDir, i.plugin.Version, c.getting(name)))
		}
	}
	return sorted(diags)
}
