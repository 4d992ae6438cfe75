package releases

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kelpie-sec/kelpie/core/model"
)

// ids of a case's parts, and its title: of signals that are equally severe and old, that of
// the lower id.
var ids = regexp.MustCompile(`\b[cis]-[0-9a-f]{20}\b|"title": .*`)

// secret is what the recorded configuration wants to have; nothing is sent with it.
const secret = "KELPIE_SECRET_WEBHOOK=whsec_MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAw"

// TestHeld holds today's core to each release that is kept.
func TestHeld(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the plugins of other releases")
	}
	if runtime.GOOS != "linux" {
		t.Skip("releases are kept for Linux")
	}
	kept := keptFolders(t)
	renamed := map[string]bool{} // folders whose cases have other ids
	for _, line := range heldCommits(t) {
		commit, what, _ := strings.Cut(line, " ")
		folder := filepath.Join(t.TempDir(), commit[:9])
		if _, err := exec.Command("git", "cat-file", "-e", commit).Output(); err != nil {
			t.Logf("%s is not in this clone, and is not held", commit)
			continue
		}
		command(t, ".", "sh", "keep.sh", commit, folder)
		kept = append(kept, folder)
		renamed[folder] = what == "ids"
	}
	if len(kept) == 0 {
		t.Skip("no release is kept here, and the history of this clone has none that is held")
	}
	today := build(t)
	for _, folder := range kept {
		t.Run(filepath.Base(folder), func(t *testing.T) { hold(t, today, folder, renamed[folder]) })
	}
}

// keptFolders are those beside this file, and those that KELPIE_RELEASES names.
func keptFolders(t *testing.T) []string {
	t.Helper()
	var folders []string
	for _, parent := range []string{".", os.Getenv("KELPIE_RELEASES")} {
		if parent == "" {
			continue
		}
		found, err := filepath.Glob(filepath.Join(parent, "*", "cases.json"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			folder, err := filepath.Abs(filepath.Dir(path))
			if err != nil {
				t.Fatal(err)
			}
			folders = append(folders, folder)
		}
	}
	return folders
}

func heldCommits(t *testing.T) []string {
	t.Helper()
	var commits []string
	for line := range strings.Lines(string(read(t, "held"))) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			commits = append(commits, line)
		}
	}
	return commits
}

// build makes today's program and plugins, and returns their folder.
func build(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	command(t, "..", "go", "build", "-o", filepath.Join(dir, "kelpie"), "./core/cmd/kelpie")
	mains, err := filepath.Glob("../plugins/*/main.go")
	if err != nil || len(mains) == 0 {
		t.Fatal(len(mains), err)
	}
	for _, path := range mains {
		name := filepath.Base(filepath.Dir(path))
		command(t, "..", "go", "build", "-o", filepath.Join(dir, "plugins", name), "./plugins/"+name)
	}
	return dir
}

// hold runs a release's plugins under today's core, and then today's in their place.
func hold(t *testing.T, today, folder string, renamed bool) {
	site := t.TempDir()
	if err := os.CopyFS(site, os.DirFS(filepath.Join(folder, "site"))); err != nil {
		t.Fatal(err)
	}
	kelpie := func(args ...string) []byte {
		t.Helper()
		return command(t, site, filepath.Join(today, "kelpie"), append([]string{"-c", "config.hcl"}, args...)...)
	}
	configure(t, site)
	link(t, filepath.Join(folder, "plugins"), filepath.Join(site, "plugins"))
	kelpie("plugin", "lock", "--plugin-dir", "plugins")
	sameDescriptions(t, filepath.Join(folder, "schemas"), filepath.Join(site, "kelpie.schemas"))
	kelpie("validate")
	kelpie("run", "--once")
	then, now := string(read(t, filepath.Join(folder, "cases.json"))), string(kelpie("--json", "case", "list"))
	if renamed {
		then, now = ids.ReplaceAllString(then, "…"), ids.ReplaceAllString(now, "…")
	}
	if d := cmp.Diff(then, now); d != "" {
		t.Errorf("today's core makes other cases of what its plugins say (-then +now):\n%s", d)
	}
	before := kelpie("--json", "ledger")

	link(t, filepath.Join(today, "plugins"), filepath.Join(site, "plugins"))
	kelpie("plugin", "lock", "--plugin-dir", "plugins")
	kelpie("run", "--once")
	if d := cmp.Diff(received(t, before), received(t, kelpie("--json", "ledger"))); d != "" {
		t.Errorf("today's plugins read again what was read (-then +now):\n%s", d)
	}
	for _, name := range []string{"file", "table"} {
		t.Run("conforms/"+name, func(t *testing.T) { conforms(t, today, folder, name) })
	}
}

