package config

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/kelpie-sec/kelpie/core/host"
)

// Locate is the place in the files of an attribute that a plugin complains about.
// The path leads from the block, or the connection's block, inwards; as much of it
// is followed as is there. Secret says that the value is one, and must not be shown.
func (c *Config) Locate(address string, path []string, connection bool) (at hcl.Range, secret bool) {
	for _, i := range c.instances {
		if i.settings.Address != address {
			continue
		}
		if connection && i.connection != nil {
			return locate(i.connection, path)
		}
		return locate(i.section, path)
	}
	return hcl.Range{}, false
}

func locate(s *section, path []string) (hcl.Range, bool) {
	if len(path) == 0 {
		return s.header(), false
	}
	name, rest := path[0], path[1:]
	if attr := s.attrs[name]; attr != nil {
		a, _ := s.typ.body.attribute(name)
		return locateValue(attr.Expr, rest), a.Secret
	}
	blocks := s.of(name)
	if len(blocks) == 0 {
		return s.header(), false
	}
	if len(rest) == 0 || !blocks[0].typ.many {
		return locate(blocks[0], rest)
	}
	for i, b := range blocks {
		if len(b.labels) > 0 && b.name() == rest[0] || len(b.labels) == 0 && fmt.Sprint(i) == rest[0] {
			return locate(b, rest[1:])
		}
	}
	return blocks[0].header(), false
}

func locateValue(e hclsyntax.Expression, path []string) hcl.Range {
	for _, name := range path {
		if inner, ok := fieldOf(e, name); ok {
			e = inner
			continue
		}
		found := false
		for i, item := range items(e) {
			if fmt.Sprint(i) == name {
				e, found = item, true
				break
			}
		}
		if !found {
			break
		}
	}
	return e.Range()
}

// Diagnose turns what plugins said of their configurations into diagnostics at the
// places in the files.
func (c *Config) Diagnose(said []host.Diagnostic) hcl.Diagnostics {
	var diags hcl.Diagnostics
	for _, d := range said {
		at, secret := c.Locate(d.Instance, d.Path, d.Connection)
		out := complaint(at, sentence(d.Summary), "%s", d.Detail)
		if out.Detail == "" {
			out.Detail = "The plugin of " + c.Shown(d.Instance) + " says so."
		}
		if d.Warning {
			out.Severity = hcl.DiagWarning
		}
		if secret {
			out.Extra = hidden{all: true}
		}
		if at.Filename == "" {
			out.Subject = nil
			out.Detail = c.Shown(d.Instance) + ": " + out.Detail
		}
		diags = append(diags, out)
	}
	return sorted(diags)
}
