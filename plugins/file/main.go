// Command file is a plugin that reads events from files: a JSON object or a line of text
// each, once or for as long as they grow.
package main

import "github.com/kelpie-sec/kelpie/sdk"

func main() { sdk.Serve(plugin()) }

func plugin() sdk.Plugin {
	return sdk.Plugin{
		Name:     "file",
		Version:  "0.1.0",
		Homepage: "https://github.com/kelpie-sec/kelpie/tree/main/plugins/file",
		Connectors: []sdk.Connector{{
			Kind:          sdk.KindDetector,
			Summary:       "Events from files, a JSON object or a line of text each; followed through rotation.",
			New:           func() sdk.Instance { return &file{} },
			CursorVersion: cursorVersion,
			Finite:        true,
		}},
		// Rotation gives what is read other names, and makes another file of the name.
		Permissions: sdk.Permissions{Read: []string{"{path}/.."}},
	}
}
