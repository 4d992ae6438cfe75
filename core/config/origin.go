package config

import (
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/kelpie-sec/kelpie/core/host"
	"github.com/kelpie-sec/kelpie/core/release"
)

// Policies of signatures.
const (
	Required = "required"
	Optional = "optional"
)

// Origin is what a plugin block says of where a plugin comes from.
type Origin struct {
	// Label is what the configuration calls the plugin, and Name what it calls itself.
	Label, Name string
	// Source is a folder, relative to the configuration, or an address, as it is written;
	// empty: somebody puts the plugin where it is.
	Source  string
	Version release.Constraint
	// Publisher is the name of who must have signed it, and Key his; nil: nobody must.
	Publisher string
	Key       *release.Key

	section *section
}

// Complaint is an error at an attribute of the block.
func (o Origin) Complaint(attribute, summary, detail string) Diagnostics {
	return Diagnostics{complaint(o.section.place(attribute), summary, "%s", detail)}
}

// PublicKey is the publisher's key as a lock has it; empty: there is none.
func (o Origin) PublicKey() string {
	if o.Key == nil {
		return ""
	}
	return o.Key.String()
}

// originAttributes are those of a plugin block that say where it comes from.
func originAttributes() []attribute {
	return []attribute{
		text("source", "Where \"kelpie init\" gets it: a folder that \"kelpie plugin pack\" has made, or the address of such a folder, which begins with https:// if it is on another machine."),
		text("version", "Which versions will do, such as \"~> 1.4\". By default all that are no pre-releases."),
		reference("publisher", "Who must have signed it. Without one nobody vouches for it but the source."),
		text("name", "What the plugin calls itself, where the block's label, and so the blocks of its connectors, call it otherwise. By default the label."),
	}
}

func publisherBlock() blockType {
	return blockType{name: "publisher", labels: []string{"name"}, many: true, doc: "Somebody who signs plugins.", body: bodyType{attributes: []attribute{
		text("key", "The public key of minisign, which begins with RW. Get it by another way than the plugins.").must(),
	}}}
}

// origin reads where a plugin comes from.
func (p *parser) origin(s *section) Origin {
	o := Origin{Label: s.name(), Name: s.text("name", s.name()), Source: s.text("source", ""), section: s}
	if !nameForm.MatchString(o.Label) {
		p.errorf(s.block.LabelRanges[0], "Not a name", "A plugin's name is a lower-case letter, and then lower-case letters, digits and \"_\".")
	}
	if s.has("name") && !nameForm.MatchString(o.Name) {
		p.errorf(s.place("name"), "Not a name", "A plugin calls itself by a lower-case letter, and then lower-case letters, digits and \"_\".")
	}
	if s.has("source") {
		if _, err := release.OpenSource(o.Source, p.src.Dir); err != nil {
			p.errorf(s.place("source"), "Not a source", "%s. Write a folder, or an address such as \"https://plugins.example.org/kelpie\".", sentence(err.Error())).Extra = hidden{all: strings.Contains(o.Source, "@")}
		}
	}
	var err error
	if o.Version, err = release.ParseConstraint(s.text("version", "")); err != nil {
		p.errorf(s.place("version"), "Not a version", "%s. Write it as \"~> 1.4\", \"1.4.2\" or \">= 1.4, < 2\".", sentence(err.Error()))
	}
	for _, name := range []string{"version", "publisher"} {
		if s.has(name) && !s.has("source") && !s.broken {
			p.errorf(s.place(name), "Without effect", "%q goes with \"source\", which says where \"kelpie init\" gets the plugin. Write source, or remove it.", name)
		}
	}
	if s.has("publisher") {
		o.Publisher, o.Key = p.publisher(s)
	}
	return o
}

func (p *parser) publisher(s *section) (string, *release.Key) {
	by := p.reference(s.expr("publisher"), "publisher")
	if by == nil {
		return "", nil
	}
	key, err := release.ParseKey(by.text("key", ""))
	if err != nil {
		return by.name(), nil // which publishers says
	}
	return by.name(), &key
}

// publishers looks at every key, also of those that no plugin has.
func (p *parser) publishers() {
	for _, s := range p.each("publisher") {
		if _, err := release.ParseKey(s.text("key", "")); err != nil && s.has("key") && !s.broken {
			p.errorf(s.place("key"), "Not a key", "%s. It is the second line of the file that \"kelpie plugin keygen\", or minisign, made for others.", sentence(err.Error()))
		}
	}
}

