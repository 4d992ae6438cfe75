package config

import (
	"slices"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/kelpie-sec/kelpie/core/enrich"
	"github.com/kelpie-sec/kelpie/core/host"
)

// ParseOnly reads the blocks of one plugin, with their connections, and the kelpie
// block, whatever else there is: its connectors can be driven by a configuration that
// has nothing but them. Resolve, Instances, Locate and Diagnose work on what it gives,
// which is nil if there are errors; nothing else of a Config is filled.
func ParseOnly(src *Source, plugin string) (*Config, hcl.Diagnostics) {
	p := newParser(src, src)
	p.alone = true
	if p.files(); p.diags.HasErrors() {
		return nil, sorted(p.diags)
	}
	for _, body := range p.bodies {
		body.Blocks = slices.DeleteFunc(slices.Clone(body.Blocks), func(b *hclsyntax.Block) bool { return !needed(b, plugin) })
	}
	p.constants()
	p.blocks()
	p.kelpie()
	p.connectors()
	if p.diags.HasErrors() {
		return nil, sorted(p.diags)
	}
	return p.config, sorted(p.diags)
}

// needed tells whether a block is one of the plugin's, or may be read by one of them.
func needed(b *hclsyntax.Block, plugin string) bool {
	switch {
	case isConnector(b.Type):
		return len(b.Labels) != 2 || pluginName(b.Labels[0]) == plugin
	case b.Type == "kelpie", b.Type == "variable", b.Type == "locals":
		return true
	}
	return false
}

// Instances are the enabled detectors, enrichments and actions, without their
// configurations and secrets, which Resolve gives.
func (c *Config) Instances() []host.Instance {
	all := make([]host.Instance, len(c.instances))
	for n, i := range c.instances {
		all[n] = i.settings
	}
	return all
}

// Only leaves one instance, so that Resolve needs no secret of another.
func (c *Config) Only(address string) {
	c.instances = slices.DeleteFunc(c.instances, func(i *instance) bool { return i.settings.Address != address })
}

// Patient gives every call of a plugin's instances this much time, instead of what
// their blocks say.
func (c *Config) Patient(plugin string, d time.Duration) {
	for _, i := range c.instances {
		if i.settings.Plugin != plugin {
			continue
		}
		i.settings.Timeout = d
		for _, sources := range [][]enrich.Source{c.Enrich.Sources, c.Enrich.Shadows} {
			for n := range sources {
				if sources[n].Address == i.settings.Address {
					sources[n].Timeout = d
				}
			}
		}
		if a, ok := c.Respond.Actions[i.settings.Address]; ok {
			a.Timeout = d
			c.Respond.Actions[i.settings.Address] = a
		}
	}
}
