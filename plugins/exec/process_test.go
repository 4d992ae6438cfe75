package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// programOf makes a program of a script.
func programOf(t testing.TB, text string, change ...func(*programConfig)) (*program, *journal) {
	t.Helper()
	c := &programConfig{Program: script(t, text), TimeLimit: 20 * time.Second}
	for _, f := range change {
		f(c)
	}
	e, j := env(t)
	return newProgram(c, e, nil, 1), j
}

func limit(d time.Duration) func(*programConfig) {
	return func(c *programConfig) { c.TimeLimit = d }
}

// TestAsk asks programs of all manners, and each that is no use says what to do.
func TestAsk(t *testing.T) {
	for name, test := range map[string]struct {
		text   string
		output string
		code   int
		wrong  string // in the error
		log    string
	}{
		"answers":              {text: `cat`, output: "{\"a\":\"<\"}\n"},
		"reads nothing":        {text: `echo x`, output: "x\n"},
		"fails":                {text: `echo x; exit 3`, output: "x\n", code: 3},
		"a signal":             {text: `kill -KILL $$`, code: -1},
		"speaks":               {text: `echo "for people" >&2`, log: `line="for people"`},
		"speaks in escapes":    {text: `printf '\033[2J\n' >&2`, log: "⟨U+001B⟩[2J"},
		"speaks without end":   {text: `head -c 100000000 /dev/zero | tr '\0' x >&2; echo x`, output: "x\n"},
		"speaks much":          {text: `i=0; while [ $i -lt 300 ]; do echo $i; i=$((i+1)); done >&2; echo x`, output: "x\n", log: "lines=200"},
		"100 MB":               {text: `head -c 100000000 /dev/zero`, wrong: "printed more than 1 MiB and was ended: let it print its answer alone"},
		"for ever":             {text: `yes`, wrong: "printed more than 1 MiB and was ended"},
		"leaves one behind":    {text: `sleep 1000 & echo x`, output: "x\n", log: "what the program started goes on without it, and is ended"},
		"one has left":         {text: `setsid sleep 3 & echo x`, output: "x\n", log: "goes on without it"},
		"one speaks yet":       {text: `(sleep 0.02; echo y) & echo x`, output: "x\ny\n"},
		"closes its output":    {text: `echo x; exec >&-; sleep 0.1; exit 4`, output: "x\n", code: 4},
		"a pipe of much":       {text: `head -c 60000 /dev/zero | tr '\0' x`, output: strings.Repeat("x", 60000)},
		"no interpreter":       {text: "#!/no/such/interpreter\n", wrong: "wants an interpreter that is not there"},
		"an environment alone": {text: `env | grep -v -e '^PWD=' -e '^SHLVL=' -e '^_=' | sort; pwd | grep -c TestAsk`, output: "LANG=C.UTF-8\nPATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n1\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, log := programOf(t, test.text)
			began := time.Now()
			output, end, err := p.ask(t.Context(), map[string]string{"a": "<"}, 1<<20)
			if test.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), test.wrong) {
					t.Errorf("ask: %v, want %q", err, test.wrong)
				}
				return
			}
			if err != nil || string(output) != test.output || end.code != test.code {
				t.Errorf("ask = %q, %+v, %v; want %q and code %d", output, end, err, test.output, test.code)
			}
			if !strings.Contains(log.String(), test.log) {
				t.Errorf("log is %q, want %q in it", log, test.log)
			}
			if took := time.Since(began); name == "leaves one behind" && took > 10*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

// TestEnvironment: a block's own, and no shell reads the arguments.
func TestEnvironment(t *testing.T) {
	p, _ := programOf(t, `echo "$A $B $1 $2"; cat /proc/$$/cmdline | tr '\0' ' ' | grep -c s3cret`, func(c *programConfig) {
		c.Environment = map[string]string{"A": "a b"}
		c.Secrets = map[string]string{"B": "s3cret"}
		c.Arguments = []string{"$(touch x)", "; echo y"}
	})
	output, _, err := p.ask(t.Context(), nil, 1<<20)
	if want := "a b s3cret $(touch x) ; echo y\n0\n"; err != nil || string(output) != want {
		t.Errorf("output %q, %v; want %q", output, err, want)
	}
}

