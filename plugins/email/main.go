// Command email is a plugin that tells people about cases by mail.
package main

import (
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

func main() { sdk.Serve(plugin()) }

func plugin() sdk.Plugin {
	return sdk.Plugin{
		Name:     "email",
		Version:  "0.1.0",
		Homepage: "https://github.com/kelpie-sec/kelpie/tree/main/plugins/email",
		Connectors: []sdk.Connector{{
			Kind:    sdk.KindAction,
			Summary: "Mail by SMTP, as text and HTML.",
			New:     func() sdk.Instance { return &mailer{} },
			Verbs: []sdk.Verb{{
				Name:       "notify",
				Targets:    []string{"address"},
				Summary:    "Sends one mail to one address.",
				Parameters: func() any { return &parameters{} },
				// SMTP knows no idempotency: a mail whose acceptance was lost comes
				// twice, with one Message-ID.
				Idempotent: false,
				Settle:     2 * time.Minute,
			}},
		}},
		Permissions: sdk.Permissions{Read: []string{"{ca_file}"}, Network: []string{"tcp:{server}"}},
	}
}
