// Command webhook is a plugin that posts cases, and orders of the operator's own, to a
// web address, signed as Standard Webhooks (www.standardwebhooks.com) wants it.
package main

import (
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

func main() { sdk.Serve(plugin()) }

func plugin() sdk.Plugin {
	return sdk.Plugin{
		Name:     "webhook",
		Version:  "0.1.0",
		Homepage: "https://github.com/kelpie-sec/kelpie/tree/main/plugins/webhook",
		Connectors: []sdk.Connector{{
			Kind:    sdk.KindAction,
			Summary: "Signed POST requests to a web address.",
			New:     func() sdk.Instance { return &webhook{} },
			Verbs: []sdk.Verb{
				{
					Name:       "notify",
					Targets:    []string{"address"},
					Summary:    "Posts a case.",
					Parameters: func() any { return &notice{} },
					// The standard has receivers take a webhook-id once.
					Idempotent: true,
					Settle:     2 * time.Minute,
				},
				{
					Name:       "run",
					Targets:    append(sdk.Kinds(), "address"),
					Summary:    "Posts an order of your own about a target.",
					Parameters: func() any { return &order{} },
					// Whether this receiver keeps the standard's rule is not known
					// here, and an order is more than a message.
					Idempotent: false,
					Settle:     2 * time.Minute,
				},
			},
		}},
		Permissions: sdk.Permissions{Read: []string{"{ca_file}"}, Network: []string{"tcp:{url}"}},
	}
}
