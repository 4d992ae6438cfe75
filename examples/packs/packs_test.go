// Package packs shows that the example packs' tests pass, and that they say about the
// quickstart's recording what the README says.
package packs

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// said is what came of an address: its case's rules, how many signals, and the score.
type said struct{ Rules, Signals, Score string }

// kelpie builds the program and gives a way to run it, in a folder with the packs beside
// the recording.
func kelpie(t *testing.T) func(args ...string) []byte {
	t.Helper()
	dir := t.TempDir()
	build := func(to, pkg string) {
		if out, err := exec.Command("go", "build", "-o", filepath.Join(dir, to), pkg).CombinedOutput(); err != nil {
			t.Fatalf("go build %s: %v\n%s", pkg, err, out)
		}
	}
	build("bin/kelpie", "../../core/cmd/kelpie")
	for _, plugin := range []string{"file", "table", "email"} {
		build("bin/plugins/"+plugin, "../../plugins/"+plugin)
	}
	quickstart, err := filepath.Abs("../quickstart")
	if err == nil {
		err = os.CopyFS(filepath.Join(dir, "packs"), os.DirFS("."))
	}
	if err == nil {
		err = os.Symlink(quickstart, filepath.Join(dir, "quickstart"))
	}
	if err != nil {
		t.Fatal(err)
	}
	return func(args ...string) []byte {
		t.Helper()
		cmd := exec.Command("bin/kelpie", append([]string{"-c", "packs", "--data", "data"}, args...)...)
		cmd.Dir = dir
		var complaints bytes.Buffer
		cmd.Stderr = &complaints
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("kelpie %s: %v\n%s%s", strings.Join(args, " "), err, out, complaints.Bytes())
		}
		return out
	}
}

func TestPacks(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds Kelpie and plugins")
	}
	run := kelpie(t)
	if out := run("test"); !bytes.Contains(out, []byte("all pass")) {
		t.Errorf("kelpie test: %s", out)
	}
	run("fmt", "--check")
	run("plugin", "lock", "--plugin-dir", "bin/plugins", "file", "table", "email")
	run("run", "--once")

	var cases []struct {
		ID         string   `json:"id"`
		Rules      []string `json:"rules"`
		Signals    int      `json:"signals"`
		Score      string   `json:"score"`
		Indicators []struct {
			Value string `json:"value"`
		} `json:"indicators"`
	}
	if err := json.Unmarshal(run("--json", "case", "list"), &cases); err != nil {
		t.Fatal(err)
	}
	got := map[string]said{}
	for _, c := range cases {
		if len(c.Indicators) != 1 {
			t.Fatalf("case %s is about %d addresses", c.ID, len(c.Indicators))
		}
		rules := strings.ReplaceAll(strings.Join(c.Rules, " "), "rule.", "")
		got[c.Indicators[0].Value] = said{rules, strconv.Itoa(c.Signals), c.Score}
	}
	if diff := cmp.Diff(readme(t), got); diff != "" {
		t.Errorf("what they say (-README +run):\n%s", diff)
	}
}

// readme is the README's table.
func readme(t *testing.T) map[string]said {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]said{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) != 7 || !strings.Contains(cells[1], "`") {
			continue
		}
		for i := range cells {
			cells[i] = strings.Trim(strings.TrimSpace(cells[i]), "`")
		}
		all[cells[1]] = said{cells[3], cells[4], cells[5]}
	}
	return all
}
