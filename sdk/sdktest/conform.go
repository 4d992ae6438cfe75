package sdktest

import (
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/kelpie-sec/kelpie/sdk/conformance"
)

// Build builds the plugin in a folder, such as ".", for the time of the test, and returns
// the path of its executable.
func Build(t testing.TB, folder string) string {
	t.Helper()
	name := "plugin"
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	binary := filepath.Join(t.TempDir(), name)
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".")
	build.Dir = folder
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", folder, err, out)
	}
	return binary
}

// Conform holds a plugin to the contract: each check is a subtest, which fails or is
// skipped as the check was. It returns what was found.
func Conform(t *testing.T, settings conformance.Settings) *conformance.Report {
	t.Helper()
	report, err := conformance.Run(t.Context(), settings)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range report.Results {
		t.Run(strings.Trim(r.Check+"/"+r.Subject, "/"), func(t *testing.T) {
			switch r.Outcome {
			case conformance.Failed:
				t.Errorf("seen: %s\ndo:   %s\nwhy:  %s", r.Seen, r.Do, r.Why)
			case conformance.Skipped:
				t.Skip(r.Seen)
			}
		})
	}
	t.Log(report.Summary())
	return report
}
