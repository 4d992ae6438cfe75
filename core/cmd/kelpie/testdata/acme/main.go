// Command acme is a plugin for tests of releases: what it is was said when it was linked.
package main

import (
	"context"
	"os"
	"strings"

	"github.com/kelpie-sec/kelpie/sdk"
)

var (
	version = "1.3.0"
	// role: "narrow" asks for nothing of the machine, "wide" for more, "rival" is another
	// vendor's, and "liar" asks for more once it is installed.
	role = "narrow"
)

func main() {
	p := sdk.Plugin{Name: "acme", Version: version, Connectors: []sdk.Connector{{
		Kind: sdk.KindEnrichment, Summary: "Says who it is.", New: func() sdk.Instance { return &narrow{} },
		Takes: []string{sdk.IP}, BatchLimit: 8,
	}}}
	switch role {
	case "wide":
		p.Connectors[0].New = func() sdk.Instance { return &wide{} }
		p.Permissions = sdk.Permissions{Read: []string{"{path}"}, Network: []string{"tcp:443"}}
	case "liar":
		// Where "kelpie init" looks at it, it is in a folder of that name.
		if self, err := os.Executable(); err != nil || strings.Contains(self, "/.init-") {
			p.Homepage = "https://example.org/another"
		}
	}
	sdk.Serve(p)
}

// narrow is the enrichment of the first version.
type narrow struct {
	config struct {
		Zone string `kelpie:"zone" doc:"Where to look."`
	}
}

func (n *narrow) Config() any { return &n.config }

func (n *narrow) Enrich(_ context.Context, asks []sdk.Question) ([]sdk.Reply, error) {
	return says(asks)
}

// wide is that of a later one.
type wide struct {
	config struct {
		Path sdk.Path `kelpie:"path" doc:"A file with zones."`
	}
}

func (w *wide) Config() any { return &w.config }

func (w *wide) Enrich(_ context.Context, asks []sdk.Question) ([]sdk.Reply, error) { return says(asks) }

// says who it is, as a label of every address.
func says(asks []sdk.Question) ([]sdk.Reply, error) {
	found := sdk.Suspicious
	if role == "rival" {
		found = sdk.Malicious
	}
	replies := make([]sdk.Reply, len(asks))
	for i := range asks {
		replies[i].Answers = []sdk.Answer{{Verdict: &sdk.Verdict{Disposition: found, Score: 50, Confidence: 50, Labels: []string{role + " " + version}}}}
	}
	return replies, nil
}
