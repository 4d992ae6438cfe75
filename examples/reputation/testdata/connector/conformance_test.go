package main

import (
	"fmt"
	"testing"

	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/conformance"
	"github.com/kelpie-sec/kelpie/sdk/sdktest"
)

// conform runs the suite that every plugin has to pass.
func conform(t *testing.T, binary string) {
	t.Helper()
	f := newFar(t)
	settings := conformance.Settings{Binary: binary}
	for _, c := range plugin().Connectors {
		in := conformance.Instance{
			Name: fmt.Sprintf("%s.reputation", c.Kind), Kind: c.Kind,
			Connection: map[string]any{"url": f.URL, "token": token}, Secrets: []string{token},
			Limit: f.Limit, Stall: f.Stall,
		}
		switch c.Kind {
		case sdk.KindDetector:
			in.Config, in.Fill = map[string]any{"every": "1s"}, f.fill
		case sdk.KindAction:
			in.Acts = []conformance.Act{{Verb: "block_indicator", Target: sdk.Target{Kind: sdk.IP, Value: "192.0.2.5"}, State: f.state}}
		}
		settings.Instances = append(settings.Instances, in)
	}
	sdktest.Conform(t, settings)
}

func TestConformance(t *testing.T) {
	if testing.Short() {
		t.Skip("runs real processes")
	}
	conform(t, sdktest.Build(t, "."))
}