// TestTimeLimit: what takes too long is ended with all that it started, whether or not
// it listens.
func TestTimeLimit(t *testing.T) {
	for name, text := range map[string]string{
		"waits":       `sleep 1000 & echo $! >child; echo $$ >leader; wait`,
		"is deaf":     `trap '' TERM; sleep 1000 & echo $! >child; echo $$ >leader; while :; do sleep 1; done`,
		"is stopped":  `sleep 1000 & echo $! >child; echo $$ >leader; kill -STOP $$`,
		"reads stdin": `sleep 1000 & echo $! >child; echo $$ >leader; exec cat >/dev/null </dev/zero`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, _ := programOf(t, text, limit(300*time.Millisecond))
			began := time.Now()
			_, end, err := p.ask(t.Context(), nil, 1<<20)
			if err == nil || !strings.Contains(err.Error(), "took longer than 300ms and was ended: set time_limit") || !end.told {
				t.Fatalf("ask = %+v, %v", end, err)
			}
			if took := time.Since(began); took > 10*time.Second { // the machine may be busy
				t.Errorf("it took %s", took)
			}
			for _, file := range []string{"leader", "child"} {
				pid := pidIn(t, filepath.Join(p.dir, file))
				eventually(t, "the end of the "+file, func() bool { return !alive(pid) })
			}
		})
	}
}

// TestCancelled: who is not wanted any more ends within a second.
func TestCancelled(t *testing.T) {
	p, _ := programOf(t, `trap '' TERM; echo $$ >leader; while :; do sleep 1; done`)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, _, err := p.ask(ctx, nil, 1<<20)
		done <- err
	}()
	pid := pidIn(t, filepath.Join(p.dir, "leader"))
	cancel()
	began := time.Now()
	if err := <-done; err == nil || !strings.Contains(err.Error(), "not wanted any more") {
		t.Errorf("ask: %v", err)
	}
	if took := time.Since(began); took > 5*time.Second { // the machine may be busy
		t.Errorf("it took %s", took)
	}
	eventually(t, "its end", func() bool { return !alive(pid) })
}

// TestAtOnce: more than the slots allow wait, and say so if it takes too long.
func TestAtOnce(t *testing.T) {
	p, _ := programOf(t, `echo $$ >leader; sleep 1000`)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, _, err := p.ask(ctx, nil, 1<<20)
		done <- err
	}()
	pidIn(t, filepath.Join(p.dir, "leader"))
	short, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if _, _, err := p.ask(short, nil, 1<<20); !errors.Is(err, errNotRun) || !strings.Contains(err.Error(), "at_once") {
		t.Errorf("the second: %v", err)
	}
	cancel()
	<-done
}

// TestBusyFile: a file that is being written is run when that has ended.
func TestBusyFile(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("other systems run it at once")
	}
	p, _ := programOf(t, `echo x`)
	held, err := os.OpenFile(string(p.config.Program), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, _, err := p.ask(ctx, nil, 1<<20); !errors.Is(err, errNotRun) {
		t.Errorf("while it is held: %v", err)
	}
	time.AfterFunc(50*time.Millisecond, func() { held.Close() })
	if output, _, err := p.ask(t.Context(), nil, 1<<20); string(output) != "x\n" {
		t.Errorf("output %q, %v", output, err)
	}
}

// TestOwnerDies: a program, and what it started, ends with the plugin, however that
// ends.
func TestOwnerDies(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells the kernel so")
	}
	for name, test := range map[string]struct {
		how       os.Signal
		unguarded bool
	}{"killed": {os.Kill, false}, "told to end": {signalTerm, false}, "told to end, without a guard": {signalTerm, true}, "killed, without a guard": {os.Kill, true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := script(t, fmt.Sprintf("sleep 1000 & echo $! >%[1]s/child; echo $$ >%[1]s/leader; wait", dir))
			owner := exec.Command(os.Args[0])
			owner.Env = []string{hostEnv + "=" + string(path)}
			if test.unguarded {
				owner.Env = append(owner.Env, unguardedEnv+"=1")
			}
			if err := owner.Start(); err != nil {
				t.Fatal(err)
			}
			leader, child := pidIn(t, filepath.Join(dir, "leader")), pidIn(t, filepath.Join(dir, "child"))
			if err := owner.Process.Signal(test.how); err != nil {
				t.Fatal(err)
			}
			_ = owner.Wait()
			eventually(t, "the program's end", func() bool { return !alive(leader) })
			if test.unguarded && test.how == os.Kill { // nobody is left who knows its group
				signalGroup(leader, signalKill)
			}
			eventually(t, "the end of what it started", func() bool { return !alive(child) })
		})
	}
}

