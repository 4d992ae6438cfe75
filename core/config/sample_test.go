package config

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestSample: the sample of the design parses whole, and all of it can run.
func TestSample(t *testing.T) {
	src, diags := Load("testdata/right/sample.hcl", Options{Schemas: testSchemas(t)})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	src.Prefix = ""
	c, diags := Parse(src)
	if len(diags) > 0 {
		t.Fatal(diags)
	}
	if len(c.NotBuilt) > 0 {
		t.Error(c.NotBuilt)
	}
	if got, want := len(c.Match.Sources), 2; got != want {
		t.Errorf("%d sources, want %d", got, want)
	}
	if got, want := len(c.Decide.Plan.Responses), 2; got != want {
		t.Errorf("%d responses, want %d", got, want)
	}
	if got, want := c.SecretNames(), []string{"cb-token", "vt"}; !cmp.Equal(got, want) {
		t.Errorf("secrets %v, want %v", got, want)
	}
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}
