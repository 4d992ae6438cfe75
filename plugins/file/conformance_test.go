package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/conformance"
	"github.com/kelpie-sec/kelpie/sdk/sdktest"
)

// TestConformance writes its events into files, one whose events have ids and one where
// their places are the ids. UPDATE=1 records the ids of a release.
func TestConformance(t *testing.T) {
	if testing.Short() {
		t.Skip("runs real processes")
	}
	dir := t.TempDir()
	instance := func(name string, more map[string]any) conformance.Instance {
		path := filepath.Join(dir, name+".json")
		config := map[string]any{"path": path, "interval": "20ms"}
		for key, value := range more {
			config[key] = value
		}
		return conformance.Instance{
			Name: "detector." + name, Kind: sdk.KindDetector, Config: config,
			Fill: func(payloads [][]byte) error {
				return os.WriteFile(path, append(bytes.Join(payloads, []byte("\n")), '\n'), 0o600)
			},
		}
	}
	sdktest.Conform(t, conformance.Settings{
		Binary: sdktest.Build(t, "."), Record: "testdata/ids.json", Update: os.Getenv("UPDATE") != "",
		Instances: []conformance.Instance{instance("places", nil), instance("ids", map[string]any{"id_field": "id"})},
	})
}
