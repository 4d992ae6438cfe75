package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/kelpie-sec/kelpie/core/config"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/release"
)

// TestShownIsBounded: however much a release says of itself, a person sees who vouches for
// it and what it asks for.
func TestShownIsBounded(t *testing.T) {
	plugin := model.Plugin{Network: []string{"tcp:443"}, Connectors: []model.Connector{{Kind: model.Action, Summary: strings.Repeat("x", 1<<20)}}}
	for i := range 1000 {
		plugin.Connectors = append(plugin.Connectors, model.Connector{Kind: model.Detector, Name: fmt.Sprint("d", i), Summary: "One more."})
	}
	f := &fetched{
		origin: config.Origin{Label: "acme", Name: "acme", Source: "rel"}, version: "1.0.0",
		release: &release.Release{Manifest: release.Manifest{Plugin: plugin}},
	}
	var out bytes.Buffer
	printFetched(&out, f)
	lines := strings.Split(out.String(), "\n")
	if len(lines) > maxChanges+20 {
		t.Errorf("%d lines", len(lines))
	}
	for _, want := range []string{"NOBODY VOUCHES FOR IT", "and 901 changes more", "ASKS TO connect to TCP port 443"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in %s", want, out.String())
		}
	}
}

// TestWrapLongWord: a word of a megabyte takes no longer than as many letters in short ones.
func TestWrapLongWord(t *testing.T) {
	const size = 8 << 20
	if lines := wrap(strings.Repeat("x", size), 64); len(lines) != size/64 {
		t.Errorf("%d lines", len(lines))
	}
}