// configure puts today's example in the place of that of the release: until the first
// release what a configuration needs may grow, as the rigour of rules has. It is changed as
// keep.sh has changed the other.
func configure(t *testing.T, site string) {
	t.Helper()
	text := read(t, "../config.hcl.example")
	for pattern, by := range map[string]string{`(?m)^( *actions *=) "on"`: `$1 "dry_run"`, `(?m)^( *plugin_dir *=) .*`: `$1 "plugins"`} {
		text = regexp.MustCompile(pattern).ReplaceAll(text, []byte(by))
	}
	if err := os.WriteFile(filepath.Join(site, "config.hcl"), text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// sameDescriptions compares what plugins say of themselves today with what they said.
func sameDescriptions(t *testing.T, then, now string) {
	t.Helper()
	for name, was := range descriptions(t, then) {
		if d := cmp.Diff(was, descriptions(t, now)[name]); d != "" {
			t.Errorf("plugin %s is understood otherwise (-then +now):\n%s", name, d)
		}
	}
}

func descriptions(t *testing.T, folder string) map[string]model.Plugin {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s holds %d descriptions, %v", folder, len(files), err)
	}
	all := map[string]model.Plugin{}
	for _, path := range files {
		var p model.Plugin
		if err := json.Unmarshal(read(t, path), &p); err != nil {
			t.Fatal(err)
		}
		all[p.Name] = p
	}
	return all
}

// received is how many events each source has given, by a ledger.
func received(t *testing.T, ledger []byte) map[string]uint64 {
	t.Helper()
	var book struct {
		Sources []struct {
			Source   string `json:"source"`
			Received uint64 `json:"received"`
		} `json:"sources"`
	}
	if err := json.Unmarshal(ledger, &book); err != nil || len(book.Sources) == 0 {
		t.Fatalf("no sources in the ledger, %v: %s", err, ledger)
	}
	all := map[string]uint64{}
	for _, s := range book.Sources {
		all[s.Source] = s.Received
		if s.Received == 0 {
			t.Errorf("%s has given nothing", s.Source)
		}
	}
	return all
}

// conforms holds a kept plugin to today's checks, with what its configuration says.
func conforms(t *testing.T, today, folder, name string) {
	out := command(t, filepath.Join(folder, "site"), filepath.Join(today, "kelpie"), "--json", "plugin", "check", filepath.Join(folder, "plugins", name), "--config", "config.hcl")
	var report struct {
		Results []struct{ Check, Subject, Outcome, Seen string } `json:"results"`
	}
	if err := json.Unmarshal(out, &report); err != nil || len(report.Results) < 10 {
		t.Fatalf("%d checks, %v: %s", len(report.Results), err, out)
	}
	for _, r := range report.Results {
		if r.Outcome == "failed" {
			t.Errorf("%s %s: %s", r.Check, r.Subject, r.Seen)
		}
	}
}

// link replaces a link.
func link(t *testing.T, target, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

// command runs a program in a folder, and returns what it prints.
func command(t *testing.T, dir, name string, args ...string) []byte {
	t.Helper()
	c := exec.CommandContext(t.Context(), name, args...)
	c.Dir, c.Env = dir, append(os.Environ(), secret)
	var out, said bytes.Buffer
	c.Stdout, c.Stderr = &out, &said
	if err := c.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out.Bytes(), said.Bytes())
	}
	return out.Bytes()
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
