package main

import (
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/scaffold"
	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/conformance"
	"github.com/kelpie-sec/kelpie/sdk/sdktest"
)

const (
	guide   = "../../docs/first-connector.md"
	changes = "connector.diff" // that the guide's author makes
)

// begun is what the guide begins with, in a folder of its own.
func begun(t *testing.T) string {
	t.Helper()
	sdkFolder, err := filepath.Abs("../../sdk")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	_, err = scaffold.Write(folder, scaffold.Plugin{
		Name: "reputation", Kinds: []model.ConnectorKind{model.Detector, model.Enrichment, model.Action},
		SDKVersion: "v0.0.0", SDKFolder: sdkFolder, GoVersion: strings.TrimPrefix(runtime.Version(), "go"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

// TestGuideChanges: what the guide shows is how its author's files differ from what
// "plugin new" writes.
func TestGuideChanges(t *testing.T) {
	begin, end := begun(t), begun(t)
	change(t, end)
	text := read(t, guide)
	shown := 0
	for _, block := range regexp.MustCompile("(?s)```(diff|go|hcl)\n(.*?)```").FindAllStringSubmatch(text, -1) {
		language, body := block[1], block[2]
		if language == "hcl" {
			contains(t, "config.hcl", read(t, filepath.Join(end, "config.hcl")), body)
			continue
		}
		head, body, _ := strings.Cut(body, "\n")
		name := strings.TrimPrefix(strings.TrimPrefix(head, "--- "), "// ")
		before, after := read(t, filepath.Join(begin, name)), read(t, filepath.Join(end, name))
		shown++
		if language == "go" {
			contains(t, name, after, body)
			continue
		}
		for _, hunk := range strings.Split(strings.TrimPrefix(body, "@@\n"), "@@\n") {
			was, is := sides(hunk)
			contains(t, name+" as it is written", before, was)
			contains(t, name, after, is)
		}
	}
	if shown < 7 {
		t.Errorf("the guide shows only %d changes", shown)
	}
}

// sides of a hunk: what was there, and what is.
func sides(hunk string) (was, is string) {
	for line := range strings.Lines(hunk) {
		mark, rest := line[:1], line[1:]
		if mark != "+" {
			was += rest
		}
		if mark != "-" {
			is += rest
		}
	}
	return was, is
}

func contains(t *testing.T, name, text, part string) {
	t.Helper()
	if !strings.Contains(text, part) {
		t.Errorf("%s does not have what the guide shows of it:\n%s", name, part)
	}
}

// TestGuide follows the guide: it begins a plugin, makes its author's changes, runs its
// tests, and checks what was built against the service.
func TestGuide(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a plugin")
	}
	folder := begun(t)
	change(t, folder)
	for _, args := range [][]string{{"mod", "tidy"}, {"vet", "./..."}, {"test", "-short", "./..."}} {
		run(t, folder, "go", args...)
	}
	const key = "demo-key-of-the-guide"
	s := newService(key, 100_000, time.Now)
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	instance := func(kind sdk.Kind, name string) conformance.Instance {
		return conformance.Instance{
			Name: name, Kind: kind, Connection: map[string]any{"url": server.URL, "token": key}, Secrets: []string{key},
		}
	}
	blocks := instance(sdk.KindAction, "action.blocks")
	blocks.Acts = []conformance.Act{{Verb: "block_indicator", Target: sdk.Target{Kind: sdk.IP, Value: "192.0.2.5"}, State: s.state}}
	report := sdktest.Conform(t, conformance.Settings{
		Binary: sdktest.Build(t, folder),
		Instances: []conformance.Instance{
			instance(sdk.KindDetector, "detector.alerts"), instance(sdk.KindEnrichment, "enrichment.addresses"), blocks,
		},
	})
	if got := report.Summary(); !strings.HasPrefix(got, "34 passed, ") {
		t.Errorf("the service lets %s, want 34 passed", got)
	}
}

// change makes the changes of the guide's author.
func change(t *testing.T, folder string) {
	t.Helper()
	file, err := filepath.Abs(changes)
	if err != nil {
		t.Fatal(err)
	}
	run(t, folder, "git", "apply", "--whitespace=nowarn", file)
}

func run(t *testing.T, folder, program string, args ...string) {
	t.Helper()
	c := exec.CommandContext(t.Context(), program, args...)
	// Not in whatever repository the folder may be in; what the module needs is at hand.
	c.Dir, c.Env = folder, append(os.Environ(), "GIT_CEILING_DIRECTORIES="+filepath.Dir(folder), "GOFLAGS=-mod=mod", "GOWORK=off")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// state is what is blocked, for who looks whether it changes.
func (s *service) state() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ips []string
	for _, b := range s.blocks {
		ips = append(ips, b.IP)
	}
	return fmt.Sprint(ips)
}