// vouched complains, where signatures are required, about plugins without a publisher:
// those that blocks use, by the places where they do, and those that have a source.
func (p *parser) vouched(used map[string]hcl.Range) {
	if p.config.Kelpie.Signatures != Required {
		return
	}
	const need = "With signatures = \"required\" every plugin has a publisher, also one that was locked by hand."
	for _, o := range p.config.Origins {
		if _, ok := used[o.Label]; !o.section.has("publisher") && (ok || o.Source != "") {
			p.errorf(o.section.header(), "Nobody vouches for it", "%s Write publisher = publisher.NAME here, and source if there is none.", need)
		}
		delete(used, o.Label)
	}
	for _, name := range slices.Sorted(maps.Keys(used)) {
		p.errorf(used[name], "Nobody vouches for it", "%s Write plugin %q { … } with source and publisher = publisher.NAME.", need, name)
	}
}

// Origins reads where plugins come from, and the kelpie block, whatever else there is:
// a plugin that is not here yet has no schema, and its blocks cannot be checked.
func Origins(src *Source) (Kelpie, []Origin, Diagnostics) {
	p := newParser(src, src)
	if p.files(); p.diags.HasErrors() {
		return Kelpie{}, nil, sorted(p.diags)
	}
	used := map[string]hcl.Range{}
	for _, body := range p.bodies {
		for _, b := range body.Blocks {
			if isConnector(b.Type) && len(b.Labels) == 2 {
				used[pluginName(b.Labels[0])] = b.LabelRanges[0]
			}
		}
		body.Blocks = slices.DeleteFunc(slices.Clone(body.Blocks), func(b *hclsyntax.Block) bool {
			return !slices.Contains([]string{"kelpie", "variable", "locals", "plugin", "publisher"}, b.Type)
		})
	}
	p.constants()
	p.blocks()
	p.kelpie()
	p.publishers()
	for _, s := range p.each("plugin") {
		p.config.Origins = append(p.config.Origins, p.origin(s))
	}
	p.vouched(used)
	return p.config.Kelpie, p.config.Origins, sorted(p.diags)
}

// Unvouched complains about plugins that are locked otherwise than their blocks want it:
// not as their publisher has signed them, or by another name.
func (c *Config) Unvouched(lock host.Lock) Diagnostics {
	locked := map[string]host.LockedPlugin{}
	for _, entry := range lock.Plugins {
		locked[entry.Name] = entry
	}
	var diags Diagnostics
	for _, o := range c.Origins {
		entry, ok := locked[o.Label]
		if !ok || !c.uses(o.Label) {
			continue
		}
		complain := func(attribute, summary, format string, args ...any) {
			diags = append(diags, complaint(o.section.place(attribute), summary, format, args...))
		}
		switch {
		case entry.OwnName() != o.Name:
			complain("name", "Locked by another name", "%s has a plugin here that calls itself %q. Run %q.", LockName, entry.OwnName(), o.command())
		case o.Key != nil && entry.Publisher == "":
			complain("publisher", "Not signed", "The plugin %q was locked by hand, or when it had no publisher, so that nobody knows whether publisher %q has signed it. Run \"kelpie init\", or remove \"publisher\".", o.Label, o.Publisher)
		case o.Key != nil && entry.Publisher != o.PublicKey():
			complain("publisher", "Signed by another", "What %s has of the plugin %q was signed by another key than publisher %q has here. Run \"kelpie init\".", LockName, o.Label, o.Publisher)
		case o.Source != "" && entry.Source != "" && !o.Version.Allows(entry.Version):
			complain("version", "Another version is locked", "%s has the plugin %q of version %s. Run \"kelpie init --upgrade\", or change the constraint.", LockName, o.Label, entry.Version)
		}
	}
	return sorted(diags)
}

// command gets or locks the plugin.
func (o Origin) command() string {
	if o.Source != "" {
		return "kelpie init"
	}
	return "kelpie plugin lock"
}

func (c *Config) uses(plugin string) bool {
	return slices.ContainsFunc(c.instances, func(i *instance) bool { return i.plugin.Name == plugin })
}

// getting is the command that gets or locks a plugin, by its label.
func (c *Config) getting(label string) string {
	for _, o := range c.Origins {
		if o.Label == label {
			return o.command()
		}
	}
	return Origin{}.command()
}

// usedPlugins are those of the enabled instances, by the place where the first names it.
func (p *parser) usedPlugins() map[string]hcl.Range {
	used := map[string]hcl.Range{}
	for _, i := range slices.Backward(p.config.instances) {
		used[i.plugin.Name] = i.section.block.LabelRanges[0]
	}
	return used
}

// sourced tells whether a plugin has a block that says where to get it.
func (p *parser) sourced(label string) bool {
	for _, body := range p.bodies {
		for _, b := range body.Blocks {
			if b.Type == "plugin" && len(b.Labels) == 1 && b.Labels[0] == label && b.Body.Attributes["source"] != nil {
				return true
			}
		}
	}
	return false
}
