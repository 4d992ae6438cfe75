package storytest_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait for a condition.
const patience = 60 * time.Second

// program is a kelpie with its folder, as its user has it.
type program struct{ dir string }

// build makes the program and the plugins of the story, in a folder of their own.
func build(t *testing.T, flags ...string) program {
	t.Helper()
	p := program{shortDir(t)}
	must(t, os.Mkdir(filepath.Join(p.dir, "plugins"), 0o755))
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	must(t, err)
	for out, packages := range map[string][]string{
		"":        {"./core/cmd/kelpie"},
		"plugins": {"./plugins/file", "./plugins/table", "./plugins/email", "./core/faulttest/contain"},
	} {
		args := append([]string{"build", "-o", filepath.Join(p.dir, out) + "/"}, flags...)
		c := exec.Command("go", append(args, packages...)...)
		c.Dir = strings.TrimSpace(string(root))
		if text, err := c.CombinedOutput(); err != nil {
			t.Fatalf("go build: %v\n%s", err, text)
		}
	}
	return p
}

func (p program) command(args ...string) *exec.Cmd {
	c := exec.Command(filepath.Join(p.dir, "kelpie"), append(args, "--config", "conf")...)
	c.Dir = p.dir
	return c
}

// start runs it until the test is over. It has to end by itself then, and without a word
// of a panic or a race.
func (p program) start(t *testing.T) {
	t.Helper()
	c := p.command("run")
	var log bytes.Buffer
	c.Stdout, c.Stderr = &log, &log
	must(t, c.Start())
	t.Cleanup(func() {
		if t.Failed() {
			p.tell(t)
		}
		must(t, c.Process.Signal(syscall.SIGINT))
		if err := c.Wait(); err != nil {
			t.Errorf("kelpie run: %v", err)
		}
		if strings.Contains(log.String(), "DATA RACE") {
			t.Error("there is a data race")
		}
		if t.Failed() {
			t.Logf("kelpie run:\n%s", &log)
		}
	})
}

// tell logs how things are, for a test that has failed.
func (p program) tell(t *testing.T) {
	t.Helper()
	for _, command := range []string{"status", "case list", "question list", "intent list", "audit list"} {
		out, _ := p.command(strings.Fields(command)...).CombinedOutput()
		t.Logf("kelpie %s:\n%s", command, out)
	}
}

// does runs a command that has to go well, and gives what it says.
func (p program) does(t *testing.T, args ...string) string {
	t.Helper()
	out, err := p.command(args...).CombinedOutput()
	if err != nil {
		t.Fatalf("kelpie %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// says waits until what a command says matches, and gives what matched.
func (p program) says(t *testing.T, pattern string, args ...string) []string {
	t.Helper()
	re := regexp.MustCompile("(?ms)" + pattern)
	var out []byte
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		out, _ = p.command(args...).CombinedOutput()
		if found := re.FindStringSubmatch(string(out)); found != nil {
			return found
		}
	}
	t.Fatalf("kelpie %s does not say %s within %s, but\n%s", strings.Join(args, " "), pattern, patience, out)
	return nil
}

// write puts a file into the program's folder, or at the end of one.
func (p program) write(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(p.dir, name)
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	must(t, err)
	defer f.Close()
	_, err = f.WriteString(text)
	must(t, err)
}

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
