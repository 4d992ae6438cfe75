package main

import (
	"testing"

	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/conformance"
	"github.com/kelpie-sec/kelpie/sdk/sdktest"
)

// TestConformance has two tables in one process, which must not be mixed.
func TestConformance(t *testing.T) {
	if testing.Short() {
		t.Skip("runs real processes")
	}
	assets := write(t, "assets.csv", "name,ips,owner\nws-17,198.51.100.7,kim\n")
	people := write(t, "people.csv", "user,mail,department\nkim,kim@example.org,soc\n")
	questions := []sdk.Observable{
		{Kind: sdk.IP, Value: "198.51.100.7"}, {Kind: sdk.Host, Value: "ws-17"}, {Kind: sdk.User, Value: "kim"}, {Kind: sdk.Email, Value: "kim@example.org"},
	}
	sdktest.Conform(t, conformance.Settings{
		Binary: sdktest.Build(t, "."),
		Instances: []conformance.Instance{
			{Name: "enrichment.assets", Kind: sdk.KindEnrichment, Config: map[string]any{"path": assets}, Questions: questions},
			{Name: "enrichment.people", Kind: sdk.KindEnrichment, Config: map[string]any{"path": people}, Questions: questions},
		},
	})
}
