package config

import "github.com/hashicorp/hcl/v2"

// Diagnostics are complaints and warnings about a configuration. The name is here so
// that who passes them on needs not know HCL.
type Diagnostics = hcl.Diagnostics

// Refusals are what run refuses and validate only warns of: NotBuilt, as errors.
func (c *Config) Refusals() Diagnostics {
	var all Diagnostics
	for _, d := range c.NotBuilt {
		refusal := *d
		refusal.Severity = hcl.DiagError
		all = append(all, &refusal)
	}
	return all
}
