package engine

import (
	"testing"

	"github.com/kelpie-sec/kelpie/core/enrich"
	"github.com/kelpie-sec/kelpie/sdk"
)

// TestWhileOneTakesTheOthersPlace it is told the organisation's own names only if both are
// internal.
func TestWhileOneTakesTheOthersPlace(t *testing.T) {
	settings := func(internal bool) connectors {
		return connectors{enrich: enrich.Settings{
			Sources: []enrich.Source{{Address: "enrichment.a", Internal: internal}},
			Shadows: []enrich.Source{{Address: "enrichment.b", Internal: internal, Shadow: "enrichment.a"}},
			Own:     func(sdk.Observable) bool { return true },
		}}
	}
	for _, c := range [][3]bool{{true, true, true}, {true, false, false}, {false, true, false}, {false, false, false}} {
		both := settings(c[0]).with(settings(c[1])).enrich
		if len(both.Sources) != 1 || len(both.Shadows) != 1 {
			t.Fatalf("%+v", both)
		}
		if both.Sources[0].Internal != c[2] || both.Shadows[0].Internal != c[2] {
			t.Errorf("internal %v and then %v: %v, the shadow %v", c[0], c[1], both.Sources[0].Internal, both.Shadows[0].Internal)
		}
	}
}
