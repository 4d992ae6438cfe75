// Command acme is a plugin of Kelpie for Acme.
package main

import "github.com/kelpie-sec/kelpie/sdk"

func main() { sdk.Serve(plugin()) }

func plugin() sdk.Plugin {
	return sdk.Plugin{
		Name:       "acme",
		Version:    "0.1.0",
		Homepage:   "https://example.org/kelpie-acme",
		Connection: func() any { return &connection{} },
		Connectors: []sdk.Connector{
			detector(),
			enrichment(),
			action(),
		},
		Permissions: sdk.Permissions{Read: []string{"{ca_file}"}, Network: []string{"tcp:{url}"}},
	}
}
