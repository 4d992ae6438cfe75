// Command table is a plugin that answers from the operator's own files: what a
// machine is, who a person is, what is on a watch list.
package main

import (
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

func main() { sdk.Serve(plugin()) }

func plugin() sdk.Plugin {
	return sdk.Plugin{
		Name:     "table",
		Version:  "0.1.0",
		Homepage: "https://github.com/kelpie-sec/kelpie/tree/main/plugins/table",
		Connectors: []sdk.Connector{{
			Kind:       sdk.KindEnrichment,
			Summary:    "Assets, people, networks and watch lists from a CSV or JSON file.",
			New:        func() sdk.Instance { return &table{} },
			Takes:      sdk.Kinds(),
			BatchLimit: 512,
			// The file may change at any time, and asking costs nothing.
			DefaultTTL: time.Minute,
			Local:      true,
		}},
		Permissions: sdk.Permissions{Read: []string{"{path}"}},
	}
}
