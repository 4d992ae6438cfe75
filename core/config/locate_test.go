package config

import (
	"bytes"
	"strings"
	"testing"

	"github.com/kelpie-sec/kelpie/core/host"
)

// TestLocate: what a plugin complains about is found in the file again.
func TestLocate(t *testing.T) {
	src, c := whole(t)
	lines := strings.Split(src.Files[0].Text, "\n")
	for _, test := range []struct {
		address    string
		path       []string
		connection bool
		want       string // the text at the place
		secret     bool
	}{
		{"detector.eve", nil, false, `detector "file" "eve"`, false},
		{"detector.eve", []string{"path"}, false, `local.eve`, false},
		{"detector.eve", []string{"nothing"}, false, `detector "file" "eve"`, false},
		{"detector.eve", []string{"field", "user", "index"}, false, `1`, false},
		{"detector.eve", []string{"skip", "1", "prefix"}, false, `";"`, false},
		{"detector.eve", []string{"skip", "7"}, false, `skip`, false},
		{"detector.eve", []string{"env", "LANG"}, false, `"C"`, false},
		{"enrichment.assets", []string{"takes", "1"}, false, `"host"`, false},
		{"detector.edr", []string{"url"}, true, `"https://cb.example.org"`, false},
		{"detector.edr", []string{"token"}, true, `secret("cb-token")`, true},
		{"action.mail", []string{"headers", "X-Key"}, false, `secret("cb-token")`, true},
	} {
		at, secret := c.Locate(test.address, test.path, test.connection)
		got := ""
		if at.Start.Line > 0 {
			got = lines[at.Start.Line-1][at.Start.Column-1:]
		}
		if !strings.HasPrefix(got, test.want) || secret != test.secret {
			t.Errorf("%s %v: %q (secret %v), want %q", test.address, test.path, got, secret, test.want)
		}
	}
	if at, _ := c.Locate("detector.none", nil, false); at.Filename != "" {
		t.Errorf("a block that is not there is at %v", at)
	}
}

// TestDiagnose: what plugins say is shown at its place, and of a secret only the
// place.
func TestDiagnose(t *testing.T) {
	src, c := whole(t)
	diags := c.Diagnose([]host.Diagnostic{
		{Instance: "action.mail", Path: []string{"password"}, Summary: "refused by the server"},
		{Instance: "enrichment.assets", Path: []string{"path"}, Summary: "no such file", Detail: "Write the name of a CSV file.", Warning: true},
		{Instance: "detector.edr", Path: []string{"url"}, Connection: true, Summary: "not a URL"},
		{Instance: "detector.gone", Summary: "who is this"},
	})
	var out bytes.Buffer
	if err := WriteText(&out, diags, src.Listing(), false); err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/diagnose.txt", out.Bytes())
	if len(diags) != 4 || diags.HasErrors() == false {
		t.Error(diags)
	}
}
