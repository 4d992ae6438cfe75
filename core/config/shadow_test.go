package config

import (
	"os"
	"testing"
)

// TestShadows: decide does not know of them, match only counts them, and each has a
// process of its own.
func TestShadows(t *testing.T) {
	text, err := os.ReadFile("testdata/right/shadow.hcl")
	if err != nil {
		t.Fatal(err)
	}
	_, c, diags := parseText(t, string(text), Options{})
	if c == nil {
		t.Fatal(diags)
	}
	for _, s := range c.Enrich.Sources {
		if s.Shadow != "" || s.Address == "enrichment.reputation_b" {
			t.Errorf("%s answers for cases", s.Address)
		}
	}
	for _, s := range c.Decide.Sources {
		if s.Address == "enrichment.reputation_b" {
			t.Error("decide knows of the shadow")
		}
	}
	if all := c.Enrich.Shadows; len(all) != 1 || all[0].Address != "enrichment.reputation_b" || all[0].Shadow != "enrichment.reputation" {
		t.Errorf("shadows %+v", all)
	}
	for _, s := range c.Match.Sources {
		if want := map[string]string{"detector.eve_b": "detector.eve"}[s.Detector]; s.Shadow != want || want != "" && len(s.Pipelines) > 0 {
			t.Errorf("%s is the shadow of %q and has %d pipelines, want that of %q", s.Detector, s.Shadow, len(s.Pipelines), want)
		}
	}
	own := 0
	for _, i := range c.Instances() {
		switch i.Address {
		case "detector.eve_b", "enrichment.reputation_b":
			own++
			if !i.Own {
				t.Errorf("%s shares its process", i.Address)
			}
		}
	}
	if own != 2 {
		t.Errorf("%d instances of shadows", own)
	}
}
