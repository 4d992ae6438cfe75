// Command exec is a plugin that makes a detector, an enrichment or an action of any
// script or program: JSON on its standard input and output, and exit codes.
package main

import (
	"os"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// settle is how long what a program that was ended had sent may still take effect.
const settle = 2 * time.Minute

func main() {
	if os.Getenv(guardEnv) != "" {
		keep(os.Stdin)
		return
	}
	sdk.Serve(plugin())
}

func plugin() sdk.Plugin {
	g := &guard{}
	return sdk.Plugin{
		Name:     "exec",
		Version:  "0.1.0",
		Homepage: "https://github.com/kelpie-sec/kelpie/tree/main/plugins/exec",
		Connectors: []sdk.Connector{
			{
				Kind:          sdk.KindDetector,
				Summary:       "Events that a program of your own prints, run again and again or for as long as it lasts.",
				New:           func() sdk.Instance { return &detector{guard: g} },
				CursorVersion: cursorVersion,
				Finite:        true,
			},
			{
				Kind:       sdk.KindEnrichment,
				Summary:    "Answers of a program of your own.",
				New:        func() sdk.Instance { return &enrichment{guard: g} },
				Takes:      sdk.Kinds(),
				BatchLimit: 64,
				DefaultTTL: time.Hour,
			},
			{
				Kind:    sdk.KindAction,
				Summary: "A program of your own that tells somebody, opens a ticket or does something else that is not taken back.",
				New:     func() sdk.Instance { return &order{guard: g} },
				Verbs: []sdk.Verb{
					{Name: "notify", Targets: []string{"address"}, Summary: "Tells a person of a case.", Parameters: caseParameters, Settle: settle},
					{Name: "ticket", Targets: append(sdk.Kinds(), "address"), Summary: "Opens a ticket for a case.", Parameters: caseParameters, Settle: settle},
					{Name: "run", Targets: append(sdk.Kinds(), "address"), Summary: "Does something of your own about a target.", Parameters: runParameters, Settle: settle},
				},
			},
			{
				Kind:    sdk.KindAction,
				Name:    "containment",
				Summary: "A program of your own that contains, and can tell whether it has and take it back.",
				New:     func() sdk.Instance { return &containment{order{guard: g}} },
				Verbs: []sdk.Verb{
					contain("isolate_host", "Cuts a machine off.", sdk.Host, sdk.IP, sdk.MAC),
					contain("disable_account", "Disables an account.", sdk.User, sdk.Account, sdk.Email),
					contain("close_port", "Closes a port.", sdk.Host, sdk.IP, sdk.Resource),
					contain("block_indicator", "Blocks an address, a name or a file.", sdk.IP, sdk.Domain, sdk.URL, sdk.Email, sdk.Hash),
					contain("quarantine_file", "Takes a file away.", sdk.File, sdk.Hash),
				},
			},
		},
		// What else the program touches, the operator grants: nobody else knows it.
		Permissions: sdk.Permissions{Read: []string{"{program}"}},
	}
}

func contain(name, summary string, targets ...string) sdk.Verb {
	return sdk.Verb{
		Name: name, Targets: targets, Summary: summary, Parameters: containParameters,
		Undo: true, Check: true, Settle: settle,
	}
}