func TestCheckProgram(t *testing.T) {
	folder := t.TempDir()
	write := func(name string, mode os.FileMode) string {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	chmod := func(path string, mode os.FileMode) string {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	link := func(to string) string {
		path := filepath.Join(folder, "link")
		_ = os.Remove(path)
		if err := os.Symlink(to, path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	inOpen := write("open/x", 0o755)
	chmod(filepath.Dir(inOpen), 0o777)
	belowOpen := write("above/mine/x", 0o755)
	chmod(filepath.Join(folder, "above"), 0o777)
	inSticky := write("sticky/x", 0o755)
	chmod(filepath.Dir(inSticky), 0o777|os.ModeSticky)
	belowSticky := write("tmp/mine/x", 0o755)
	chmod(filepath.Join(folder, "tmp"), 0o777|os.ModeSticky)
	for _, test := range []struct{ path, wrong string }{
		{write("good", 0o755), ""},
		{write("mine", 0o700), ""},
		{write("group", 0o775), ""},
		{link(write("target", 0o755)), ""},
		{belowSticky, ""},
		{"", "not named"},
		{"relative", "not an absolute path"},
		{filepath.Join(folder, "none"), "does not exist"},
		{folder, "not a regular file"},
		{"/dev/null", "not a regular file"},
		{write("plain", 0o644), `chmod +x`},
		{write("shared", 0o757), `chmod o-w`},
		{inOpen, `open may be written by everybody`},
		{belowOpen, `above may be written by everybody`},
		{inSticky, `sticky may be written by everybody`},
	} {
		switch err := checkProgram(test.path); {
		case test.wrong == "" && err != nil:
			t.Errorf("%s: %v", test.path, err)
		case test.wrong != "" && (err == nil || !strings.Contains(err.Error(), test.wrong)):
			t.Errorf("%s: %v, want %q", test.path, err, test.wrong)
		}
	}
	if err := checkProgram(link(inOpen)); err == nil {
		t.Error("a link into a folder that everybody may write is taken")
	}
}

func TestValidate(t *testing.T) {
	path := string(script(t, "exit 0"))
	for name, test := range map[string]struct {
		instance interface {
			sdk.Instance
			sdk.Validator
		}
		b    block
		path string
	}{
		"no such program": {&detector{}, block{"program": path + "x"}, "program"},
		"a null byte":     {&detector{}, block{"program": path, "arguments": []string{"a", "b\x00"}}, "arguments"},
		"variable":        {&detector{}, block{"program": path, "environment": map[string]string{"A=": "b"}}, "environment"},
		"a secret's name": {&detector{}, block{"program": path, "secrets": map[string]string{"": "b"}}, "secrets"},
		"both":            {&detector{}, block{"program": path, "environment": map[string]string{"A": ""}, "secrets": map[string]string{"A": "b"}}, "secrets"},
		"no time":         {&detector{}, block{"program": path, "time_limit": "0s"}, "time_limit"},
		"too often":       {&detector{}, block{"program": path, "every": "10ms"}, "every"},
		"id_field":        {&detector{}, block{"program": path, "id_field": "a"}, "id_field"},
		"no path":         {&detector{}, block{"program": path, "format": "raw", "id_field": "a..b"}, "id_field"},
		"no slots":        {&enrichment{}, block{"program": path, "at_once": 0}, "at_once"},
		"many slots":      {&order{}, block{"program": path, "at_once": 65}, "at_once"},
	} {
		data := encoded(t, test.b)
		if wrong := sdk.Decode(data, test.instance.Config()); len(wrong) > 0 {
			t.Errorf("%s: %v", name, wrong)
			continue
		}
		if wrong := test.instance.Validate(); len(wrong) != 1 || wrong[0].Path[0] != test.path {
			t.Errorf("%s: Validate complains %v", name, wrong)
		}
	}
}
