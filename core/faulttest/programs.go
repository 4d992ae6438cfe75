package faulttest

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// patience bounds every wait for a condition.
const patience = 60 * time.Second

// Programs are what worlds run, built once: the core with its fault points armed, the
// plugins as they ship, and the fakes.
type Programs struct {
	Dir     string
	Kelpie  string
	Sink    string // the mail server
	Plugins string
}

// Build makes the programs.
func Build(dir string, tags string) (Programs, error) {
	p := Programs{
		Dir: dir, Kelpie: filepath.Join(dir, "kelpie"), Sink: filepath.Join(dir, "smtpsink"),
		Plugins: filepath.Join(dir, "plugins"),
	}
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/kelpie-sec/kelpie").Output()
	if err != nil {
		return p, err
	}
	plugins := []string{"./plugins/file", "./plugins/email", "./plugins/table"}
	for _, name := range []string{"counter", "contain", "script", "lookup", "vendor", "flood", "rogue"} {
		plugins = append(plugins, "./core/faulttest/"+name)
	}
	for out, packages := range map[string][]string{
		p.Dir: {"./core/cmd/kelpie", "./examples/quickstart/smtpsink"}, p.Plugins: plugins,
	} {
		c := exec.Command("go", append([]string{"build", "-tags", tags, "-o", out + "/"}, packages...)...)
		c.Dir = strings.TrimSpace(string(root))
		if text, err := c.CombinedOutput(); err != nil {
			return p, fmt.Errorf("go build: %w\n%s", err, text)
		}
	}
	return p, nil
}
