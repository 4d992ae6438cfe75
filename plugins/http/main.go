// Command http is a plugin that takes events by HTTP: whoever reports them sends them as
// JSON, and has an answer when they are in the core's log.
package main

import "github.com/kelpie-sec/kelpie/sdk"

func main() { sdk.Serve(plugin()) }

func plugin() sdk.Plugin {
	return sdk.Plugin{
		Name:     "http",
		Version:  "0.1.0",
		Homepage: "https://github.com/kelpie-sec/kelpie/tree/main/plugins/http",
		Connectors: []sdk.Connector{{
			Kind:          sdk.KindDetector,
			Summary:       "Events that are sent by HTTP: a JSON object, an array of them, or one a line.",
			New:           func() sdk.Instance { return &intake{} },
			CursorVersion: 1, // it has none: senders wait
		}},
		Permissions: sdk.Permissions{
			Read:    []string{"{cert_file}", "{key_file}"},
			Network: []string{"listen:{listen}"},
		},
	}
}
